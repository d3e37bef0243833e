package kv

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"chancery/kv/writeset"
)

// ErrConflict says that what a transaction read is no longer so, or that it was
// begun on a state that has been rolled back. Nothing has changed; the caller
// may run the whole transaction again from Begin.
var ErrConflict = errors.New("transaction conflict")

// Store is the current contents of all tables: the head, which every
// transaction starts from and every commit advances; the committed state behind
// it, which can no longer be rolled back; and the states between the two.
//
// Head, Committed and Begin never block. The methods that move the head or the
// committed state are serialised among themselves; on a primary the sequencer
// calls them, elsewhere the goroutine that applies.
type Store struct {
	head      atomic.Pointer[State]
	committed atomic.Pointer[State]

	mu sync.Mutex
	// history is what Rollback and Compact choose from: the committed state
	// first, the head last, seqnos ascending. Guarded by mu.
	history []*State
	lineage *lineage // of the states that are added from now on; guarded by mu
}

// lineage is a run of states between two rollbacks. Rolling back ends it: its
// states up to limit stay part of the history, the ones above never were.
// Seqnos are used again after a rollback, so a seqno alone does not say whether
// a state is an ancestor of the head; its lineage does.
type lineage struct {
	store *Store
	start uint64 // seqno of the state that the first state of the run follows
	// The fields below are guarded by store.mu.
	limit  uint64   // the last seqno of the run that was not rolled back
	parent *lineage // the run before, as long as a rollback can reach it
}

// noLimit is the limit of a lineage that has not been rolled back.
const noLimit = ^uint64(0)

// lost reports whether the state was rolled back. The caller holds store.mu.
func (s *State) lost() bool { return s.id.Seqno > s.lineage.limit }

// NewStore returns a store with no tables at the zero TxID, both as head and as
// committed state.
func NewStore() *Store { return newStore(&State{}) }

// newStore returns a store that begins with the given state, of which it takes
// possession.
func newStore(first *State) *Store {
	s := &Store{history: []*State{first}}
	s.lineage = &lineage{store: s, start: first.id.Seqno, limit: noLimit}
	first.lineage = s.lineage
	s.head.Store(first)
	s.committed.Store(first)
	return s
}

// Head returns the newest state.
func (s *Store) Head() *State { return s.head.Load() }

// Committed returns the state that was last given to Compact, at first the one
// that the store began with.
func (s *Store) Committed() *State { return s.committed.Load() }

// Held returns the number of states that are kept, from the committed one to the head.
func (s *Store) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.history)
}

// Begin starts a transaction on the head.
func (s *Store) Begin() *Tx { return s.Head().Begin() }

// Commit checks that everything tx has read is the same in the head, gives its
// writes the position id and makes the result the head, all in one step. It
// returns the writes in canonical order; they share their bytes with the store.
//
// The error is ErrConflict if the check fails; the head is then unchanged and
// id unused. A transaction that wrote nothing is consistent at the position
// that it was begun at, so it always succeeds: the result is then nil, the head
// unchanged and id unused. Any other error is a mistake of the caller: a
// position that does not follow the head's, a transaction of another store, or
// one that has been committed or discarded before. Whatever the outcome, tx is
// finished.
func (s *Store) Commit(tx *Tx, id TxID) (writeset.WriteSet, error) {
	if tx.finished {
		return nil, fmt.Errorf("committing %v: transaction is already finished", id)
	}
	tx.finished = true
	if !tx.Dirty() {
		return nil, nil
	}
	if tx.base.lineage.store != s {
		return nil, fmt.Errorf("committing %v: transaction belongs to another store", id)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.head.Load()
	if err := admits(head.id, id); err != nil {
		return nil, fmt.Errorf("committing %v: %w", id, err)
	}
	if tx.base.lost() || !tx.holds(head) {
		return nil, ErrConflict
	}
	s.advance(&State{id: id, tables: tx.writeOnto(head, id.Seqno)})
	return tx.WriteSet(), nil
}

// Apply makes ws, written at position id, the new head, and returns it. Nothing
// is checked but that the position follows the head's: replicas, and the replay
// of a ledger, take what a primary has decided. The bytes of ws are copied. On
// an error the store is unchanged.
func (s *Store) Apply(id TxID, ws writeset.WriteSet) (*State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.head.Load()
	if err := admits(head.id, id); err != nil {
		return nil, fmt.Errorf("applying %v: %w", id, err)
	}
	next := &State{id: id, tables: head.with(ws, id.Seqno)}
	s.advance(next)
	return next, nil
}

// admits reports whether a transaction at id can follow the one at last. Seqnos are dense and
// views never fall. An empty store may begin anywhere, so that a single write
// set out of the middle of a ledger can be looked at as a state.
func admits(last, id TxID) error {
	switch {
	case id.View == 0 || id.Seqno == 0:
		return errors.New("not a position")
	case last.IsZero():
		return nil
	case id.Seqno != last.Seqno+1 || id.View < last.View:
		return fmt.Errorf("position does not follow the head %v", last)
	}
	return nil
}

// advance makes the state the head. The caller holds mu.
func (s *Store) advance(next *State) {
	next.lineage = s.lineage
	s.history = append(s.history, next)
	s.head.Store(next)
}

// Compact makes the state at seqno the committed one and lets go of the states
// before it, which Rollback can then no longer reach. A seqno behind the
// committed state changes nothing; one beyond the head is an error.
func (s *Store) Compact(seqno uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seqno <= s.history[0].id.Seqno {
		return nil
	}
	i, ok := s.find(seqno)
	if !ok {
		return fmt.Errorf("compacting to seqno %d: the head is %v", seqno, s.head.Load().id)
	}
	clear(s.history[:i]) // the array lives on; what it held should not
	s.history = s.history[i:]
	s.committed.Store(s.history[0])
	for l := s.lineage; l != nil; l = l.parent {
		if l.start <= seqno {
			l.parent = nil
		}
	}
	return nil
}

// Rollback makes the state at seqno the head again, in constant time but for
// dropping the ones above it. Transactions begun on one of those can no longer
// be committed, even when the seqnos have come to be used again. A seqno behind
// the committed state or beyond the head is an error.
func (s *Store) Rollback(seqno uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.find(seqno)
	if !ok {
		return fmt.Errorf("rolling back to seqno %d: not between the committed state %v and the head %v",
			seqno, s.history[0].id, s.head.Load().id)
	}
	if i == len(s.history)-1 {
		return nil
	}
	clear(s.history[i+1:])
	s.history = s.history[:i+1]
	s.head.Store(s.history[i])

	// End every run that has states above seqno; keep those that have others.
	l := s.lineage
	for l.limit = seqno; l.start >= seqno && l.parent != nil; l.limit = seqno {
		l = l.parent
	}
	s.lineage = &lineage{store: s, start: seqno, limit: noLimit, parent: l}
	return nil
}

// find returns the index in history of the state at seqno.
func (s *Store) find(seqno uint64) (int, bool) {
	return slices.BinarySearchFunc(s.history, seqno, func(st *State, n uint64) int {
		switch {
		case st.id.Seqno < n:
			return -1
		case st.id.Seqno > n:
			return 1
		}
		return 0
	})
}
