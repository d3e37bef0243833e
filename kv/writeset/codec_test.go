package writeset_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"chancery/kv/writeset"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// words returns the concatenation of its arguments: integers as 64-bit
// little-endian, strings as their bytes.
func words(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.LittleEndian.AppendUint64(b, uint64(p))
		case uint64:
			b = binary.LittleEndian.AppendUint64(b, p)
		case string:
			b = append(b, p...)
		}
	}
	return b
}

// TestAppendMapsExample executes the example of the package comment.
func TestAppendMapsExample(t *testing.T) {
	want, err := hex.DecodeString(strings.Join(strings.Fields(`
		0100000000000000 6d
		0000000000000000
		0000000000000000
		0100000000000000 0100000000000000 6b 0100000000000000 76
		0000000000000000`), ""))
	if err != nil {
		t.Fatal(err)
	}
	ws := writeset.WriteSet{{Name: "m", Writes: []writeset.Write{{Key: []byte("k"), Value: []byte("v")}}}}
	got := writeset.AppendMaps(nil, ws)
	if !bytes.Equal(got, want) || len(got) != 59 {
		t.Errorf("AppendMaps = %x, want %x", got, want)
	}
}

func TestMaps(t *testing.T) {
	tests := []struct {
		name  string
		ws    writeset.WriteSet
		bytes []byte
	}{
		{"none", nil, nil},
		{
			// The shape of every signature transaction: one key of eight zero bytes.
			"singleton",
			writeset.WriteSet{{
				Name:   "public:ccf.internal.tree",
				Writes: []writeset.Write{{Key: make([]byte, 8), Value: []byte("tree")}},
			}},
			words(24, "public:ccf.internal.tree", 0, 0, 1, 8, 0, 4, "tree", 0),
		},
		{
			"removes only",
			writeset.WriteSet{{Name: "records", Removes: [][]byte{[]byte("a"), []byte("b")}}},
			words(7, "records", 0, 0, 0, 2, 1, "a", 1, "b"),
		},
		{
			"empty key, value and name",
			writeset.WriteSet{{Name: "", Writes: []writeset.Write{{Key: []byte{}, Value: []byte{}}}, Removes: [][]byte{{}}}},
			words(0, 0, 0, 1, 0, 0, 1, 0),
		},
		{
			"order, repetition and read version as found",
			writeset.WriteSet{
				{Name: "b", ReadVersion: 7},
				{Name: "a", Writes: []writeset.Write{{Key: []byte("2"), Value: []byte("x")}, {Key: []byte("1"), Value: []byte("y")}}},
				{Name: "b", ReadVersion: ^uint64(0)},
			},
			words(1, "b", 7, 0, 0, 0,
				1, "a", 0, 0, 2, 1, "2", 1, "x", 1, "1", 1, "y", 0,
				1, "b", ^uint64(0), 0, 0, 0),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := writeset.AppendMaps([]byte("before"), test.ws); !bytes.Equal(got, append([]byte("before"), test.bytes...)) {
				t.Errorf("AppendMaps = %x, want %x", got[6:], test.bytes)
			}
			if got, want := writeset.EncodedLen(test.ws), len(test.bytes); got != want {
				t.Errorf("EncodedLen = %d, want %d", got, want)
			}
			got, err := writeset.ParseMaps(test.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.ws, got); diff != "" {
				t.Errorf("ParseMaps (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseMapsMalformed names each input by its damage. No count or length may
// lead to an allocation beyond what the input could hold.
func TestParseMapsMalformed(t *testing.T) {
	whole := words(1, "m", 0, 0, 1, 1, "k", 1, "v", 1, 1, "r")
	tests := []struct {
		name  string
		in    []byte
		cause string
	}{
		{"name longer than input", words(2, "m"), "name"},
		{"name length of 2^64-1", words(^uint64(0), "m"), "name"},
		{"no read version", words(1, "m"), "read version"},
		{"no read count", words(1, "m", 0), "read count"},
		{"reads", words(1, "m", 0, 1, 1, "k", 3, 0, 0), "read count: 1 instead of 0"},
		{"no write count", words(1, "m", 0, 0), "write count"},
		{"more writes than bytes", words(1, "m", 0, 0, 2, 10, "0123456789", 1, "v", 0), "value of write 1"},
		{"2^63 writes", words(1, "m", 0, 0, uint64(1)<<63, 0, 0), "write count"},
		{"2^60 writes", words(1, "m", 0, 0, uint64(1)<<60, 0, 0), "write count"},
		{"key longer than input", words(1, "m", 0, 0, 1, 99, "k", 1, "v", 0), "key of write 0"},
		{"value length of 2^63", words(1, "m", 0, 0, 1, 1, "k", uint64(1)<<63, "v", 0), "value of write 0"},
		{"no remove count", words(1, "m", 0, 0, 0), "remove count"},
		{"2^61 removes", words(1, "m", 0, 0, 0, uint64(1)<<61, 0), "remove count"},
		{"removed key longer than input", words(1, "m", 0, 0, 0, 1, 2, "r"), "key of remove 0"},
		{"junk after a record", append(bytes.Clone(whole), 0), "map record 1, at byte 68 of 69"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ws, err := writeset.ParseMaps(test.in)
			if err == nil {
				t.Fatalf("ParseMaps = %v, want an error", ws)
			}
			if !strings.Contains(err.Error(), test.cause) {
				t.Errorf("error %q does not name %q", err, test.cause)
			}
		})
	}
	for n := 1; n < len(whole); n++ {
		if ws, err := writeset.ParseMaps(whole[:n]); err == nil {
			t.Errorf("ParseMaps of %d of %d bytes = %v, want an error", n, len(whole), ws)
		}
	}
}

func TestMapsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ws := drawWriteSet(t)
		b := writeset.AppendMaps(nil, ws)
		got, err := writeset.ParseMaps(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ws, got); diff != "" {
			t.Fatalf("ParseMaps of AppendMaps (-want +got):\n%s", diff)
		}
	})
}

// FuzzParseMaps holds the parser to being the inverse of AppendMaps: whatever
// it accepts, it has understood to the last byte.
func FuzzParseMaps(f *testing.F) {
	f.Add([]byte{})
	f.Add(words(1, "m", 0, 0, 1, 1, "k", 1, "v", 0))
	f.Add(words(1, "m", 9, 0, 0, 1, 1, "k", 1, "n", 0, 0, 0, 0))
	f.Add(words(24, "public:ccf.internal.tree", 0, 0, 1, 8, 0, 4, "tree", 0))
	f.Add(words(1, "m", 0, 1, 1, "k", 3, 0, 0))
	f.Add(words(1, "m", 0, 0, uint64(1)<<60))
	f.Add(words(^uint64(0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		ws, err := writeset.ParseMaps(b)
		if err != nil {
			return
		}
		if got := writeset.AppendMaps(nil, ws); !bytes.Equal(got, b) {
			t.Errorf("AppendMaps of ParseMaps = %x, want %x", got, b)
		}
		if got := writeset.EncodedLen(ws); got != len(b) {
			t.Errorf("EncodedLen = %d, want %d", got, len(b))
		}
	})
}

func BenchmarkParseMaps(b *testing.B) {
	in := writeset.AppendMaps(nil, benchmarkSet())
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := writeset.ParseMaps(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMaps(b *testing.B) {
	ws := benchmarkSet()
	buf := make([]byte, 0, writeset.EncodedLen(ws))
	b.SetBytes(int64(cap(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = writeset.AppendMaps(buf[:0], ws)
	}
}

func benchmarkSet() writeset.WriteSet {
	m := writeset.MapWrites{Name: "public:records"}
	for i := range 10 {
		m.Writes = append(m.Writes, writeset.Write{Key: words(i), Value: make([]byte, 100)})
	}
	return writeset.WriteSet{m}
}
