package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// naiveRoot is the definition of the root, word for word.
func naiveRoot(leaves []Hash) Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := split(len(leaves))
	l, r := naiveRoot(leaves[:k]), naiveRoot(leaves[k:])
	return sha256.Sum256(append(l[:], r[:]...))
}

// split returns the largest power of two below n.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func naivePath(i int, leaves []Hash) []Step {
	if len(leaves) == 1 {
		return []Step{}
	}
	k := split(len(leaves))
	if i < k {
		return append(naivePath(i, leaves[:k]), Step{Hash: naiveRoot(leaves[k:])})
	}
	return append(naivePath(i-k, leaves[k:]), Step{Left: true, Hash: naiveRoot(leaves[:k])})
}

// naiveEdge cuts the leaves before flushed into the perfect subtrees of its bits.
func naiveEdge(leaves []Hash) []Hash {
	out := []Hash{}
	for bit := 1; len(leaves) > 0; bit *= 2 {
		if len(leaves)&bit != 0 {
			out = append(out, naiveRoot(leaves[len(leaves)-bit:]))
			leaves = leaves[:len(leaves)-bit]
		}
	}
	return out
}

func leafN(i int) Hash {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return sha256.Sum256(b[:])
}

func grow(t *Tree, leaves []Hash, n int) []Hash {
	for i := range n {
		h := leafN(len(leaves) + i<<32)
		t.Append(h)
		leaves = append(leaves, h)
	}
	return leaves
}

// check compares what tree says with the naive definitions, at some sizes and leaves.
func check(t interface{ Fatalf(string, ...any) }, tree *Tree, leaves []Hash) {
	first, size := int(tree.First()), len(leaves)
	if int(tree.Size()) != size {
		t.Fatalf("size %d, want %d", tree.Size(), size)
	}
	for n := first + 1; n <= size; n += 1 + (size-first)/9 {
		if tree.RootAt(uint64(n)) != naiveRoot(leaves[:n]) {
			t.Fatalf("root over %d of %d leaves differs", n, size)
		}
	}
	for i := first; i < size; i += 1 + (size-first)/7 {
		if tree.Leaf(uint64(i)) != leaves[i] {
			t.Fatalf("leaf %d differs", i)
		}
		for n := i + 1; n <= size; n += 1 + (size-i)/5 {
			path := tree.Path(uint64(i), uint64(n))
			if d := cmp.Diff(naivePath(i, leaves[:n]), path); d != "" {
				t.Fatalf("path of leaf %d of %d: %s", i, n, d)
			}
			if Climb(leaves[i], path) != naiveRoot(leaves[:n]) {
				t.Fatalf("path of leaf %d of %d does not lead to the root", i, n)
			}
		}
		p, err := Parse(tree.AppendTo(nil, uint64(i)))
		if err != nil {
			t.Fatalf("parsing the table from %d: %v", i, err)
		}
		want := &Partial{Flushed: uint64(i), Leaves: leaves[i:], Edge: naiveEdge(leaves[:i])}
		if d := cmp.Diff(want, p); d != "" {
			t.Fatalf("table from %d: %s", i, d)
		}
	}
}

func TestTreeAgainstDefinition(t *testing.T) {
	tree := New()
	var leaves []Hash
	for range 130 {
		leaves = grow(tree, leaves, 1)
		check(t, tree, leaves)
	}
}

// TestTreeAcrossBlocks crosses the borders of the blocks that levels are made of.
func TestTreeAcrossBlocks(t *testing.T) {
	tree := New()
	leaves := grow(tree, nil, 2*blockSize+3)
	for _, n := range []int{len(leaves), 2*blockSize + 1, 2 * blockSize, 2*blockSize - 1, blockSize, blockSize - 1, 1} {
		tree.Truncate(uint64(n))
		if tree.Root() != naiveRoot(leaves[:n]) {
			t.Fatalf("root over %d leaves differs", n)
		}
		tree2 := append([]Hash(nil), leaves[:n]...)
		tree2 = grow(tree, tree2, 5)
		if tree.Root() != naiveRoot(tree2) {
			t.Fatalf("root over %d leaves grown by 5 differs", n)
		}
		tree.Truncate(uint64(n))
	}
}

func TestTreeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := New()
		leaves := grow(tree, nil, 1)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) { leaves = grow(tree, leaves, rapid.IntRange(1, 6).Draw(t, "n")) },
			"truncate": func(t *rapid.T) {
				n := rapid.IntRange(int(tree.First())+1, len(leaves)).Draw(t, "to")
				tree.Truncate(uint64(n))
				leaves = leaves[:n:n]
			},
			"restore": func(t *rapid.T) {
				f := rapid.IntRange(int(tree.First()), len(leaves)-1).Draw(t, "flushed")
				p, err := Parse(tree.AppendTo(nil, uint64(f)))
				if err != nil {
					t.Fatal(err)
				}
				if tree, err = Restore(p); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) { check(t, tree, leaves) },
		})
	})
}

