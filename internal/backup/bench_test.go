package backup

import (
	"testing"
)

// BenchmarkCreate backs up 100 MB of chunks from one directory to another.
func BenchmarkCreate(b *testing.B) {
	f := newFixture(b)
	for range 20 {
		for i := range 5 {
			f.ledger.Write(1000, 1<<10)
			f.ledger.Sign(i == 4)
		}
	}
	var bytes int64
	for b.Loop() {
		f.store = f.open(b.TempDir())
		c, err := Create(b.Context(), f.options())
		if err != nil {
			b.Fatal(err)
		}
		bytes = c.Bytes
	}
	b.SetBytes(bytes)
}
