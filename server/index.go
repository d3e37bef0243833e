package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"chancery/kv/writeset"
)

// Strategy is an index over the ledger that an application keeps in memory: it is given
// every committed transaction, in order, on every node, shortly after its commit. Name and
// Next may be called by many goroutines, beside Handle, which is called by one.
type Strategy interface {
	// Name tells strategies apart; CCF's have the form "SeqnosByKey public:records".
	Name() string
	// Next is the seqno of the transaction that it wants next; 0: none for now.
	Next() uint64
	// Handle takes in the transaction at Next. Writes must not be changed, and not be kept
	// but for copies.
	Handle(id TxID, writes writeset.WriteSet)
}

// Indexes are the strategies of one application. It is safe for concurrent use; its zero
// value is ready.
type Indexes struct {
	mu         sync.Mutex
	strategies []Strategy // guarded by mu
}

// Install adds a strategy, which is given transactions from its Next on.
func (x *Indexes) Install(s Strategy) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.ContainsFunc(x.strategies, func(o Strategy) bool { return o.Name() == s.Name() }) {
		return fmt.Errorf("the indexing strategy %q is installed already", s.Name())
	}
	x.strategies = append(x.strategies, s)
	return nil
}

// Uninstall takes a strategy out, and reports whether it was there.
func (x *Indexes) Uninstall(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := len(x.strategies)
	x.strategies = slices.DeleteFunc(slices.Clone(x.strategies), func(s Strategy) bool { return s.Name() == name })
	return len(x.strategies) < before
}

// All returns the strategies. The slice is the caller's.
func (x *Indexes) All() []Strategy {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.strategies)
}

// describeStrategy is a strategy as /node/index/strategies shows it, with CCF's names.
func describeStrategy(st Strategy) any {
	out := map[string]any{"name": st.Name()}
	if next := st.Next(); next != 0 {
		out["next_requested_seqno"] = next
	}
	if x, ok := st.(*SeqnosByKey); ok {
		out["target_map"], out["indexed_watermark"] = x.table, x.Indexed().String()
	}
	return out
}

// getStrategies lists the application's indexing strategies.
func (s *Server) getStrategies(context.Context, *Call) (any, error) {
	out := []any{}
	for _, st := range s.indexes.All() {
		out = append(out, describeStrategy(st))
	}
	return out, nil
}

// indexEvery is how often the indexer looks whether more is committed, and indexRetry how
// often whether a transaction that cannot be read can be read now.
const (
	indexEvery = 20 * time.Millisecond
	indexRetry = time.Second
)

// Index gives committed transactions to the application's strategies until ctx ends. A
// transaction that cannot be read now is tried again: an index lags, it never skips.
func (s *Server) Index(ctx context.Context) error {
	timer := time.NewTimer(indexEvery)
	defer timer.Stop()
	lagging := uint64(0) // the seqno of which it was said that it cannot be read
	for ctx.Err() == nil {
		more, seqno, err := s.indexMore(ctx)
		pause := indexEvery
		if err != nil && !errors.Is(err, ErrFetching) {
			pause = indexRetry
			if seqno != lagging && ctx.Err() == nil {
				lagging = seqno
				s.log.Warn("a committed transaction cannot be indexed yet", "seqno", seqno, "err", err)
			}
		} else if more {
			continue
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return nil
}

// indexMore gives the strategies the committed transactions that they want next. more says
// that there was one; err is of seqno.
func (s *Server) indexMore(ctx context.Context) (more bool, seqno uint64, err error) {
	committed := s.node.Position().Committed.Seqno
	for _, st := range s.indexes.All() {
		if n := st.Next(); n != 0 && n <= committed && (seqno == 0 || n < seqno) {
			seqno = n
		}
	}
	if seqno == 0 {
		return false, 0, nil
	}
	err = s.node.Scan(ctx, seqno, func(id TxID, writes writeset.WriteSet) bool {
		wanted := false
		for _, st := range s.indexes.All() {
			if st.Next() == id.Seqno {
				st.Handle(id, writes)
				wanted = true
			}
		}
		more, seqno = more || wanted, id.Seqno+1
		return wanted
	})
	return more, seqno, err
}

// SeqnosByKey is a strategy that knows by which transactions each key of a table was
// written. It holds eight bytes for each write, and each key once. It is safe for
// concurrent use.
type SeqnosByKey struct {
	table string

	mu     sync.Mutex
	seqnos map[string][]uint64 // ascending; guarded by mu
	last   TxID                // guarded by mu
}

// NewSeqnosByKey indexes a table from the beginning of the ledger.
func NewSeqnosByKey(table string) *SeqnosByKey {
	return &SeqnosByKey{table: table, seqnos: make(map[string][]uint64)}
}

// Name is CCF's.
func (x *SeqnosByKey) Name() string { return "SeqnosByKey " + x.table }

// Next implements Strategy.
func (x *SeqnosByKey) Next() uint64 { return x.Indexed().Seqno + 1 }

// Handle implements Strategy.
func (x *SeqnosByKey) Handle(id TxID, writes writeset.WriteSet) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = id
	m := writes.Map(x.table)
	if m == nil {
		return
	}
	for _, w := range m.Writes {
		x.seqnos[string(w.Key)] = append(x.seqnos[string(w.Key)], id.Seqno)
	}
}

// Indexed is the last transaction that was taken in.
func (x *SeqnosByKey) Indexed() TxID {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// Seqnos returns the transactions from first to last, both included, that wrote the key.
// ok is false where the index has not come to last yet.
func (x *SeqnosByKey) Seqnos(key []byte, first, last uint64) (seqnos []uint64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if last > x.last.Seqno {
		return nil, false
	}
	all := x.seqnos[string(key)]
	from, _ := slices.BinarySearch(all, first)
	to, found := slices.BinarySearch(all, last)
	if found {
		to++
	}
	return slices.Clone(all[from:max(from, to)]), true
}
