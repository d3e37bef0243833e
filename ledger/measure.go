package ledger

import (
	"errors"
	"fmt"
)

// Measure returns the seqno of the last entry held and the bytes of the entries from
// the given seqno through it, as Entries streams them. from must be held, or be the
// seqno after the last: then there are none.
func (d *Dir) Measure(from uint64) (through uint64, size int64, err error) {
	d.mu.RLock()
	through = d.last.Seqno
	var partly *chunk
	first := through + 1
	for i, c := range d.chunks {
		first = min(first, c.first)
		switch {
		case c.last < from:
		case c.first < from:
			partly = &d.chunks[i]
		default:
			size += c.table - chunkHeaderSize
		}
	}
	if c := d.open; c != nil {
		first = min(first, c.first)
		begin := int64(chunkHeaderSize)
		if from > c.first && from < c.next() {
			begin, _ = c.bounds(from)
		}
		if from < c.next() {
			size += c.end - begin
		}
	}
	d.mu.RUnlock()
	if from > through+1 || from < first {
		return 0, 0, fmt.Errorf("seqno %d: %w", from, ErrNotFound)
	}
	if partly == nil {
		return through, size, nil
	}
	c := *partly
	err = d.retry(func() (err error) {
		f, err := d.fs.Open(c.path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		begin, _, err := positionAt(f, c, from-c.first)
		size += c.table - begin
		return err
	})
	return through, size, err
}
