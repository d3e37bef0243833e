package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"chancery/kv/writeset"
	"chancery/ledger"
)

// errSuperseded is what Apply answers to a batch that a deposed primary sealed.
var errSuperseded = errors.New("the batch belongs to an ended view")

// fsm is the replicated state machine: the Replica as Raft sees it. Apply,
// Snapshot and Restore run on one goroutine of Raft's, in log order.
type fsm Replica

// Apply takes one Raft record. It returns nil when the batch is part of the
// history now, errSuperseded when it never will be; anything else halts the node.
func (f *fsm) Apply(l *raft.Log) any {
	r := (*Replica)(f)
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.halted:
		return ErrStopped
	default:
	}
	if h := r.speculated(l); h != nil {
		if err := r.settleOwn(h.last); err != nil {
			return r.fatal(l.Index, err)
		}
		r.reached(l.Index)
		return nil
	}
	b, err := decodeBatch(l.Data)
	if err != nil {
		return r.fatal(l.Index, err)
	}
	if b.view != l.Term {
		return errSuperseded
	}
	if err := r.take(b); err != nil {
		return r.fatal(l.Index, err)
	}
	r.reached(l.Index)
	return nil
}

func (r *Replica) fatal(index uint64, err error) error {
	err = fmt.Errorf("applying Raft record %d: %w", index, err)
	r.halts(err)
	return err
}

// speculated returns the batch that this primary sealed itself, when l is it: the
// oldest one handed over, the same slice, of the view in which we still lead. Its
// entries are at the head already and need not be decoded. mu is held.
func (r *Replica) speculated(l *raft.Log) *handedBatch {
	if len(r.handed) == 0 || r.view != l.Term {
		return nil
	}
	h := &r.handed[0]
	if len(l.Data) != len(h.data) || &l.Data[0] != &h.data[0] && !bytes.Equal(l.Data, h.data) {
		return nil
	}
	return h
}

// settleOwn makes what this primary sequenced through last part of the history.
// mu is held.
func (r *Replica) settleOwn(last uint64) error {
	r.handed = r.handed[1:]
	r.applied = TxID{View: r.view, Seqno: last}
	e := r.tail[last-r.committed.Seqno-1].entry
	if !ledger.IsSignature(e.Public) {
		return nil
	}
	return r.commit(e.ID)
}

// take judges a batch against the history and makes it part of it. mu is held.
func (r *Replica) take(b *batch) error {
	if held, err := r.holds(b); held || err != nil {
		return err
	}
	// Nothing that this node sequenced ahead of Apply stands in the way of what
	// Raft says happened.
	r.discardAfter(r.applied.Seqno)
	if b.view > r.applied.View {
		r.discardAfter(r.committed.Seqno)
		r.applied = r.committed
	}
	if b.view < r.applied.View || b.first != r.applied.Seqno+1 {
		return fmt.Errorf("batch %d.%d…%d does not follow %v", b.view, b.first, b.last(), r.applied)
	}
	if prev, err := r.leaf(b.first - 1); err != nil {
		return err
	} else if b.prev != prev {
		return fmt.Errorf("batch %d.%d does not follow from our entry %d", b.view, b.first, b.first-1)
	}
	for _, e := range b.entries {
		if err := r.install(e, r.apply); err != nil {
			return err
		}
	}
	r.applied = r.head
	r.publish()
	if !b.signed() {
		return nil
	}
	return r.commit(r.head)
}

// holds reports whether the batch is history already: the same positions with the
// same digests. While the Raft log is replayed behind ledger files that reach
// further, a batch of an older view than the one that holds its positions was
// rolled back long ago. mu is held.
func (r *Replica) holds(b *batch) (bool, error) {
	if b.first > r.applied.Seqno {
		return false, nil
	}
	if b.last() < r.cfg.Ledger.First() {
		return true, nil // the snapshot with which this node began vouches for it
	}
	if b.view > r.applied.View {
		return false, nil // a new view, which begins behind the last signature
	}
	at := r.Position().ViewOf(b.first)
	if b.view < at && b.first <= r.loaded {
		return true, nil
	}
	if b.last() > r.applied.Seqno {
		return false, fmt.Errorf("batch %d.%d…%d overlaps the history through %v", b.view, b.first, b.last(), r.applied)
	}
	for _, e := range b.entries {
		leaf, err := r.leaf(e.ID.Seqno)
		if err != nil {
			return false, err
		}
		if leaf != e.Leaf() {
			return false, fmt.Errorf("entry %v differs from the one that is held", e.ID)
		}
	}
	return true, nil
}

// apply gives a transaction's writes to the store.
func (r *Replica) apply(id TxID, ws writeset.WriteSet) error {
	_, err := r.cfg.Store.Apply(id, ws)
	return err
}

