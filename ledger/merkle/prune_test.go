package merkle

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestPruned grows, prunes and cuts a tree beside one that keeps everything, with the
// pruned part written away in order, and compares every answer.
func TestPruned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, pruned := New(), New()
		const level = 4
		stored := map[uint64]Hash{} // by InOrder
		store := func(k int, index uint64) {
			h, ok := pruned.Held(k, index)
			if !ok {
				t.Fatalf("the tree does not hold subtree %d of level %d", index, k)
			}
			stored[InOrder(k, index)] = h
		}
		var leaves []Hash
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for range rapid.IntRange(1, 1500).Draw(t, "leaves") {
				h := leafN(len(leaves))
				whole.Append(h)
				pruned.Append(h)
				leaves = append(leaves, h)
			}
			for pruned.Size() > pruned.First()+2<<level && rapid.Bool().Draw(t, "prune") {
				first := pruned.First()
				flat := pruned.AppendSubtree(nil, level, first>>level)
				for p := range uint64(2)<<level - 1 {
					stored[2*first+p] = Hash(flat[32*p:])
				}
				first += 1 << level
				for k := level + 1; first>>k<<k == first; k++ {
					store(k, first>>k-1)
				}
				pruned.Prune(first)
			}
		}
		size := uint64(len(leaves))
		node := func(k int, index uint64) (Hash, error) {
			if h, ok := pruned.Held(k, index); ok {
				return h, nil
			}
			h, ok := stored[InOrder(k, index)]
			if !ok {
				return h, fmt.Errorf("no subtree %d of level %d", index, k)
			}
			return h, nil
		}
		if pruned.Root() != whole.Root() {
			t.Fatal("another root")
		}
		i := rapid.Uint64Range(0, size-1).Draw(t, "leaf")
		n := rapid.Uint64Range(i+1, size).Draw(t, "size")
		path, err := PathOver(i, n, node)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(whole.Path(i, n), path); d != "" {
			t.Fatalf("path of %d in %d differs:\n%s", i, n, d)
		}
		if i < pruned.First() {
			k, index, root := pruned.Cover(i)
			if i>>k != index || (index+1)<<k > pruned.First() || whole.levels[k].at(index) != root {
				t.Fatalf("leaf %d before %d is covered by subtree %d of level %d", i, pruned.First(), index, k)
			}
		}
	})
}

// TestPathOverFails hands on what the nodes' reader says.
func TestPathOverFails(t *testing.T) {
	broken := errors.New("broken")
	for n := uint64(2); n < 40; n++ {
		if _, err := PathOver(0, n, func(int, uint64) (Hash, error) { return Hash{}, broken }); !errors.Is(err, broken) {
			t.Errorf("%d leaves: %v", n, err)
		}
	}
}
