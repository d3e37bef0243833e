package kv

import "bytes"

const (
	// maxItems is the number of items in a full node. It is odd, so that a node
	// splits into two of the same size, and 15 make the two arrays of a node
	// fit the allocator's size classes. Among 15, 23, 31 and 47 it made the
	// cheapest commits at a million keys, and lookups of the same cost.
	maxItems = 15
	minItems = maxItems / 2
)

// tree is a persistent B-tree from byte strings to V, in bytewise key order. It
// is used for the keys of a table, for the tables of a state and for the
// pending writes of a transaction.
//
// A tree value is a handle: copying it by freeze is O(1), and from then on the
// two share nodes. put and remove copy the nodes on the path to the root unless
// this handle's own edit made them, so that a run of writes through one handle
// copies each node once and no other handle ever sees a change. A frozen handle
// may be read by any number of goroutines.
type tree[V any] struct {
	root   *node[V]
	height int // levels of nodes; 0 for the empty tree
	count  int // items
	edit   *edit
}

// edit is the identity of one run of in-place changes. It has a size so that no
// two of them share an address.
type edit struct{ _ byte }

// item is one key and its value. Items are immutable once they are in a tree:
// replacing a value replaces the item, so that the identity of an item tells
// whether a key was written in between.
type item[V any] struct {
	key []byte
	val V
}

// node holds n items and, unless it is a leaf, the n+1 subtrees around them.
// All nodes but the root have at least minItems items.
type node[V any] struct {
	edit  *edit // the edit that may change this node in place
	n     int
	items [maxItems]*item[V]
	kids  *[maxItems + 1]*node[V] // nil in a leaf
}

// freeze returns a handle on the present contents of t. Later changes through
// t leave it as it is.
func (t *tree[V]) freeze() tree[V] {
	t.edit = nil
	return *t
}

// get returns the item of the key, or nil.
func (t *tree[V]) get(key []byte) *item[V] {
	for n := t.root; n != nil; {
		i, found := n.search(key)
		if found {
			return n.items[i]
		}
		if n.kids == nil {
			return nil
		}
		n = n.kids[i]
	}
	return nil
}

// put adds the item, in place of the one with the same key, which it returns.
func (t *tree[V]) put(it *item[V]) (old *item[V]) {
	t.ownRoot()
	if t.root.n == maxItems {
		top := &node[V]{edit: t.edit, kids: new([maxItems + 1]*node[V])}
		top.kids[0] = t.root
		top.split(0)
		t.root = top
		t.height++
	}
	if old = t.root.put(it); old == nil {
		t.count++
	}
	return old
}

// remove takes out the item of the key and returns it, or nil, in which case
// nothing was copied.
func (t *tree[V]) remove(key []byte) (old *item[V]) {
	if old = t.get(key); old == nil {
		return nil
	}
	t.ownRoot()
	t.root.remove(key)
	t.count--
	if t.root.n == 0 {
		t.height--
		if t.root.kids == nil {
			t.root = nil
		} else {
			t.root = t.root.kids[0]
		}
	}
	return old
}

// ownRoot begins an edit if there is none, and makes the root part of it.
func (t *tree[V]) ownRoot() {
	if t.edit == nil {
		t.edit = new(edit)
	}
	if t.root == nil {
		t.root = &node[V]{edit: t.edit}
		t.height = 1
		return
	}
	t.root = t.root.owned(t.edit)
}

// owned returns n, or its copy, as a node that e may change in place.
func (n *node[V]) owned(e *edit) *node[V] {
	if n.edit == e {
		return n
	}
	c := new(node[V])
	*c = *n
	c.edit = e
	if n.kids != nil {
		kids := *n.kids
		c.kids = &kids
	}
	return c
}

// ownKid makes subtree i part of the edit of n.
func (n *node[V]) ownKid(i int) *node[V] {
	kid := n.kids[i].owned(n.edit)
	n.kids[i] = kid
	return kid
}

// search returns the index of the first item whose key is not below the given
// one, and whether it is equal. That is also the index of the subtree to
// descend into if it is not.
func (n *node[V]) search(key []byte) (i int, found bool) {
	lo, hi := 0, n.n
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := bytes.Compare(n.items[mid].key, key); {
		case c < 0:
			lo = mid + 1
		case c > 0:
			hi = mid
		default:
			return mid, true
		}
	}
	return lo, false
}

// put adds the item below n, which is owned and not full. Full nodes are split
// on the way down, so that the way back up is never needed.
func (n *node[V]) put(it *item[V]) (old *item[V]) {
	for {
		i, found := n.search(it.key)
		if !found && n.kids == nil {
			n.insertItem(i, it)
			return nil
		}
		if !found && n.kids[i].n == maxItems {
			n.split(i)
			c := bytes.Compare(it.key, n.items[i].key)
			found = c == 0
			if c > 0 {
				i++
			}
		}
		if found {
			old, n.items[i] = n.items[i], it
			return old
		}
		n = n.ownKid(i)
	}
}

// insertItem makes room for the item at index i of the node, which is not full.
func (n *node[V]) insertItem(i int, it *item[V]) {
	copy(n.items[i+1:n.n+1], n.items[i:n.n])
	n.items[i] = it
	n.n++
}

// split moves the upper half of the full subtree i into a new one at i+1 and
// its middle item into n, which is owned and not full.
func (n *node[V]) split(i int) {
	left := n.ownKid(i)
	right := &node[V]{edit: n.edit}
	middle := left.items[minItems]
	right.n = copy(right.items[:], left.items[minItems+1:left.n])
	if left.kids != nil {
		right.kids = new([maxItems + 1]*node[V])
		copy(right.kids[:], left.kids[minItems+1:left.n+1])
		clear(left.kids[minItems+1:])
	}
	clear(left.items[minItems:])
	left.n = minItems

	copy(n.kids[i+2:n.n+2], n.kids[i+1:n.n+1])
	n.kids[i+1] = right
	n.insertItem(i, middle)
}
