package kv

import (
	"fmt"

	"chancery/kv/writeset"
)

// Bulk takes the write sets of many transactions and makes one state of them, where Apply
// makes one of each: for a replay, between whose states nobody chooses. Nothing else moves
// the store's head meanwhile. A Bulk belongs to one goroutine and is used once.
type Bulk struct {
	store  *Store
	base   *State
	last   TxID
	tables map[string]*tree[Item]
}

// Bulk begins behind the head.
func (s *Store) Bulk() *Bulk {
	head := s.Head()
	return &Bulk{store: s, base: head, last: head.id, tables: map[string]*tree[Item]{}}
}

// Apply adds the writes of the transaction at id, which must follow the one before. It
// copies their bytes.
func (b *Bulk) Apply(id TxID, ws writeset.WriteSet) error {
	if err := admits(b.last, id); err != nil {
		return fmt.Errorf("applying %v: %w", id, err)
	}
	b.last = id
	for i := range ws {
		m := &ws[i]
		keys := b.table(m.Name)
		for j := range m.Writes {
			key, value := copyPair(m.Writes[j].Key, m.Writes[j].Value)
			keys.put(&item[Item]{key: key, val: Item{Value: value, Version: id.Seqno}})
		}
		for _, k := range m.Removes {
			keys.remove(k)
		}
	}
	return nil
}

// table returns the present contents of a table.
func (b *Bulk) table(name string) *tree[Item] {
	keys := b.tables[name]
	if keys == nil {
		keys = new(tree[Item])
		if t := b.base.table(name); t != nil {
			*keys = t.keys
		}
		b.tables[name] = keys
	}
	return keys
}

// Commit makes the result the head and the committed state. It is an error if the head is
// not what it was.
func (b *Bulk) Commit() error {
	s := b.store
	if b.last == b.base.id {
		return nil
	}
	next := &State{id: b.last, tables: b.base.tables}
	for name, keys := range b.tables {
		if keys.count == 0 {
			next.tables.remove([]byte(name))
		} else {
			next.tables.put(&item[table]{key: []byte(name), val: table{keys: keys.freeze()}})
		}
	}
	next.tables = next.tables.freeze()
	s.mu.Lock()
	if head := s.head.Load(); head != b.base {
		s.mu.Unlock()
		return fmt.Errorf("applying transactions through %v: the head has moved to %v", next.id, head.id)
	}
	s.advance(next)
	s.mu.Unlock()
	return s.Compact(next.id.Seqno)
}
