package merkle

import "fmt"

// Span is consecutive leaves out of the middle of a tree, as the perfect subtrees that they
// make whatever stands before them: what of a tree can be computed before its beginning is
// known. Not safe for concurrent use.
type Span struct {
	first, next uint64
	roots       []subtree // from the left to the right
}

// subtree is the root of a perfect subtree of 2^level leaves.
type subtree struct {
	level int
	root  Hash
}

// NewSpan returns a span without leaves that begins at leaf first.
func NewSpan(first uint64) Span { return Span{first: first, next: first} }

// Append adds a leaf.
func (s *Span) Append(leaf Hash) {
	t := subtree{root: leaf}
	// A right half follows its left one, if the span holds that.
	for n := len(s.roots); n > 0 && s.roots[n-1].level == t.level && s.next>>t.level&1 == 1; n-- {
		t = subtree{t.level + 1, join(s.roots[n-1].root, t.root)}
		s.roots = s.roots[:n-1]
	}
	s.roots = append(s.roots, t)
	s.next++
}

// Join appends the leaves of a span, which must begin where f ends.
func (f *Frontier) Join(s *Span) {
	if s.first != f.size {
		panic(fmt.Sprintf("merkle: joining leaves from %d on to %d", s.first, f.size))
	}
	for _, t := range s.roots {
		f.add(t)
	}
}
