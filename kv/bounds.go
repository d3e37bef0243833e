package kv

import "bytes"

// Bounds is a range of keys in bytewise order: those at or after From and
// before To. A nil end is open, so the zero Bounds is the whole table. (An empty
// To that is not nil lies before every key: that range is empty.)
type Bounds struct {
	From, To []byte
	// Reverse walks from the greatest key to the least.
	Reverse bool
}

// Prefix returns the range of the keys that begin with p.
func Prefix(p []byte) Bounds {
	b := Bounds{From: bytes.Clone(p)}
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			b.To = bytes.Clone(p[:i+1])
			b.To[i]++
			break
		}
	}
	return b
}

// clone returns b with ends that the caller cannot change.
func (b Bounds) clone() Bounds {
	b.From, b.To = bytes.Clone(b.From), bytes.Clone(b.To)
	return b
}

// upTo returns the part of b that a walk has seen when it stopped at key.
func (b Bounds) upTo(key []byte) Bounds {
	if b.Reverse {
		b.From = key
	} else {
		// The least key above key is key followed by a zero byte.
		b.To = append(bytes.Clone(key), 0)
	}
	return b
}

// covers reports whether every key in c lies in b.
func (b Bounds) covers(c Bounds) bool {
	return bytes.Compare(b.From, c.From) <= 0 &&
		(b.To == nil || c.To != nil && bytes.Compare(c.To, b.To) <= 0)
}

// walk is a cursor over a range of a frozen tree. It keeps one item in hand, so
// that two walks can be merged.
type walk[V any] struct {
	cursor cursor[V]
	end    []byte // where the walk stops, on the far side; nil for no end
	item   *item[V]
}

func newWalk[V any](t *tree[V], b Bounds) (w walk[V]) {
	if b.Reverse {
		w.cursor.descend(t, b.To)
		w.end = b.From
	} else {
		w.cursor.ascend(t, b.From)
		w.end = b.To
	}
	w.advance()
	return w
}

// advance takes the next item in hand; nil at the end of the range.
func (w *walk[V]) advance() {
	w.item = w.cursor.next()
	if w.item == nil || w.end == nil {
		return
	}
	c := bytes.Compare(w.item.key, w.end)
	if w.cursor.step > 0 && c >= 0 || w.cursor.step < 0 && c < 0 {
		w.item = nil
	}
}
