package kv

import (
	"bytes"
	"iter"

	"chancery/kv/writeset"
)

// txTable is a transaction's side of one table: what it has read of the base,
// and what it would write.
type txTable struct {
	name string
	base *tree[Item] // frozen; the empty tree if the table is not there

	// What was read of the base, for holds. One key, as most transactions read of a
	// table, takes no map.
	first  point
	points map[string]*item[Item] // further keys; nil for a key that is not there
	ranges []Bounds
	sized  bool // the number of keys was read

	writes tree[pending]
	delta  int // once sized: keys that the writes add, less those they remove
}

// point is a key that was read.
type point struct {
	read bool
	key  []byte
	item *item[Item] // nil: the key is not there
}

// pending is a write that waits for its commit.
type pending struct {
	value   []byte
	removed bool
}

func newTxTable(name string, base *table) *txTable {
	return &txTable{name: name, base: base.items()}
}

// items returns the keys of a table, which is nil if the table is not there.
func (t *table) items() *tree[Item] {
	if t == nil {
		return new(tree[Item])
	}
	return &t.keys
}

// read looks the key up in the base, and records that.
func (t *txTable) read(key []byte) *item[Item] {
	if t.first.read && bytes.Equal(t.first.key, key) {
		return t.first.item
	}
	if it, ok := t.points[string(key)]; ok {
		return it
	}
	it := t.base.get(key)
	if !t.first.read {
		t.first = point{read: true, item: it}
		if it != nil {
			t.first.key = it.key
		} else {
			t.first.key = bytes.Clone(key)
		}
		return it
	}
	if t.points == nil {
		t.points = make(map[string]*item[Item])
	}
	t.points[string(key)] = it
	return it
}

// write records a write, in place of an earlier one to the same key. It takes
// possession of key.
func (t *txTable) write(key []byte, p pending) {
	if t.sized {
		t.delta += t.effect(key, p) - t.effectOf(t.writes.get(key))
	}
	t.writes.put(&item[pending]{key: key, val: p})
}

// effect returns by how much a write of the key changes the number of keys in
// the table, which is a read of the key.
func (t *txTable) effect(key []byte, p pending) int {
	present := t.read(key) != nil
	switch {
	case present && p.removed:
		return -1
	case !present && !p.removed:
		return 1
	}
	return 0
}

// effectOf is effect for a write that may not be there.
func (t *txTable) effectOf(w *item[pending]) int {
	if w == nil {
		return 0
	}
	return t.effect(w.key, w.val)
}

// size returns the number of keys, and records that it was read.
func (t *txTable) size() int {
	if !t.sized {
		t.sized = true
		for w := newWalk(&t.writes, Bounds{}); w.item != nil; w.advance() {
			t.delta += t.effectOf(w.item)
		}
	}
	return t.base.count + t.delta
}

// all walks over the keys in b as they are now, writes over base, and records
// how far the walk came.
func (t *txTable) all(b Bounds) iter.Seq2[[]byte, []byte] {
	writes := t.writes.freeze()
	return func(yield func(key, value []byte) bool) {
		var last []byte // where the walk was broken off, also by a panic
		defer func() {
			if last == nil {
				t.observe(b)
			} else {
				t.observe(b.upTo(last))
			}
		}()
		own, base := newWalk(&writes, b), newWalk(t.base, b)
		for {
			key, value, ok := merged(&own, &base)
			if last = key; !ok || !yield(key, value) {
				return
			}
		}
	}
}

// merged returns the next key of two walks in one direction, and its value: of
// equal keys the pending one, and no key whose pending write is a removal.
func merged(own *walk[pending], base *walk[Item]) (key, value []byte, ok bool) {
	for {
		if own.item == nil && base.item == nil {
			return nil, nil, false
		}
		order := -1 // of the pending key and the base's, in the walks' direction
		switch {
		case own.item == nil:
			order = 1
		case base.item != nil:
			order = own.cursor.step * bytes.Compare(own.item.key, base.item.key)
		}
		if order > 0 {
			it := base.item
			base.advance()
			return it.key, it.val.Value, true
		}
		if order == 0 {
			base.advance()
		}
		it := own.item
		own.advance()
		if !it.val.removed {
			return it.key, it.val.value, true
		}
	}
}

// observe records that a range of the base was read. Walking over one range
// again and again takes no more room than doing it once.
func (t *txTable) observe(b Bounds) {
	if n := len(t.ranges); n > 0 {
		switch last := &t.ranges[n-1]; {
		case last.covers(b):
			return
		case b.covers(*last):
			*last = b
			return
		}
	}
	t.ranges = append(t.ranges, b)
}

// holds reports whether what was read of the base is the same in the given
// contents of the table.
func (t *txTable) holds(head *table) bool {
	now := head.items()
	if now.root == t.base.root {
		return true
	}
	if t.sized && now.count != t.base.count {
		return false
	}
	if t.first.read && now.get(t.first.key) != t.first.item {
		return false
	}
	for key, it := range t.points {
		if now.get([]byte(key)) != it {
			return false
		}
	}
	for _, r := range t.ranges {
		if !sameBetween(t.base, now, r.From, r.To) {
			return false
		}
	}
	return true
}

// mapWrites returns the writes as a map record.
func (t *txTable) mapWrites() writeset.MapWrites {
	m := writeset.MapWrites{Name: t.name}
	for w := newWalk(&t.writes, Bounds{}); w.item != nil; w.advance() {
		if w.item.val.removed {
			m.Removes = append(m.Removes, w.item.key)
		} else {
			m.Writes = append(m.Writes, writeset.Write{Key: w.item.key, Value: w.item.val.value})
		}
	}
	return m
}
