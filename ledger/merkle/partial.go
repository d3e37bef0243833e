package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// ErrMalformed marks bytes that are not a tree table.
var ErrMalformed = errors.New("malformed tree table")

const partialHeaderSize = 16

// Partial is a tree of which only the leaves from Flushed on are known, and the
// roots of the perfect subtrees before them.
type Partial struct {
	Flushed uint64
	Leaves  []Hash // at least one
	Edge    []Hash // one per set bit of Flushed, from the lowest bit up
}

// AppendTo appends the tree table of t that begins at leaf flushed, First <=
// flushed < Size, to dst.
func (t *Tree) AppendTo(dst []byte, flushed uint64) []byte {
	if flushed < t.first || flushed >= t.size {
		panic(fmt.Sprintf("merkle: tree table from %d of %d…%d leaves", flushed, t.first, t.size))
	}
	n := t.size - flushed
	dst = binary.BigEndian.AppendUint64(dst, n)
	dst = binary.BigEndian.AppendUint64(dst, flushed)
	for i := flushed; i < t.size; i++ {
		h := t.levels[0].at(i)
		dst = append(dst, h[:]...)
	}
	for k := range bits.Len64(flushed) {
		if flushed>>k&1 == 1 {
			h := t.levels[k].at(flushed>>k - 1)
			dst = append(dst, h[:]...)
		}
	}
	return dst
}

// AppendTo appends the tree table of p to dst.
func (p *Partial) AppendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(p.Leaves)))
	dst = binary.BigEndian.AppendUint64(dst, p.Flushed)
	for _, h := range p.Leaves {
		dst = append(dst, h[:]...)
	}
	for _, h := range p.Edge {
		dst = append(dst, h[:]...)
	}
	return dst
}

// Parse reads a tree table. The error is ErrMalformed.
func Parse(b []byte) (*Partial, error) {
	if len(b) < partialHeaderSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	n, flushed := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	rest := b[partialHeaderSize:]
	have, extra := uint64(len(rest))/32, uint64(bits.OnesCount64(flushed))
	if len(rest)%32 != 0 || n == 0 || n > have || n+extra != have || flushed+n < flushed {
		return nil, fmt.Errorf("%w: %d leaves from %d on in %d bytes", ErrMalformed, n, flushed, len(b))
	}
	return &Partial{Flushed: flushed, Leaves: hashes(rest[:32*n]), Edge: hashes(rest[32*n:])}, nil
}

func hashes(b []byte) []Hash {
	out := make([]Hash, len(b)/32)
	for i := range out {
		out[i] = Hash(b[32*i:])
	}
	return out
}

// Size returns the number of leaves of the whole tree.
func (p *Partial) Size() uint64 { return p.Flushed + uint64(len(p.Leaves)) }

// Restore returns the tree of which p is a part; its First is p.Flushed. The error
// is ErrMalformed when p has no leaf, or not as many subtrees as Flushed has bits.
func Restore(p *Partial) (*Tree, error) {
	if len(p.Leaves) == 0 || len(p.Edge) != bits.OnesCount64(p.Flushed) {
		return nil, fmt.Errorf("%w: %d leaves and %d subtrees from %d on", ErrMalformed, len(p.Leaves), len(p.Edge), p.Flushed)
	}
	t := &Tree{size: p.Flushed, first: p.Flushed}
	edge := p.Edge
	for k := range bits.Len64(p.Flushed) {
		l := level{base: p.Flushed >> k}
		if p.Flushed>>k&1 == 1 {
			l.base--
			l.push(edge[0])
			edge = edge[1:]
		}
		t.levels = append(t.levels, l)
	}
	for _, h := range p.Leaves {
		t.Append(h)
	}
	return t, nil
}
