package kv

import "bytes"

// sameBetween reports whether two frozen trees, one of which came from the
// other by writes, have the identical items with keys in [from, to); nil is an
// open end. An item that was replaced by one with an equal value counts as
// different.
//
// Two cursors walk side by side and always stand at the same point of the key
// order. Where both stand before one shared subtree they pass over it, so the
// cost is in the number of nodes that the writes copied, and not in the size of
// the range.
func sameBetween[V any](a, b *tree[V], from, to []byte) bool {
	if a.root == b.root {
		return true
	}
	var ca, cb cursor[V]
	ca.ascend(a, from)
	cb.ascend(b, from)
	for {
		ca.settle()
		cb.settle()
		na, nb := ca.subtree(), cb.subtree()
		switch {
		case na != nil && na == nb:
			ca.skip()
			cb.skip()
		case na != nil || nb != nil:
			// Enter the taller of the two; both if they are of one height.
			ha, hb := a.heightBelow(&ca, na), b.heightBelow(&cb, nb)
			if ha >= hb {
				ca.enter()
			}
			if hb >= ha {
				cb.enter()
			}
		default:
			ia, ib := within(ca.item(), to), within(cb.item(), to)
			if ia != ib {
				return false
			}
			if ia == nil {
				return true
			}
			ca.skip()
			cb.skip()
		}
	}
}

// heightBelow returns the height of the subtree before which a cursor stands, 0
// if it stands before none.
func (t *tree[V]) heightBelow(c *cursor[V], sub *node[V]) int {
	if sub == nil {
		return 0
	}
	return t.height - c.depth
}

// within returns the item unless its key has reached the end of the range.
func within[V any](it *item[V], to []byte) *item[V] {
	if it == nil || to != nil && bytes.Compare(it.key, to) >= 0 {
		return nil
	}
	return it
}
