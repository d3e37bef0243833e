package writeset_test

import (
	"bytes"
	"slices"
	"testing"

	"chancery/kv/writeset"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestIsPublic(t *testing.T) {
	for name, want := range map[string]bool{
		"public:":                 true,
		"public:ccf.gov.members":  true,
		"public:records":          true,
		"":                        false,
		"public":                  false,
		"Public:records":          false,
		" public:records":         false,
		"ccf.gov.public:":         false,
		"private:public:":         false,
		"ccf.internal.historical": false,
	} {
		if got := writeset.IsPublic(name); got != want {
			t.Errorf("IsPublic(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ws := drawWriteSet(t)
		public, private := ws.Split()
		for _, half := range []struct {
			got    writeset.WriteSet
			public bool
		}{{public, true}, {private, false}} {
			var want writeset.WriteSet
			for _, m := range ws {
				if writeset.IsPublic(m.Name) == half.public {
					want = append(want, m)
				}
			}
			if diff := cmp.Diff(want, half.got); diff != "" {
				t.Fatalf("Split, public=%t (-want +got):\n%s", half.public, diff)
			}
		}
	})
}

func TestSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ws := drawWriteSet(t)
		want := writeset.EncodedLen(ws)
		ws.Sort()
		if got := writeset.EncodedLen(ws); got != want {
			t.Fatalf("sorting changed the size from %d to %d", want, got)
		}
		if !slices.IsSortedFunc(ws, func(a, b writeset.MapWrites) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) }) {
			t.Fatalf("names are not sorted: %v", ws)
		}
		for _, m := range ws {
			if !slices.IsSortedFunc(m.Writes, func(a, b writeset.Write) int { return bytes.Compare(a.Key, b.Key) }) {
				t.Fatalf("writes are not sorted: %v", m)
			}
			if !slices.IsSortedFunc(m.Removes, bytes.Compare) {
				t.Fatalf("removes are not sorted: %v", m)
			}
		}
	})
}

func TestLookup(t *testing.T) {
	ws := writeset.WriteSet{
		{Name: "a", Removes: [][]byte{[]byte("k")}},
		{Name: "b", Writes: []writeset.Write{{Key: []byte("j"), Value: []byte("1")}, {Key: []byte("k"), Value: []byte{}}}},
	}
	if m := ws.Map("c"); m != nil {
		t.Errorf("Map(c) = %v, want nil", m)
	}
	if v, ok := ws.Map("a").Value([]byte("k")); ok {
		t.Errorf("a removed key has value %q", v)
	}
	if v, ok := ws.Map("b").Value([]byte("k")); !ok || len(v) != 0 {
		t.Errorf("Value(k) = %q, %t; want an empty value", v, ok)
	}
}

// drawWriteSet returns any write set, canonical or not, in the form that
// parsing gives: no nil keys or values, and no slices without elements.
func drawWriteSet(t *rapid.T) writeset.WriteSet {
	key := rapid.SliceOfN(rapid.ByteRange(0, 3), 0, 10)
	write := rapid.Custom(func(t *rapid.T) writeset.Write {
		return writeset.Write{Key: key.Draw(t, "key"), Value: key.Draw(t, "value")}
	})
	one := rapid.Custom(func(t *rapid.T) writeset.MapWrites {
		m := writeset.MapWrites{
			Name:        rapid.SampledFrom([]string{"", "records", "public:records", "public:ccf.gov.members", "ccf.internal.x"}).Draw(t, "name"),
			ReadVersion: rapid.Uint64().Draw(t, "read version"),
			Writes:      rapid.SliceOfN(write, 0, 5).Draw(t, "writes"),
			Removes:     rapid.SliceOfN(key, 0, 5).Draw(t, "removes"),
		}
		if len(m.Writes) == 0 {
			m.Writes = nil
		}
		if len(m.Removes) == 0 {
			m.Removes = nil
		}
		return m
	})
	ws := writeset.WriteSet(rapid.SliceOfN(one, 0, 6).Draw(t, "write set"))
	if len(ws) == 0 {
		return nil
	}
	return ws
}
