package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// check verifies the shape of a tree: ascending keys, equal depth of all
// leaves, nodes between half full and full, no stale pointers behind the items
// in use, and the right count and height.
func (t *tree[V]) check() error {
	if t.root == nil {
		if t.height != 0 || t.count != 0 {
			return fmt.Errorf("empty tree has height %d and count %d", t.height, t.count)
		}
		return nil
	}
	var prev []byte
	count := 0
	var visit func(n *node[V], height int) error
	visit = func(n *node[V], height int) error {
		switch {
		case n.n > maxItems || n.n == 0 || n != t.root && n.n < minItems:
			return fmt.Errorf("node with %d items", n.n)
		case (n.kids == nil) != (height == 1):
			return fmt.Errorf("node at height %d: leaf is %t", height, n.kids == nil)
		}
		for i := range n.n + 1 {
			if n.kids != nil {
				if err := visit(n.kids[i], height-1); err != nil {
					return err
				}
			}
			if i == n.n {
				break
			}
			if prev != nil && bytes.Compare(prev, n.items[i].key) >= 0 {
				return fmt.Errorf("key %x after %x", n.items[i].key, prev)
			}
			prev = n.items[i].key
			count++
		}
		for i := n.n; i < maxItems; i++ {
			if n.items[i] != nil || n.kids != nil && n.kids[i+1] != nil {
				return fmt.Errorf("node with %d items keeps something at %d", n.n, i)
			}
		}
		return nil
	}
	if err := visit(t.root, t.height); err != nil {
		return err
	}
	if count != t.count {
		return fmt.Errorf("count is %d, there are %d items", t.count, count)
	}
	return nil
}

// dumb is the second implementation: a map, and sorting where order is asked
// for.
type dumb map[string]*item[int]

func (d dumb) clone() dumb {
	c := make(dumb, len(d))
	for k, v := range d {
		c[k] = v
	}
	return c
}

func (d dumb) within(b Bounds) []*item[int] {
	var out []*item[int]
	for k, it := range d {
		if k >= string(b.From) && (b.To == nil || k < string(b.To)) {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b *item[int]) int { return bytes.Compare(a.key, b.key) })
	if b.Reverse {
		slices.Reverse(out)
	}
	return out
}

// compare verifies a handle against the dumb one, and a range of it.
func (d dumb) compare(t *tree[int], b Bounds) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.count != len(d) {
		return fmt.Errorf("count is %d, want %d", t.count, len(d))
	}
	for _, b := range []Bounds{b, {}, {Reverse: true}} {
		want := d.within(b)
		w := newWalk(t, b)
		for i, it := range want {
			if w.item != it {
				return fmt.Errorf("walk over %v: item %d is %v, want %v", b, i, w.item, it)
			}
			if got := t.get(it.key); got != it {
				return fmt.Errorf("get(%x) = %v, want %v", it.key, got, it)
			}
			w.advance()
		}
		if w.item != nil {
			return fmt.Errorf("walk over %v goes on after %d items with %v", b, len(want), w.item)
		}
	}
	return nil
}

// treeKey spreads small numbers over keys of several lengths, so that prefixes
// of each other occur among them.
func treeKey(n int) []byte {
	if n%7 == 0 {
		return binary.BigEndian.AppendUint16(nil, uint16(n))
	}
	return binary.BigEndian.AppendUint32(nil, uint32(n)<<16|uint32(n%3))
}

