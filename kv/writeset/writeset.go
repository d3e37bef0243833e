package writeset

import (
	"bytes"
	"slices"
	"strings"
)

// publicPrefix is what CCF puts before the name of a map in the public domain.
const publicPrefix = "public:"

// IsPublic reports whether the map of that name is written in the clear.
func IsPublic(name string) bool { return strings.HasPrefix(name, publicPrefix) }

// Write is one key that got a new value. Both may be empty; neither is nil
// after parsing.
type Write struct {
	Key   []byte
	Value []byte
}

// MapWrites is what one transaction did to one map.
type MapWrites struct {
	Name string
	// ReadVersion is non-zero only in ledgers written by CCF 1.x. It has no
	// meaning for us and is kept so that an entry can be encoded again.
	ReadVersion uint64
	Writes      []Write
	// Removes holds the keys that were deleted, whether or not they existed.
	Removes [][]byte
}

// Value returns the value that m writes to key.
func (m *MapWrites) Value(key []byte) ([]byte, bool) {
	for i := range m.Writes {
		if bytes.Equal(m.Writes[i].Key, key) {
			return m.Writes[i].Value, true
		}
	}
	return nil, false
}

// WriteSet is everything that one transaction did to the maps. The bytes in it
// are shared with whoever made it and must not be changed.
type WriteSet []MapWrites

// Map returns the first record of the named map, or nil.
func (ws WriteSet) Map(name string) *MapWrites {
	for i := range ws {
		if ws[i].Name == name {
			return &ws[i]
		}
	}
	return nil
}

// Split takes ws apart into the maps of the public and of the private domain,
// each in the order of ws. A domain without maps is nil.
func (ws WriteSet) Split() (public, private WriteSet) {
	n := 0
	for i := range ws {
		if IsPublic(ws[i].Name) {
			n++
		}
	}
	if n > 0 {
		public = make(WriteSet, 0, n)
	}
	if n < len(ws) {
		private = make(WriteSet, 0, len(ws)-n)
	}
	for i := range ws {
		if IsPublic(ws[i].Name) {
			public = append(public, ws[i])
		} else {
			private = append(private, ws[i])
		}
	}
	return public, private
}

// Sort puts ws into canonical order, in place. It does not merge maps of the
// same name or drop keys that occur twice: a hand-built write set has neither.
func (ws WriteSet) Sort() {
	slices.SortStableFunc(ws, func(a, b MapWrites) int { return strings.Compare(a.Name, b.Name) })
	for i := range ws {
		slices.SortStableFunc(ws[i].Writes, func(a, b Write) int { return bytes.Compare(a.Key, b.Key) })
		slices.SortStableFunc(ws[i].Removes, bytes.Compare)
	}
}
