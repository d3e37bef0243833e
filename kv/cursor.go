package kv

// maxHeight bounds the height of a tree. Every inner node but the root has at
// least 8 subtrees, so a higher tree would hold more than 2^40 items.
const maxHeight = 15

// cursor walks over a frozen tree in either direction. It stands before an item
// or before a whole subtree; standing before a subtree, the walker may go into
// it (descend) or past it (skip).
type cursor[V any] struct {
	frames [maxHeight]frame[V]
	depth  int // frames in use; 0 at the end
	step   int // +1 or -1
}

// frame is one node on the path. Its places count subtrees and items in key
// order: place 2i is subtree i, place 2i+1 is item i. Leaves have the even
// places too, with nothing in them.
type frame[V any] struct {
	node  *node[V]
	place int
}

// ascend puts a new cursor before the first key of t that is not below from,
// walking up. A nil from is the start of the tree.
func (c *cursor[V]) ascend(t *tree[V], from []byte) {
	c.step = 1
	if from == nil {
		if t.root != nil {
			c.push(t.root, 0)
		}
		return
	}
	for n := t.root; n != nil; {
		i, found := n.search(from)
		c.push(n, 2*i+1)
		if found || n.kids == nil {
			break
		}
		n = n.kids[i]
	}
}

// descend puts a new cursor before the last key of t below to, walking down. A
// nil to is the end of the tree.
func (c *cursor[V]) descend(t *tree[V], to []byte) {
	c.step = -1
	if to == nil {
		if t.root != nil {
			c.push(t.root, 2*t.root.n)
		}
		return
	}
	for n := t.root; n != nil; {
		i, found := n.search(to)
		if found {
			c.push(n, 2*i)
			break
		}
		c.push(n, 2*i-1)
		if n.kids == nil {
			break
		}
		n = n.kids[i]
	}
}

func (c *cursor[V]) push(n *node[V], place int) {
	c.frames[c.depth] = frame[V]{n, place}
	c.depth++
}

// settle moves over finished nodes and empty places, so that the cursor stands
// before an item or a subtree, or at the end.
func (c *cursor[V]) settle() {
	for c.depth > 0 {
		f := &c.frames[c.depth-1]
		switch {
		case f.place < 0 || f.place > 2*f.node.n:
			c.depth--
		case f.place%2 == 0 && f.node.kids == nil:
			f.place += c.step
		default:
			return
		}
	}
}

// subtree returns what the settled cursor stands before if it is a subtree,
// else nil.
func (c *cursor[V]) subtree() *node[V] {
	if c.depth == 0 {
		return nil
	}
	if f := &c.frames[c.depth-1]; f.place%2 == 0 {
		return f.node.kids[f.place/2]
	}
	return nil
}

// item returns what the settled cursor stands before if it is an item, else
// nil.
func (c *cursor[V]) item() *item[V] {
	if c.depth == 0 {
		return nil
	}
	if f := &c.frames[c.depth-1]; f.place%2 != 0 {
		return f.node.items[f.place/2]
	}
	return nil
}

// skip moves past what the settled cursor stands before.
func (c *cursor[V]) skip() {
	if c.depth > 0 {
		c.frames[c.depth-1].place += c.step
	}
}

// enter moves the settled cursor into the subtree that it stands before.
func (c *cursor[V]) enter() {
	n := c.subtree()
	c.skip()
	if c.step > 0 {
		c.push(n, 0)
	} else {
		c.push(n, 2*n.n)
	}
}

// next returns the next item of the walk and moves past it, or nil at the end.
func (c *cursor[V]) next() *item[V] {
	for {
		c.settle()
		if c.depth == 0 {
			return nil
		}
		if it := c.item(); it != nil {
			c.skip()
			return it
		}
		c.enter()
	}
}