// install decrypts one entry, gives its writes to apply, and moves head, tree and tail by
// it. mu is held.
func (r *Replica) install(e *ledger.Entry, apply func(TxID, writeset.WriteSet) error) error {
	ws, err := r.writes(e)
	if err != nil {
		return fmt.Errorf("entry %v: %w", e.ID, err)
	}
	if ledger.IsSignature(e.Public) {
		if err := r.checkRoot(e); err != nil {
			return err
		}
	}
	r.enterView(e.ID.View, e.ID.Seqno)
	if err := apply(e.ID, ws); err != nil {
		return fmt.Errorf("entry %v: %w", e.ID, err)
	}
	r.extend(e, Submission{})
	r.head = e.ID
	if err := r.rekey(e.ID, ws); err != nil {
		return fmt.Errorf("entry %v: %w", e.ID, err)
	}
	return nil
}

// writes decrypts an entry; what is private of it is left to TakePrivate, once that is to
// come. mu is held.
func (r *Replica) writes(e *ledger.Entry) (writeset.WriteSet, error) {
	secret, err := r.cfg.Secrets.At(e.ID.Seqno)
	if errors.Is(err, ledger.ErrNoSecret) && r.publicOnly {
		return e.Public, nil
	}
	if err != nil {
		return nil, err
	}
	ws, err := e.Open(secret)
	if err == nil && r.publicOnly {
		ws, _ = ws.Split()
	}
	return ws, err
}

// checkRoot compares the root that a signature transaction claims with our own.
// mu is held.
func (r *Replica) checkRoot(e *ledger.Entry) error {
	sig, err := ledger.ParseSignature(e)
	if err != nil {
		return fmt.Errorf("signature %v: %w", e.ID, err)
	}
	if sig.Root != r.tree.Root() {
		return fmt.Errorf("signature %v is over another root than this node's", e.ID)
	}
	return nil
}

// commit writes the signed span through id to the chunk files and makes it
// committed. mu is held.
func (r *Replica) commit(id TxID) error {
	n := int(id.Seqno - r.committed.Seqno)
	span := make([]*ledger.Entry, n)
	for i, s := range r.tail[:n] {
		span[i] = s.entry
	}
	if err := r.appendSpan(span); err != nil {
		return err
	}
	leaf := r.tail[n-1].entry.Leaf()
	r.base = r.tail[n-1]
	r.base.entry = nil
	r.tail = append(make([]sealed, 0, len(r.tail)-n+64), r.tail[n:]...)
	r.committed = id
	r.sigs = append(r.sigs, id.Seqno)
	if err := r.cfg.Store.Compact(id.Seqno); err != nil {
		return fmt.Errorf("committing %v: %w", id, err)
	}
	r.trim()
	r.counters.committed.Add(uint64(n))
	r.publish()
	r.wakeWaiters()
	if r.cfg.Committed != nil {
		r.cfg.Committed(r.cfg.Store.Committed())
	}
	if r.base.snapshotAt == id.Seqno && r.view != 0 && r.cfg.Snapshot != nil {
		r.cfg.Snapshot(Capture{State: r.cfg.Store.Committed(), Leaf: leaf, Views: r.views[:id.View]})
	}
	return nil
}

// appendSpan writes a span, and on a full disk waits until there is room: the
// entries are durable in Raft's log, so nothing is lost meanwhile. mu is held, and
// let go while waiting, so that the node can say that it is not ready.
func (r *Replica) appendSpan(span []*ledger.Entry) error {
	for {
		err := r.cfg.Ledger.AppendSigned(span)
		if err == nil {
			r.diskFull = false
			return nil
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("writing entries %v…%v: %w", span[0].ID, span[len(span)-1].ID, err)
		}
		if !r.diskFull {
			r.cfg.Log.Error("the ledger's disk is full; make room", "err", err)
		}
		r.diskFull = true
		r.mu.Unlock()
		select {
		case <-r.halted:
		case <-time.After(diskFullRetry):
		}
		r.mu.Lock()
		if r.stopped.Load() {
			return fmt.Errorf("stopped while the ledger's disk was full: %w", err)
		}
	}
}

const diskFullRetry = 200 * time.Millisecond

// replay reads the ledger files into store and tree. Each entry's tag is checked
// with the ledger secret and each signature's root against our own tree. The store has the
// result when all of it is there.
func (r *Replica) replay(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, err := r.foundOn(ctx)
	if err != nil {
		return err
	}
	state := r.cfg.Store.Bulk()
	for e, err := range r.cfg.Ledger.EntriesOpened(from, r.cfg.Secrets) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && e.ID.Seqno != r.head.Seqno+1 {
			err = fmt.Errorf("entry %v follows %v", e.ID, r.head)
		}
		if err == nil {
			err = r.install(e, state.Apply)
		}
		if err != nil {
			return err
		}
		r.applied = r.head
		if !ledger.IsSignature(e.Public) {
			continue
		}
		r.committed = r.head
		r.sigs = append(r.sigs, r.head.Seqno)
		r.base = r.mark()
		r.base.entry = nil
		r.tail = r.tail[:0]
		r.trim()
	}
	if r.head != r.committed {
		return fmt.Errorf("the ledger files end at %v, behind their last signature %v", r.head, r.committed)
	}
	r.loaded = r.head.Seqno
	return state.Commit()
}