// TestTree writes at random through one handle, freezes it now and then, and
// compares every handle ever frozen with the contents that it had: a write
// never shows anywhere but in the handle that it went through. Any two handles
// of the history are compared range by range, which is what the check for
// phantoms rests on.
func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			tree tree[int]
			want dumb
		}
		keys := rapid.SampledFrom([]int{3, 40, 400, 4000}).Draw(t, "keys")
		rounds := rapid.IntRange(1, 8).Draw(t, "rounds")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var tr tree[int]
		now := dumb{}
		kept := []version{{tr.freeze(), now.clone()}}
		for range rounds {
			removes := rapid.IntRange(0, 10).Draw(t, "removes in ten")
			for range rapid.IntRange(0, keys).Draw(t, "writes") {
				key := treeKey(rng.IntN(keys))
				if rng.IntN(10) < removes {
					if got, want := tr.remove(key), now[string(key)]; got != want {
						t.Fatalf("remove(%x) = %v, want %v", key, got, want)
					}
					delete(now, string(key))
					continue
				}
				it := &item[int]{key: key, val: rng.Int()}
				if got, want := tr.put(it), now[string(key)]; got != want {
					t.Fatalf("put(%x) = %v, want %v", key, got, want)
				}
				now[string(key)] = it
			}
			kept = append(kept, version{tr.freeze(), now.clone()})
		}
		bounds := func() Bounds {
			b := Bounds{Reverse: rng.IntN(2) == 0}
			if rng.IntN(4) > 0 {
				b.From = treeKey(rng.IntN(keys))
			}
			if rng.IntN(4) > 0 {
				b.To = treeKey(rng.IntN(keys))
			}
			return b
		}
		for i := range kept {
			b := bounds()
			if err := kept[i].want.compare(&kept[i].tree, b); err != nil {
				t.Fatalf("handle %d: %v", i, err)
			}
			for j := range kept {
				b := bounds()
				b.Reverse = false
				got := sameBetween(&kept[i].tree, &kept[j].tree, b.From, b.To)
				want := slices.Equal(kept[i].want.within(b), kept[j].want.within(b))
				if got != want {
					t.Fatalf("sameBetween of handles %d and %d over %v = %t, want %t", i, j, b, got, want)
				}
			}
		}
	})
}

// TestTreeRemoveAll empties a tree of several levels in three orders.
func TestTreeRemoveAll(t *testing.T) {
	const n = 20000
	orders := map[string]func([]int){
		"ascending":  func([]int) {},
		"descending": slices.Reverse[[]int],
		"shuffled": func(s []int) {
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
		},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			numbers := make([]int, n)
			for i := range numbers {
				numbers[i] = i
			}
			var tr tree[int]
			for _, i := range numbers {
				tr.put(&item[int]{key: treeKey(i), val: i})
			}
			full := tr.freeze()
			order(numbers)
			for i, k := range numbers {
				if it := tr.remove(treeKey(k)); it == nil || it.val != k {
					t.Fatalf("remove(%d) = %v", k, it)
				}
				if i%1000 == 0 {
					if err := tr.check(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if tr.root != nil || tr.count != 0 || tr.height != 0 {
				t.Errorf("after removing everything: %+v", tr)
			}
			if err := full.check(); err != nil {
				t.Errorf("the frozen handle: %v", err)
			}
		})
	}
}

// TestDiffEntersNothingShared bounds the cost of the check for phantoms by the
// nodes that the writes copied, however large the range is: every node that two
// handles share is made to blow up when a cursor enters it.
func TestDiffEntersNothingShared(t *testing.T) {
	key := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	var tr tree[int]
	for i := range 50000 {
		tr.put(&item[int]{key: key(2 * i)})
	}
	before := tr.freeze()
	tr.put(&item[int]{key: key(33333)})
	after := tr.freeze()

	old := make(map[*node[int]]bool)
	before.root.visit(func(n *node[int]) { old[n] = true })
	mines := 0
	after.root.visit(func(n *node[int]) {
		if old[n] {
			n.n = maxItems * 2
			mines++
		}
	})
	if want := len(old) - before.height; mines != want {
		t.Fatalf("one put copied %d nodes of a tree of height %d", len(old)-mines, before.height)
	}

	if !sameBetween(&before, &after, nil, key(33333)) {
		t.Error("a difference was seen below the added key")
	}
	if !sameBetween(&before, &after, key(33334), nil) {
		t.Error("a difference was seen above the added key")
	}
	if sameBetween(&before, &after, nil, nil) {
		t.Error("the added key was not seen")
	}
}

func (n *node[V]) visit(f func(*node[V])) {
	if n.kids != nil {
		for _, kid := range n.kids[:n.n+1] {
			kid.visit(f)
		}
	}
	f(n)
}
