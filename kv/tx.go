package kv

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"chancery/kv/writeset"
)

// Tx is one transaction: a view of a state, the writes that it would add, and a
// record of everything that it has read. It belongs to one goroutine. Nothing
// it does is seen elsewhere before [Store.Commit].
//
// Reads see the transaction's own writes over the state it was begun on. Bytes
// handed out must not be changed; bytes handed in are copied.
type Tx struct {
	base     *State
	tables   map[string]*txTable
	last     *txTable // the table used last
	dirty    bool     // some table has a write
	put      int      // bytes of keys and values that Put was given
	finished bool     // committed or discarded
}

// ReadTxID returns the position of the state that the transaction reads.
func (tx *Tx) ReadTxID() TxID { return tx.base.id }

// Touched reports whether the transaction has read or written any table.
func (tx *Tx) Touched() bool { return len(tx.tables) > 0 }

// Dirty reports whether the transaction has anything to commit: a Put or a
// Delete, even one that changes nothing, or a Clear of a table that had a key.
func (tx *Tx) Dirty() bool { return tx.dirty }

// Get returns the value of the key and whether it is there.
func (tx *Tx) Get(table string, key []byte) ([]byte, bool) {
	t := tx.table(table)
	if w := t.writes.get(key); w != nil {
		return w.val.value, !w.val.removed
	}
	if it := t.read(key); it != nil {
		return it.val.Value, true
	}
	return nil, false
}

// Has reports whether the key is there.
func (tx *Tx) Has(table string, key []byte) bool {
	_, ok := tx.Get(table, key)
	return ok
}

// VersionOfPreviousWrite returns the seqno of the transaction that last wrote
// the key, and false if the key is not there. It looks past the writes of this
// transaction, and is a read of the key even where Get would not be one.
func (tx *Tx) VersionOfPreviousWrite(table string, key []byte) (uint64, bool) {
	if it := tx.table(table).read(key); it != nil {
		return it.val.Version, true
	}
	return 0, false
}

// Put writes the key. A write is not a read: two transactions that write the
// same key do not conflict, the later one wins.
func (tx *Tx) Put(table string, key, value []byte) {
	k, v := copyPair(key, value)
	tx.table(table).write(k, pending{value: v})
	tx.dirty = true
	tx.put += len(key) + len(value)
}

// Exceeds reports whether the keys and values that the transaction would write are more
// than limit bytes.
func (tx *Tx) Exceeds(limit int) bool {
	if tx.put <= limit {
		return false
	}
	size := 0
	for _, m := range tx.WriteSet() { // of what was overwritten only the last counts
		for _, w := range m.Writes {
			size += len(w.Key) + len(w.Value)
		}
	}
	return size > limit
}

// Delete removes the key. It is recorded in the write set whether or not the
// key is there, and is no read of it.
func (tx *Tx) Delete(table string, key []byte) {
	tx.table(table).write(bytes.Clone(key), pending{removed: true})
	tx.dirty = true
}

// Clear deletes every key that the transaction sees in the table, its own
// writes among them. It is a read of the whole table.
func (tx *Tx) Clear(table string) {
	t := tx.table(table)
	for key := range t.all(Bounds{}) {
		t.write(key, pending{removed: true})
		tx.dirty = true
	}
}

// Len returns the number of keys in the table, with the transaction's own
// writes. It is a read of that number, and of the presence of the keys that the
// transaction writes, but not of the keys that make it up: a key that others add
// and a key that they remove cancel out.
func (tx *Tx) Len(table string) int { return tx.table(table).size() }

// Range walks over the keys in b, in their order or, if b says so, against it.
// The set of keys and their values are fixed when Range is called: writes made
// during the walk, or between the call and the walk, do not show in it.
//
// The walk is a read of all keys in the part of b that it has gone through,
// whether present or absent: what others add there, change or remove is a
// conflict. Breaking off early leaves the rest of b unread.
func (tx *Tx) Range(table string, b Bounds) iter.Seq2[[]byte, []byte] {
	return tx.table(table).all(b.clone())
}

// WriteSet returns the writes so far in canonical order, nil if there are none.
// The bytes are shared.
func (tx *Tx) WriteSet() writeset.WriteSet {
	tables := tx.written()
	if len(tables) == 0 {
		return nil
	}
	ws := make(writeset.WriteSet, len(tables))
	for i, t := range tables {
		ws[i] = t.mapWrites()
	}
	return ws
}

// Discard finishes the transaction without committing it. It is never needed to
// free anything; it makes a later Commit fail.
func (tx *Tx) Discard() { tx.finished = true }

// table returns the transaction's side of the named table.
func (tx *Tx) table(name string) *txTable {
	if tx.last != nil && tx.last.name == name {
		return tx.last
	}
	t := tx.tables[name]
	if t == nil {
		t = newTxTable(name, tx.base.table(name))
		if tx.tables == nil {
			tx.tables = make(map[string]*txTable)
		}
		tx.tables[name] = t
	}
	tx.last = t
	return t
}

// written returns the tables that have writes, by name.
func (tx *Tx) written() []*txTable {
	if !tx.dirty {
		return nil
	}
	var out []*txTable
	for _, t := range tx.tables {
		if t.writes.count > 0 {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *txTable) int { return strings.Compare(a.name, b.name) })
	return out
}

// holds reports whether every read of the transaction would give in head what
// it gave in the state that the transaction was begun on.
func (tx *Tx) holds(head *State) bool {
	if tx.base == head {
		return true
	}
	for _, t := range tx.tables {
		if !t.holds(head.table(t.name)) {
			return false
		}
	}
	return true
}

// writeOnto returns the tables of head after the transaction's writes.
func (tx *Tx) writeOnto(head *State, version uint64) tree[table] {
	w := writer{tables: head.tables, version: version}
	for _, t := range tx.written() {
		w.open([]byte(t.name))
		for p := newWalk(&t.writes, Bounds{}); p.item != nil; p.advance() {
			if p.item.val.removed {
				w.remove(p.item.key)
			} else {
				w.put(p.item.key, p.item.val.value)
			}
		}
	}
	return w.finish()
}
