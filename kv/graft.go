package kv

import (
	"errors"
	"fmt"
)

// ErrTableThere says that a table to be grafted exists already.
var ErrTableThere = errors.New("the table is there already")

// Graft adds the tables of another state to every state that the store holds, as if they
// had been there all the time: the private state of a service whose public state was
// replayed first. Transactions that are open go on without them. It is ErrTableThere, and
// nothing happens, if the store has one of them.
func (s *Store) Graft(from *State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.history {
		for name := range from.Tables() {
			if st.table(name) != nil {
				return fmt.Errorf("grafting %q onto %v: %w", name, st.id, ErrTableThere)
			}
		}
	}
	grafted := make([]*State, len(s.history))
	for i, st := range s.history {
		tables := st.tables
		for w := newWalk(&from.tables, Bounds{}); w.item != nil; w.advance() {
			tables.put(&item[table]{key: w.item.key, val: w.item.val})
		}
		grafted[i] = &State{id: st.id, lineage: st.lineage, tables: tables.freeze()}
	}
	s.history = grafted
	s.committed.Store(grafted[0])
	s.head.Store(grafted[len(grafted)-1])
	return nil
}
