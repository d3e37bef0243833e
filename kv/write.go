package kv

import "chancery/kv/writeset"

// writer makes the tables of a new state out of those of an older one. It holds
// one table at a time, so the writes should come table by table.
type writer struct {
	tables  tree[table]
	version uint64 // seqno of the transaction that writes
	name    []byte // of the table in hand
	keys    tree[Item]
	changed bool
}

// open takes the named table in hand, after putting the last one back.
func (w *writer) open(name []byte) {
	w.close()
	w.name, w.keys, w.changed = name, tree[Item]{}, false
	if it := w.tables.get(name); it != nil {
		w.keys = it.val.keys
	}
}

// put writes a key, and reports whether it was there before. It takes
// possession of both slices.
func (w *writer) put(key, value []byte) (replaced bool) {
	w.changed = true
	return w.keys.put(&item[Item]{key: key, val: Item{Value: value, Version: w.version}}) != nil
}

// remove deletes a key, if it is there.
func (w *writer) remove(key []byte) {
	if w.keys.remove(key) != nil {
		w.changed = true
	}
}

// close puts the table in hand back. A table without keys ceases to exist.
func (w *writer) close() {
	switch {
	case !w.changed:
	case w.keys.count == 0:
		w.tables.remove(w.name)
	default:
		w.tables.put(&item[table]{key: w.name, val: table{keys: w.keys.freeze()}})
	}
	w.changed = false
}

// finish puts the last table back and returns them all.
func (w *writer) finish() tree[table] {
	w.close()
	return w.tables.freeze()
}

// with returns the tables of s after the writes of ws at the given seqno.
func (s *State) with(ws writeset.WriteSet, version uint64) tree[table] {
	w := writer{tables: s.tables, version: version}
	for i := range ws {
		m := &ws[i]
		w.open([]byte(m.Name))
		for j := range m.Writes {
			w.put(copyPair(m.Writes[j].Key, m.Writes[j].Value))
		}
		for _, k := range m.Removes {
			w.remove(k)
		}
	}
	return w.finish()
}

// copyPair copies a key and its value into one allocation. Neither is nil.
func copyPair(key, value []byte) (k, v []byte) {
	b := make([]byte, len(key)+len(value))
	n := copy(b, key)
	copy(b[n:], value)
	return b[:n:n], b[n:]
}
