package kv

import (
	"errors"
	"fmt"
)

// ErrTableThere says that a table to be grafted exists already.
var ErrTableThere = errors.New("the table is there already")

// Graft adds to every state that the store holds the tables of another store's state at
// the same position: the private state of a service whose public state was replayed first.
// The other store, which nobody may use meanwhile, holds a state for each of them.
// Transactions that are open go on without the tables. It is ErrTableThere, and nothing
// happens, if the store has one of them.
func (s *Store) Graft(from *Store) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := make([]*State, len(s.history))
	for i, st := range s.history {
		at, ok := from.find(st.id.Seqno)
		if !ok || from.history[at].id != st.id {
			return fmt.Errorf("grafting onto %v: the other store, through %v, does not hold that state", st.id, from.Head().id)
		}
		others[i] = from.history[at]
		for name := range others[i].Tables() {
			if st.table(name) != nil {
				return fmt.Errorf("grafting %q onto %v: %w", name, st.id, ErrTableThere)
			}
		}
	}
	grafted := make([]*State, len(s.history))
	for i, st := range s.history {
		tables := st.tables
		for w := newWalk(&others[i].tables, Bounds{}); w.item != nil; w.advance() {
			tables.put(&item[table]{key: w.item.key, val: w.item.val})
		}
		grafted[i] = &State{id: st.id, lineage: st.lineage, tables: tables.freeze()}
	}
	s.history = grafted
	s.committed.Store(grafted[0])
	s.head.Store(grafted[len(grafted)-1])
	return nil
}
