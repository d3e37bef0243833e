package merkle

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
)

// Hash is a node of the tree: a SHA-256 digest.
type Hash = [sha256.Size]byte

// Step is one sibling on the way from a leaf to the root.
type Step struct {
	Left bool // the sibling stands on the left
	Hash Hash
}

// Climb returns the root that a leaf and its path lead to.
func Climb(leaf Hash, path []Step) Hash {
	for _, s := range path {
		if s.Left {
			leaf = join(s.Hash, leaf)
		} else {
			leaf = join(leaf, s.Hash)
		}
	}
	return leaf
}

func join(left, right Hash) Hash {
	var b [2 * sha256.Size]byte
	copy(b[:sha256.Size], left[:])
	copy(b[sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// Tree is an append-only tree that can be cut back. The zero Tree is empty. A
// position out of range is a programming error, and panics as a slice does.
// Not safe for concurrent use.
type Tree struct {
	size  uint64
	first uint64
	// levels[k] holds the roots of the perfect subtrees of 2^k leaves, by index.
	levels []level
}

// New returns an empty tree. In a ledger's tree the caller appends leaf 0 first.
func New() *Tree { return &Tree{} }

// Size returns the number of leaves, those before First included.
func (t *Tree) Size() uint64 { return t.size }

// First returns the index of the first leaf that is known: 0, or where the Partial
// began that the tree was restored from.
func (t *Tree) First() uint64 { return t.first }

// Append adds a leaf.
func (t *Tree) Append(leaf Hash) {
	index := t.size
	t.size++
	for k := 0; ; k++ {
		if k == len(t.levels) {
			t.levels = append(t.levels, level{})
		}
		t.levels[k].push(leaf)
		if index&1 == 0 {
			return
		}
		leaf = join(t.levels[k].at(index-1), leaf)
		index >>= 1
	}
}

// Leaf returns leaf i.
func (t *Tree) Leaf(i uint64) Hash {
	if i < t.first || i >= t.size {
		panic(fmt.Sprintf("merkle: leaf %d of %d…%d", i, t.first, t.size))
	}
	return t.levels[0].at(i)
}

// Root returns the root over all leaves.
func (t *Tree) Root() Hash { return t.RootAt(t.size) }

// RootAt returns the root over the first n leaves, First < n <= Size.
func (t *Tree) RootAt(n uint64) Hash {
	if n <= t.first || n > t.size {
		panic(fmt.Sprintf("merkle: root over %d of %d…%d leaves", n, t.first, t.size))
	}
	return t.edge(n, bits.Len64(n))
}

// edge returns the root over the last n mod 2^k of the first n leaves: the perfect
// subtrees of the set bits of n below k, the small ones on the right.
func (t *Tree) edge(n uint64, k int) Hash {
	var acc Hash
	empty := true
	for i := range k {
		if n>>i&1 == 0 {
			continue
		}
		h := t.levels[i].at(n>>i - 1)
		if !empty {
			h = join(h, acc)
		}
		acc, empty = h, false
	}
	return acc
}

// Path returns the siblings of leaf i in the tree over the first n leaves, from
// the leaf up. First <= i < n <= Size.
func (t *Tree) Path(i, n uint64) []Step {
	if i < t.first || i >= n || n > t.size {
		panic(fmt.Sprintf("merkle: path of leaf %d in %d of %d…%d leaves", i, n, t.first, t.size))
	}
	path := make([]Step, 0, bits.Len64(n))
	for k := 0; n > 1<<k; k++ {
		switch sibling := i>>k ^ 1; {
		case (sibling+1)<<k <= n:
			path = append(path, Step{Left: sibling < i>>k, Hash: t.levels[k].at(sibling)})
		case sibling<<k < n: // the ragged right edge
			path = append(path, Step{Hash: t.edge(n, k)})
		}
	}
	return path
}

// Truncate cuts the tree back to its first n leaves, First <= n <= Size.
func (t *Tree) Truncate(n uint64) {
	if n < t.first || n > t.size {
		panic(fmt.Sprintf("merkle: cutting %d…%d leaves to %d", t.first, t.size, n))
	}
	t.size = n
	for k := range t.levels {
		t.levels[k].cut(n >> k)
	}
}
