package cose

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestEncode has one line per type and per length of a head.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
	}{
		{0, "00"},
		{23, "17"},
		{24, "1818"},
		{int64(255), "18ff"},
		{256, "190100"},
		{65536, "1a00010000"},
		{int64(math.MaxInt64), "1b7fffffffffffffff"},
		{uint64(7), "07"},
		{-1, "20"},
		{ES384, "3822"},
		{int64(math.MinInt64), "3b7fffffffffffffff"},
		{"ab", "626162"},
		{[]byte{1}, "4101"},
		{true, "f5"},
		{false, "f4"},
		{nil, "f6"},
		{Simple(23), "f7"},
		{Simple(255), "f8ff"},
		{Array{1, Array{}}, "820180"},
		{Map{{2, "b"}, {1, "a"}}, "a2026162016161"},
		{Tag{18, Array{}}, "d280"},
		{Raw{0x01}, "01"},
	} {
		got, err := Encode(c.in)
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%v: %x, %v, want %s", c.in, got, err, c.want)
		}
	}
	for _, in := range []any{1.5, uint64(math.MaxUint64), struct{}{}, Array{int32(1)}, Map{{struct{}{}, 1}}, Map{{1, 2.0}}} {
		if _, err := Encode(in); err == nil {
			t.Errorf("%T was encoded", in)
		}
	}
}

// value generates decoded values; depth bounds the nesting.
func value(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Map(rapid.Int64(), func(v int64) any { return v }),
		rapid.Map(rapid.String(), func(v string) any { return v }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return v }),
		rapid.SampledFrom([]any{true, false, nil, Simple(23), Simple(200)}),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	inner := value(depth - 1)
	return rapid.OneOf(append(leaves,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(v []any) any { return Array(v) }),
		rapid.Map(inner, func(v any) any { return Tag{Number: 42, Content: v} }),
		rapid.Map(rapid.MapOfN(rapid.Int64(), inner, 0, 4), func(v map[int64]any) any {
			m := Map{}
			for k, x := range v {
				m = append(m, Pair{k, x})
			}
			return m
		}),
	)...)
}

// TestDecodeInvertsEncode, and another implementation agrees that it is CBOR.
func TestDecodeInvertsEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := value(4).Draw(t, "value")
		b, err := Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Errorf("(-in +out):\n%s", diff)
		}
		if err := cbor.Wellformed(b); err != nil {
			t.Errorf("not well-formed elsewhere: %v", err)
		}
	})
}

func TestMapGet(t *testing.T) {
	m := Map{{int64(1), "one"}, {"1", "text"}, {[]byte("1"), "bytes"}, {2, "int"}}
	for _, c := range []struct {
		key  any
		want any
	}{{1, "one"}, {int64(1), "one"}, {"1", "text"}, {2, "int"}, {3, nil}, {[]byte("1"), nil}, {nil, nil}} {
		got, ok := m.Get(c.key)
		if got != c.want || ok != (c.want != nil) {
			t.Errorf("Get(%v) = %v, %t", c.key, got, ok)
		}
	}
}
