package replay

import (
	"bytes"
	"cmp"
	"slices"

	"chancery/js"
	"chancery/kv/writeset"
)

// Difference is a key that the ledger and the replay do not agree on.
type Difference struct {
	Table string
	Key   []byte
	// Recorded is what the ledger holds, Replayed what the replay did.
	Recorded, Replayed Written
}

// Written is what a transaction did to a key; the zero value: nothing.
type Written struct {
	Value   []byte
	Removed bool
	There   bool // written, or removed
}

func (w Written) equal(o Written) bool {
	return w.There == o.There && w.Removed == o.Removed && bytes.Equal(w.Value, o.Value)
}

// compare finds the keys to which recorded and replayed did not do the same. The record of
// the request itself does not count.
func compare(recorded, replayed writeset.WriteSet) []Difference {
	type place struct{ table, key string }
	both := map[place]*Difference{}
	each := func(ws writeset.WriteSet, set func(*Difference, Written)) {
		for _, m := range ws {
			if m.Name == js.RecordTable {
				continue
			}
			at := func(key []byte) *Difference {
				p := place{m.Name, string(key)}
				if both[p] == nil {
					both[p] = &Difference{Table: m.Name, Key: key}
				}
				return both[p]
			}
			for _, w := range m.Writes {
				set(at(w.Key), Written{Value: w.Value, There: true})
			}
			for _, key := range m.Removes {
				set(at(key), Written{Removed: true, There: true})
			}
		}
	}
	each(recorded, func(d *Difference, w Written) { d.Recorded = w })
	each(replayed, func(d *Difference, w Written) { d.Replayed = w })
	var out []Difference
	for _, d := range both {
		if !d.Recorded.equal(d.Replayed) {
			out = append(out, *d)
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), bytes.Compare(a.Key, b.Key))
	})
	return out
}
