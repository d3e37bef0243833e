package node

import (
	"container/list"
	"sync"
	"sync/atomic"

	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/raftfsm"
)

// historyCache keeps what was looked up of committed transactions, by seqno, the latest
// asked for first, within historical_cache_soft_limit bytes. What is committed never
// changes, so nothing in it is ever stale.
type historyCache struct {
	limit int64

	mu    sync.Mutex
	size  int64
	order *list.List // of *pastTx, the one asked for last in front
	at    map[uint64]*list.Element

	hits, misses atomic.Uint64
}

// pastTx is a transaction of the past; either part may be missing.
type pastTx struct {
	seqno  uint64
	size   int64
	proof  *raftfsm.Proof
	writes writeset.WriteSet
}

func newHistoryCache(limit int64) *historyCache {
	return &historyCache{limit: limit, order: list.New(), at: map[uint64]*list.Element{}}
}

// get returns what is kept of a transaction, the zero pastTx when nothing is.
func (h *historyCache) get(seqno uint64) pastTx {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.at[seqno]
	if e == nil {
		return pastTx{}
	}
	h.order.MoveToFront(e)
	return *e.Value.(*pastTx)
}

// put adds to what is kept of a transaction, and drops what was not asked for longest.
func (h *historyCache) put(add pastTx) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tx := &pastTx{seqno: add.seqno}
	if e := h.at[add.seqno]; e != nil {
		tx = e.Value.(*pastTx)
		h.size -= tx.size
		h.order.MoveToFront(e)
	} else {
		h.at[add.seqno] = h.order.PushFront(tx)
	}
	if add.proof != nil {
		tx.proof = add.proof
	}
	if add.writes != nil {
		tx.writes = add.writes
	}
	tx.size = tx.estimate()
	h.size += tx.size
	for h.size > h.limit && h.order.Len() > 0 {
		last := h.order.Back()
		old := last.Value.(*pastTx)
		h.order.Remove(last)
		delete(h.at, old.seqno)
		h.size -= old.size
	}
}

// estimate is about how much memory the transaction takes.
func (t *pastTx) estimate() int64 {
	const overhead = 256
	n := int64(overhead)
	if p := t.proof; p != nil {
		n += int64(p.Entry.Size() + len(p.Evidence) + 40*len(p.Path) + len(p.Signature.CertPEM) + len(p.Signature.Sig) + len(p.Signature.COSE))
	}
	return n + int64(writeset.EncodedLen(t.writes))
}

// bytes is how much is kept.
func (h *historyCache) bytes() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.size
}

// count notes whether a question was answered from the cache.
func (h *historyCache) count(hit bool) {
	if hit {
		h.hits.Add(1)
	} else {
		h.misses.Add(1)
	}
}

// pastProof is Replica.Proof through the cache. id is committed.
func (n *Node) pastProof(r *raftfsm.Replica, id raftfsm.TxID) (*raftfsm.Proof, error) {
	cached := n.history.get(id.Seqno)
	n.history.count(cached.proof != nil)
	if cached.proof != nil {
		return cached.proof, nil
	}
	p, err := r.Proof(id)
	if err == nil {
		n.history.put(pastTx{seqno: id.Seqno, proof: p})
	}
	return p, err
}

// pastWrites returns the writes of a committed transaction, through the cache.
func (n *Node) pastWrites(r *raftfsm.Replica, id raftfsm.TxID) (writeset.WriteSet, error) {
	cached := n.history.get(id.Seqno)
	n.history.count(cached.writes != nil)
	if cached.writes != nil {
		return cached.writes, nil
	}
	var e *ledger.Entry
	var err error
	if cached.proof != nil {
		e = cached.proof.Entry
	} else if e, err = r.Entry(id.Seqno); err != nil {
		return nil, err
	}
	ws, err := r.Writes(e)
	if err == nil && ws != nil {
		n.history.put(pastTx{seqno: id.Seqno, writes: ws})
	}
	return ws, err
}
