package writeset_test

import (
	"math"
	"testing"

	"chancery/kv/writeset"

	"pgregory.net/rapid"
)

func TestParseTxID(t *testing.T) {
	tests := []struct {
		in   string
		want writeset.TxID // zero: refused
	}{
		{"2.15", writeset.TxID{View: 2, Seqno: 15}},
		{"1.1", writeset.TxID{View: 1, Seqno: 1}},
		{"002.015", writeset.TxID{View: 2, Seqno: 15}}, // as CCF
		{"18446744073709551615.18446744073709551615", writeset.TxID{View: math.MaxUint64, Seqno: math.MaxUint64}},
		{"", writeset.TxID{}},
		{".", writeset.TxID{}},
		{"2", writeset.TxID{}},
		{"2.", writeset.TxID{}},
		{".15", writeset.TxID{}},
		{"0.15", writeset.TxID{}},
		{"2.0", writeset.TxID{}},
		{"0.0", writeset.TxID{}},
		{"+2.15", writeset.TxID{}},
		{"2.+15", writeset.TxID{}},
		{"-2.15", writeset.TxID{}},
		{"2.-15", writeset.TxID{}},
		{" 2.15", writeset.TxID{}},
		{"2.15 ", writeset.TxID{}},
		{"2 .15", writeset.TxID{}},
		{"2.15.1", writeset.TxID{}},
		{"2.15\n", writeset.TxID{}},
		{"2.15\x00", writeset.TxID{}},
		{"2,15", writeset.TxID{}},
		{"0x2.15", writeset.TxID{}},
		{"2.1_5", writeset.TxID{}},
		{"2.1e1", writeset.TxID{}},
		{"٢.١٥", writeset.TxID{}},
		{"18446744073709551616.1", writeset.TxID{}},
		{"1.18446744073709551616", writeset.TxID{}},
	}
	for _, test := range tests {
		got, err := writeset.ParseTxID(test.in)
		if got != test.want || (err == nil) == test.want.IsZero() {
			t.Errorf("ParseTxID(%q) = %v, %v; want %v", test.in, got, err, test.want)
		}
	}
}

func TestTxIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawTxID(t)
		got, err := writeset.ParseTxID(id.String())
		if err != nil || got != id {
			t.Fatalf("ParseTxID(%q) = %v, %v", id.String(), got, err)
		}
	})
}

func TestTxIDOrder(t *testing.T) {
	ascending := []writeset.TxID{{}, {View: 1, Seqno: 1}, {View: 2, Seqno: 1}, {View: 2, Seqno: 10}, {View: 3, Seqno: 2}}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := a.Less(b), i < j; got != want {
				t.Errorf("%v.Less(%v) = %t, want %t", a, b, got, want)
			}
		}
		if got, want := a.IsZero(), i == 0; got != want {
			t.Errorf("%v.IsZero() = %t, want %t", a, got, want)
		}
	}
}

func FuzzParseTxID(f *testing.F) {
	for _, seed := range []string{"2.15", "0.1", "+1.1", "1.1.1", "18446744073709551615.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := writeset.ParseTxID(s)
		if err != nil {
			return
		}
		if again, err := writeset.ParseTxID(id.String()); err != nil || again != id {
			t.Errorf("ParseTxID(%q) = %v, whose text gives %v, %v", s, id, again, err)
		}
	})
}

func drawTxID(t *rapid.T) writeset.TxID {
	return writeset.TxID{
		View:  rapid.Uint64Min(1).Draw(t, "view"),
		Seqno: rapid.Uint64Min(1).Draw(t, "seqno"),
	}
}
