package kv

// remove takes the item of the key out of the nodes below n. The key is there,
// n is owned, and n has more than minItems items unless it is the root: each
// step down first makes sure of that for the next node, so that no step needs
// to look back.
func (n *node[V]) remove(key []byte) {
	for {
		i, found := n.search(key)
		if n.kids == nil {
			n.takeItem(i)
			return
		}
		if n.kids[i].n <= minItems {
			n.fill(i)
			continue // items moved: look again
		}
		kid := n.ownKid(i)
		if found {
			n.items[i] = kid.takeLast()
			return
		}
		n = kid
	}
}

// takeLast removes and returns the greatest item below n, under the same
// conditions as remove.
func (n *node[V]) takeLast() *item[V] {
	for n.kids != nil {
		if n.kids[n.n].n <= minItems {
			n.fill(n.n)
			continue
		}
		n = n.ownKid(n.n)
	}
	return n.takeItem(n.n - 1)
}

// takeItem closes the gap that the item at index i leaves.
func (n *node[V]) takeItem(i int) *item[V] {
	it := n.items[i]
	copy(n.items[i:n.n-1], n.items[i+1:n.n])
	n.n--
	n.items[n.n] = nil
	return it
}

// takeKid closes the gap that subtree i leaves, before its item is taken.
func (n *node[V]) takeKid(i int) *node[V] {
	kid := n.kids[i]
	copy(n.kids[i:n.n], n.kids[i+1:n.n+1])
	n.kids[n.n] = nil
	return kid
}

// fill gives subtree i, which is at its minimum, at least one item more: from a
// neighbour that can spare one, or else by joining it with a neighbour.
func (n *node[V]) fill(i int) {
	switch {
	case i > 0 && n.kids[i-1].n > minItems:
		n.shiftRight(i - 1)
	case i < n.n && n.kids[i+1].n > minItems:
		n.shiftLeft(i)
	case i < n.n:
		n.join(i)
	default:
		n.join(i - 1)
	}
}

// shiftRight moves one item from subtree i through n into subtree i+1.
func (n *node[V]) shiftRight(i int) {
	left, right := n.ownKid(i), n.ownKid(i+1)
	if left.kids != nil {
		copy(right.kids[1:right.n+2], right.kids[:right.n+1])
		right.kids[0] = left.takeKid(left.n)
	}
	right.insertItem(0, n.items[i])
	n.items[i] = left.takeItem(left.n - 1)
}

// shiftLeft moves one item from subtree i+1 through n into subtree i.
func (n *node[V]) shiftLeft(i int) {
	left, right := n.ownKid(i), n.ownKid(i+1)
	if left.kids != nil {
		left.kids[left.n+1] = right.takeKid(0)
	}
	left.insertItem(left.n, n.items[i])
	n.items[i] = right.takeItem(0)
}

// join puts subtree i, the item after it and subtree i+1 into one node. Both
// are at their minimum, so they fit.
func (n *node[V]) join(i int) {
	left, right := n.ownKid(i), n.kids[i+1]
	if left.kids != nil {
		copy(left.kids[left.n+1:], right.kids[:right.n+1])
	}
	n.takeKid(i + 1)
	left.insertItem(left.n, n.takeItem(i))
	left.n += copy(left.items[left.n:], right.items[:right.n])
}
