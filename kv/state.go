package kv

import (
	"iter"

	"chancery/kv/writeset"
)

// TxID is the position of a transaction, see [writeset.TxID].
type TxID = writeset.TxID

// Item is the value of a key and the seqno of the transaction that wrote it.
type Item struct {
	Value   []byte
	Version uint64
}

// State is the contents of all tables at one position. It never changes, costs
// nothing to keep but the nodes that newer states no longer share, and may be
// read by any number of goroutines.
//
// A table exists as long as it has a key; reading any other is reading an empty
// one. Bytes that a State hands out are its own and must not be changed.
type State struct {
	id      TxID
	lineage *lineage
	tables  tree[table]
}

// table is the frozen contents of one table.
type table struct {
	keys tree[Item]
}

// TxID returns the position of the last transaction in the state; the zero TxID
// if it is the state before the first one.
func (s *State) TxID() TxID { return s.id }

// Get returns the value of the key, the seqno of its last write, and whether
// the key is there.
func (s *State) Get(table string, key []byte) (value []byte, version uint64, ok bool) {
	t := s.table(table)
	if t == nil {
		return nil, 0, false
	}
	it := t.keys.get(key)
	if it == nil {
		return nil, 0, false
	}
	return it.val.Value, it.val.Version, true
}

// Len returns the number of keys in the table, in constant time.
func (s *State) Len(table string) int {
	if t := s.table(table); t != nil {
		return t.keys.count
	}
	return 0
}

// Range walks over the keys in b, in their order or, if b says so, against it.
func (s *State) Range(table string, b Bounds) iter.Seq2[[]byte, Item] {
	b = b.clone()
	return func(yield func([]byte, Item) bool) {
		t := s.table(table)
		if t == nil {
			return
		}
		for w := newWalk(&t.keys, b); w.item != nil; w.advance() {
			if !yield(w.item.key, w.item.val) {
				return
			}
		}
	}
}

// Tables walks over the names of the tables that have a key, in bytewise order.
func (s *State) Tables() iter.Seq[string] {
	return func(yield func(string) bool) {
		for w := newWalk(&s.tables, Bounds{}); w.item != nil; w.advance() {
			if !yield(string(w.item.key)) {
				return
			}
		}
	}
}

// Begin starts a transaction on this state. It can be committed to the store of
// the state as long as the state was not rolled back and nothing that the
// transaction reads has changed since.
func (s *State) Begin() *Tx { return &Tx{base: s} }

// table returns the contents of the named table, or nil if it is empty.
func (s *State) table(name string) *table {
	if it := s.tables.get([]byte(name)); it != nil {
		return &it.val
	}
	return nil
}
