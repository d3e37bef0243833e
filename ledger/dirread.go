package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sort"

	"chancery/internal/durable"
)

// ErrNotFound is returned for a seqno that the directory does not hold.
var ErrNotFound = errors.New("the ledger files do not hold the entry")

// Read returns one entry through Last. It checks the entry's form and its place,
// not its digest: the caller compares Leaf with a tree that it trusts. Errors:
// ErrNotFound, a *CorruptError, or of the disk.
func (d *Dir) Read(seqno uint64) (*Entry, error) {
	var e *Entry
	err := d.retry(func() (err error) {
		d.mu.RLock()
		closed, found := d.find(seqno)
		open, begin, end := "", int64(0), int64(0)
		if !found && d.open != nil && seqno >= d.open.first && seqno < d.open.next() {
			open = d.open.path
			begin, end = d.open.bounds(seqno)
		}
		d.mu.RUnlock()
		switch {
		case found:
			e, err = d.readChunk(closed, seqno)
		case open != "":
			e, err = d.readBetween(open, seqno, begin, end)
		default:
			err = fmt.Errorf("seqno %d: %w", seqno, ErrNotFound)
		}
		return err
	})
	return e, err
}

// retry runs f again if a file was not there: between looking up a chunk and
// opening it, the chunk may have been closed and renamed.
func (d *Dir) retry(f func() error) error {
	err := f()
	if errors.Is(err, fs.ErrNotExist) {
		err = f()
	}
	return err
}

// find returns the closed chunk that holds seqno. d.mu is held.
func (d *Dir) find(seqno uint64) (chunk, bool) {
	i := sort.Search(len(d.chunks), func(i int) bool { return d.chunks[i].last >= seqno })
	if i == len(d.chunks) || seqno < d.chunks[i].first {
		return chunk{}, false
	}
	return d.chunks[i], true
}

// bounds returns where an entry of the open chunk begins and ends.
func (c *openChunk) bounds(seqno uint64) (begin, end int64) {
	i := seqno - c.first
	begin, end = int64(c.positions[i]), c.end
	if i+1 < uint64(len(c.positions)) {
		end = int64(c.positions[i+1])
	}
	return begin, end
}

func (d *Dir) readChunk(c chunk, seqno uint64) (e *Entry, err error) {
	f, err := d.fs.Open(c.path)
	if err != nil {
		return nil, fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readIn(f, c, seqno)
}

func (d *Dir) readBetween(path string, seqno uint64, begin, end int64) (e *Entry, err error) {
	f, err := d.fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readEntryAt(f, path, seqno, begin, end)
}

// readIn reads an entry of a closed chunk by the positions table.
func readIn(f durable.File, c chunk, seqno uint64) (*Entry, error) {
	begin, end, err := positionAt(f, c, seqno-c.first)
	if err != nil {
		return nil, err
	}
	if begin < chunkHeaderSize || end > c.table || end-begin < minEntrySize {
		return nil, &CorruptError{File: c.path, Offset: c.table, Seqno: seqno, Reason: fmt.Sprintf("the positions table says that the entry is at offsets %d to %d", begin, end)}
	}
	return readEntryAt(f, c.path, seqno, begin, end)
}

func readEntryAt(f io.ReaderAt, path string, seqno uint64, begin, end int64) (*Entry, error) {
	raw := make([]byte, end-begin)
	if _, err := f.ReadAt(raw, begin); err != nil {
		return nil, fmt.Errorf("reading entry %d of %s: %w", seqno, path, err)
	}
	e, err := ParseEntry(raw)
	if err != nil {
		return nil, &CorruptError{File: path, Offset: begin, Seqno: seqno, Reason: fmt.Sprintf("entry of %d bytes", len(raw)), Err: err}
	}
	if e.ID.Seqno != seqno {
		return nil, &CorruptError{File: path, Offset: begin, Seqno: seqno, Reason: fmt.Sprintf("entry %v stands in its place", e.ID)}
	}
	return e, nil
}

// Entries streams the entries from the given seqno through what was Last when the
// iteration began, comparing entries, positions tables and file names. It ends with
// the first error: ErrNotFound if from is not held, a *CorruptError, or of the disk.
func (d *Dir) Entries(from uint64) iter.Seq2[*Entry, error] { return d.entries(from, nil) }

// EntriesOpened is Entries for who opens each entry with the secret in force at it: on
// other cores, entries are decrypted with the secrets that are known when they are read, so
// that Open need not.
func (d *Dir) EntriesOpened(from uint64, secrets *Secrets) iter.Seq2[*Entry, error] {
	return d.entries(from, func(b *block) { b.openAhead(secrets) })
}

func (d *Dir) entries(from uint64, prepare func(*block)) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		last := d.Last().Seqno
		for next := from; next <= last; {
			more, err := d.streamChunk(next, last, prepare, yield)
			if err != nil {
				yield(nil, err)
				return
			}
			if more == 0 {
				return
			}
			next = more
		}
	}
}

var errStop = errors.New("the consumer stopped")

// streamChunk yields the entries of the chunk that holds seqno next, from it through
// last, and returns the seqno to go on with, or 0 if the consumer wants no more.
func (d *Dir) streamChunk(next, last uint64, prepare func(*block), yield func(*Entry, error) bool) (uint64, error) {
	err := d.retry(func() error {
		path, name, err := d.chunkOf(next)
		if err != nil {
			return err
		}
		return scanEntries(d.fs, path, name, prepare, func(e *Entry, _ int64) error {
			if e.ID.Seqno < next {
				return nil
			}
			if e.ID.Seqno > last || !yield(e, nil) {
				next = 0
				return errStop
			}
			if next++; next > last {
				return errStop
			}
			return nil
		})
	})
	if err != nil && !errors.Is(err, errStop) {
		return 0, err
	}
	return next, nil
}

// chunkOf returns the file that holds seqno.
func (d *Dir) chunkOf(seqno uint64) (string, chunkName, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if c, ok := d.find(seqno); ok {
		return c.path, chunkName{first: c.first, last: c.last, committed: true}, nil
	}
	if c := d.open; c != nil && seqno >= c.first && seqno < c.next() {
		return c.path, chunkName{first: c.first}, nil
	}
	return "", chunkName{}, fmt.Errorf("seqno %d: %w", seqno, ErrNotFound)
}
