package merkle

import (
	"fmt"
	"math/bits"
	"slices"
)

// Frontier is a tree that only grows and only knows its root: O(log n) memory. The
// zero Frontier is empty. Not safe for concurrent use.
type Frontier struct {
	size uint64
	edge []Hash // the perfect subtrees of the set bits of size, large ones first
}

// Size returns the number of leaves.
func (f *Frontier) Size() uint64 { return f.size }

// Append adds a leaf.
func (f *Frontier) Append(leaf Hash) { f.add(subtree{root: leaf}) }

// add adds the leaves of a perfect subtree, of which size is a multiple.
func (f *Frontier) add(t subtree) {
	// As many subtrees join as size ends in one bits.
	for range bits.TrailingZeros64(^(f.size >> t.level)) {
		last := len(f.edge) - 1
		t.root = join(f.edge[last], t.root)
		f.edge = f.edge[:last]
	}
	f.edge = append(f.edge, t.root)
	f.size += 1 << t.level
}

// Root returns the root over all leaves, of which there must be one.
func (f *Frontier) Root() Hash {
	last := len(f.edge) - 1
	acc := f.edge[last]
	for i := last - 1; i >= 0; i-- {
		acc = join(f.edge[i], acc)
	}
	return acc
}

// Root returns the root of the whole tree that p is a part of. The error is
// ErrMalformed, as Restore's.
func (p *Partial) Root() (Hash, error) {
	t, err := Restore(p)
	if err != nil {
		return Hash{}, err
	}
	return t.Root(), nil
}

// Edge returns the perfect subtrees that the frontier consists of, large ones first:
// one for each set bit of Size.
func (f *Frontier) Edge() []Hash { return slices.Clone(f.edge) }

// NewFrontier returns the frontier of size leaves with the given subtrees, as Edge gave
// them. The error is ErrMalformed when there are not as many as size has bits.
func NewFrontier(size uint64, edge []Hash) (Frontier, error) {
	if len(edge) != bits.OnesCount64(size) {
		return Frontier{}, fmt.Errorf("%w: %d subtrees for %d leaves", ErrMalformed, len(edge), size)
	}
	return Frontier{size: size, edge: slices.Clone(edge)}, nil
}

// EdgeAt returns the perfect subtrees that the first n leaves consist of, large ones first,
// First <= n <= Size.
func (t *Tree) EdgeAt(n uint64) []Hash {
	if n < t.first || n > t.size {
		panic(fmt.Sprintf("merkle: edge at %d of %d…%d leaves", n, t.first, t.size))
	}
	var edge []Hash
	for k := bits.Len64(n) - 1; k >= 0; k-- {
		if n>>k&1 == 1 {
			edge = append(edge, t.levels[k].at(n>>k-1))
		}
	}
	return edge
}

// FromEdge returns the partial tree of size leaves with the given subtrees before them, as
// EdgeAt gives them, and one leaf more.
func FromEdge(size uint64, edge []Hash, leaf Hash) *Partial {
	edge = slices.Clone(edge)
	slices.Reverse(edge)
	return &Partial{Flushed: size, Leaves: []Hash{leaf}, Edge: edge}
}