func TestFrontierFollowsTree(t *testing.T) {
	tree, f := New(), new(Frontier)
	for i := range 300 {
		h := leafN(i)
		tree.Append(h)
		f.Append(h)
		if f.Root() != tree.Root() || f.Size() != tree.Size() {
			t.Fatalf("over %d leaves: the frontier has another root", i+1)
		}
		p, err := Parse(tree.AppendTo(nil, uint64(i/2)))
		if err != nil {
			t.Fatal(err)
		}
		if root, err := p.Root(); err != nil || root != tree.Root() {
			t.Fatalf("the table from %d of %d leaves has root %x, %v", i/2, i+1, root, err)
		}
	}
}

func TestOutOfRangePanics(t *testing.T) {
	tree := New()
	grow(tree, nil, 10)
	p, err := Parse(tree.AppendTo(nil, 6))
	if err != nil {
		t.Fatal(err)
	}
	late, err := Restore(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(){
		"root of nothing":         func() { New().Root() },
		"root beyond":             func() { tree.RootAt(11) },
		"root before first":       func() { late.RootAt(6) },
		"leaf beyond":             func() { tree.Leaf(10) },
		"leaf before first":       func() { late.Leaf(5) },
		"path outside":            func() { tree.Path(5, 5) },
		"path beyond":             func() { tree.Path(5, 11) },
		"truncate beyond":         func() { tree.Truncate(11) },
		"truncate before first":   func() { late.Truncate(5) },
		"table beyond":            func() { tree.AppendTo(nil, 10) },
		"table from before first": func() { late.AppendTo(nil, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			f()
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tree := New()
	grow(tree, nil, 10)
	good := tree.AppendTo(nil, 7)
	bad := map[string][]byte{
		"empty":            nil,
		"header only":      good[:16],
		"a byte short":     good[:len(good)-1],
		"a hash short":     good[:len(good)-32],
		"a byte more":      append(append([]byte(nil), good...), 0),
		"no leaf":          make([]byte, 16),
		"count overflows":  append([]byte{0x08, 0, 0, 0, 0, 0, 0, 0}, good[8:]...),
		"index overflows":  append(append(append([]byte(nil), good[:8]...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), good[16:]...),
		"one subtree more": append(append([]byte(nil), good...), make([]byte, 32)...),
	}
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			if p, err := Parse(b); err == nil {
				t.Errorf("accepted as %+v", p)
			}
		})
	}
	for _, p := range []*Partial{{}, {Flushed: 3, Leaves: make([]Hash, 1)}} {
		if _, err := Restore(p); err == nil {
			t.Errorf("restored %+v", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	tree := New()
	grow(tree, nil, 21)
	for _, at := range []uint64{0, 1, 7, 16, 20} {
		f.Add(tree.AppendTo(nil, at))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		if got := p.AppendTo(nil); string(got) != string(b) {
			t.Fatalf("%x parses, and is written as %x", b, got)
		}
		tree, err := Restore(p)
		if err != nil {
			t.Fatalf("parses but is not restored: %v", err)
		}
		if string(tree.AppendTo(nil, p.Flushed)) != string(b) {
			t.Fatal("the restored tree is written otherwise")
		}
		tree.Root()
	})
}

// FuzzTree compares the tree with its definition: each byte appends or cuts.
func FuzzTree(f *testing.F) {
	f.Add([]byte{3, 200, 7, 130, 9})
	f.Fuzz(func(t *testing.T, ops []byte) {
		tree := New()
		leaves := grow(tree, nil, 1)
		for _, op := range ops[:min(len(ops), 20)] {
			if op < 128 {
				leaves = grow(tree, leaves, int(op%32))
			} else {
				n := 1 + int(op-128)%len(leaves)
				tree.Truncate(uint64(n))
				leaves = leaves[:n:n]
			}
			if tree.Root() != naiveRoot(leaves) {
				t.Fatalf("root over %d leaves differs after %v", len(leaves), ops)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	tree := New()
	h := leafN(1)
	for b.Loop() {
		tree.Append(h)
	}
}

func BenchmarkRootAndPath(b *testing.B) {
	tree := New()
	grow(tree, nil, 1_000_003)
	for b.Loop() {
		tree.Root()
		tree.Path(1000, tree.Size())
	}
}
