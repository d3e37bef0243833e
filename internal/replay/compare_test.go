package replay

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/js"
	"chancery/kv/writeset"
)

func TestCompare(t *testing.T) {
	write := func(key, value string) writeset.Write {
		return writeset.Write{Key: []byte(key), Value: []byte(value)}
	}
	recorded := writeset.WriteSet{
		{Name: js.RecordTable, Writes: []writeset.Write{write("", "{}")}},
		{Name: "a", Writes: []writeset.Write{write("same", "1"), write("other", "1"), write("only", ""), write("removed", "1")}, Removes: [][]byte{[]byte("gone")}},
	}
	replayed := writeset.WriteSet{
		{Name: "a", Writes: []writeset.Write{write("other", "2"), write("same", "1")}, Removes: [][]byte{[]byte("gone"), []byte("removed")}},
		{Name: "b", Writes: []writeset.Write{write("more", "x")}},
	}
	value := func(text string) Written { return Written{Value: []byte(text), There: true} }
	removed := Written{Removed: true, There: true}
	want := []Difference{
		{"a", []byte("only"), value(""), Written{}},
		{"a", []byte("other"), value("1"), value("2")},
		{"a", []byte("removed"), value("1"), removed},
		{"b", []byte("more"), Written{}, value("x")},
	}
	if d := cmp.Diff(want, compare(recorded, replayed)); d != "" {
		t.Error(d)
	}
	if d := compare(recorded, recorded); d != nil {
		t.Errorf("differences to itself: %v", d)
	}
	if d := compare(recorded[1:], recorded); d != nil {
		t.Errorf("the record counts: %v", d)
	}
}
