package merkle

import (
	"fmt"
	"math/bits"
)

// NodeFunc gives the root of the perfect subtree of 2^level leaves with the given index,
// one that a tree no longer holds.
type NodeFunc func(level int, index uint64) (Hash, error)

// Prune forgets what lies before leaf first, First <= first < Size, but for the roots of
// the subtrees that the tree goes on from.
func (t *Tree) Prune(first uint64) {
	if first < t.first || first >= t.size {
		panic(fmt.Sprintf("merkle: pruning %d…%d leaves to %d", t.first, t.size, first))
	}
	t.first = first
	for k := range t.levels {
		base := first >> k
		if base&1 == 1 { // the left half of a subtree that is not complete yet, or an edge
			base--
		}
		t.levels[k].drop(base)
	}
}

// drop forgets the hashes before index base, as far as whole blocks go.
func (l *level) drop(base uint64) {
	if base <= l.base {
		return
	}
	n := min((base-l.base)/blockSize, uint64(len(l.blocks)))
	if n == 0 {
		return
	}
	// The array is replaced: what its head pointed to must go.
	l.blocks = append([][]Hash(nil), l.blocks[n:]...)
	l.base += n * blockSize
	l.n -= n * blockSize
}

// Held says whether the tree holds the root of a perfect subtree itself.
func (t *Tree) Held(level int, index uint64) (Hash, bool) {
	if level >= len(t.levels) || index < t.levels[level].base || index >= t.levels[level].base+t.levels[level].n {
		return Hash{}, false
	}
	return t.levels[level].at(index), true
}

// Cover returns the largest perfect subtree that holds leaf i and ends before First; the
// tree holds its root. Leaf i lies before First.
func (t *Tree) Cover(i uint64) (level int, index uint64, root Hash) {
	// The subtrees before First are those of its set bits, the large ones first.
	from := uint64(0)
	for k := bits.Len64(t.first) - 1; k >= 0; k-- {
		if t.first>>k&1 == 0 {
			continue
		}
		if i < from+1<<k {
			return k, from >> k, t.levels[k].at(from >> k)
		}
		from += 1 << k
	}
	panic(fmt.Sprintf("merkle: leaf %d does not lie before %d", i, t.first))
}

// PathOver is Path for any leaf i < n, over the nodes that node gives.
func PathOver(i, n uint64, node NodeFunc) ([]Step, error) {
	path := make([]Step, 0, bits.Len64(n))
	for k := 0; n > 1<<k; k++ {
		var s Step
		var err error
		switch sibling := i>>k ^ 1; {
		case (sibling+1)<<k <= n:
			s.Left = sibling < i>>k
			s.Hash, err = node(k, sibling)
		case sibling<<k < n: // the ragged right edge
			s.Hash, err = edgeOver(n, k, node)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		path = append(path, s)
	}
	return path, nil
}

// edgeOver is edge over the nodes that node gives.
func edgeOver(n uint64, k int, node NodeFunc) (acc Hash, err error) {
	empty := true
	for i := range k {
		if n>>i&1 == 0 {
			continue
		}
		h, err := node(i, n>>i-1)
		if err != nil {
			return acc, err
		}
		if !empty {
			h = join(h, acc)
		}
		acc, empty = h, false
	}
	return acc, nil
}

// AppendSubtree appends the hashes of the perfect subtree of 2^level leaves with the
// given index, which the tree holds, in the order of InOrder: 2^(level+1)-1 of them.
func (t *Tree) AppendSubtree(dst []byte, level int, index uint64) []byte {
	from := index << level
	for p := range uint64(2)<<level - 1 {
		k := bits.TrailingZeros64(p + 1)
		h := t.levels[k].at((from >> k) + p>>(k+1))
		dst = append(dst, h[:]...)
	}
	return dst
}

// InOrder numbers the roots of all perfect subtrees from the left to the right, each
// between its two halves: leaf i is 2i, and a subtree's number never changes while the
// tree grows.
func InOrder(level int, index uint64) uint64 { return (2*index+1)<<level - 1 }
