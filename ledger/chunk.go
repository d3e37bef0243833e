package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"chancery/internal/durable"
)

const (
	chunkHeaderSize = 8
	positionSize    = 4
	maxChunkSize    = 1<<32 - 1 // positions are 32 bits wide
)

// chunkFrame is what a chunk's header and size say, and its name confirms.
type chunkFrame struct {
	size    int64
	entries int64  // offset at which the entries end
	count   uint64 // of positions; 0 if the chunk is open
}

// complete reports whether the chunk has a positions table.
func (f chunkFrame) complete() bool { return f.count != 0 }

// readFrame reads and checks the header of a chunk. A file too short for a header
// is an open chunk without entries. Every error is a *CorruptError or of the disk.
func readFrame(f durable.File, path string, name chunkName) (chunkFrame, error) {
	corrupt := func(format string, args ...any) (chunkFrame, error) {
		return chunkFrame{}, &CorruptError{File: path, Reason: fmt.Sprintf(format, args...)}
	}
	// The header before the size: whoever closes the chunk meanwhile writes it last.
	var header [chunkHeaderSize]byte
	n, err := f.ReadAt(header[:], 0)
	if err != nil && err != io.EOF {
		return chunkFrame{}, fmt.Errorf("reading the header of %s: %w", path, err)
	}
	size, err := f.Size()
	if err != nil {
		return chunkFrame{}, fmt.Errorf("reading the size of %s: %w", path, err)
	}
	if n < chunkHeaderSize {
		if name.last != 0 {
			return corrupt("%d bytes, too short for a chunk", n)
		}
		return chunkFrame{size: size, entries: chunkHeaderSize}, nil
	}
	table := binary.LittleEndian.Uint64(header[:])
	switch {
	case table == 0 && name.last != 0:
		return corrupt("the chunk is complete by its name, but has no positions table")
	case table == 0:
		return chunkFrame{size: size, entries: size}, nil
	case table < chunkHeaderSize:
		return corrupt("positions table at offset %d, inside the header", table)
	case table >= uint64(size):
		return corrupt("positions table at offset %d, file of %d bytes", table, size)
	case (uint64(size)-table)%positionSize != 0:
		return corrupt("positions table of %d bytes, not a multiple of %d", uint64(size)-table, positionSize)
	}
	count := (uint64(size) - table) / positionSize
	if name.last != 0 && count != name.last-name.first+1 {
		return corrupt("%d positions, but the name says entries %d to %d", count, name.first, name.last)
	}
	return chunkFrame{size: size, entries: int64(table), count: count}, nil
}

// chunkReader reads the entries of one chunk in order, comparing each with the positions
// table, the file name and the entry before it: see stream. An entry's bytes are allocated
// only when the file is long enough.
type chunkReader struct {
	path  string
	frame chunkFrame
	file  durable.File

	positions *bufio.Reader // nil if the chunk is open
	buf       []byte        // what was read from off on
	off       int64         // of the next entry
	before    int64         // of the one read last
	next      uint64        // its seqno
	first     uint64

	// reuse says that who uses a block is done with it then, and all that is in it.
	reuse bool
}

// newChunkReader starts at the first entry. The caller closes f.
func newChunkReader(f durable.File, path string, name chunkName) (*chunkReader, error) {
	frame, err := readFrame(f, path, name)
	if err != nil {
		return nil, err
	}
	r := &chunkReader{path: path, frame: frame, file: f, off: chunkHeaderSize, first: name.first, next: name.first}
	if frame.complete() {
		r.positions = bufio.NewReader(io.NewSectionReader(f, frame.entries, frame.size-frame.entries))
	}
	return r, nil
}

func (r *chunkReader) corrupt(err error, format string, args ...any) error {
	return &CorruptError{File: r.path, Offset: r.off, Seqno: r.next, Reason: fmt.Sprintf(format, args...), Err: err}
}

// checkPosition compares the next position with where the entry is.
func (r *chunkReader) checkPosition() error {
	if r.positions == nil {
		return nil
	}
	if r.next-r.first == r.frame.count {
		return r.corrupt(nil, "an entry more than the %d in the positions table", r.frame.count)
	}
	var b [positionSize]byte
	if _, err := io.ReadFull(r.positions, b[:]); err != nil {
		return fmt.Errorf("reading the positions of %s: %w", r.path, err)
	}
	p := int64(binary.LittleEndian.Uint32(b[:]))
	if p == r.off {
		return nil
	}
	if r.next > r.first && r.beginsAt(p) && !r.beginsAt(r.off) {
		return &CorruptError{File: r.path, Offset: r.before, Seqno: r.next - 1, Reason: fmt.Sprintf("the entry's size is wrong: it ends at offset %d, the next begins at %d", r.off, p)}
	}
	return r.corrupt(nil, "the positions table says that the entry is at offset %d", p)
}

// beginsAt reports whether the next entry seems to stand at off.
func (r *chunkReader) beginsAt(off int64) bool {
	var head [publicLenOffset]byte
	if _, err := r.file.ReadAt(head[:], off); err != nil {
		return false
	}
	return plausible(head[:], r.frame.entries-off) && binary.LittleEndian.Uint64(head[ivOffset:]) == r.next
}

// end returns io.EOF if the entries end where they should.
func (r *chunkReader) end() error {
	if r.positions != nil && r.next-r.first != r.frame.count {
		return r.corrupt(nil, "the entries end, the positions table has %d", r.frame.count)
	}
	return io.EOF
}

// scanEntries calls f with each entry of a chunk file until f returns an error,
// which it returns, or the entries end. prepare works on them beforehand: see stream.
func scanEntries(fsys durable.FS, path string, name chunkName, prepare func(*block), f func(*Entry, int64) error) (err error) {
	file, err := fsys.Open(path)
	if err != nil {
		return fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := newChunkReader(file, path, name)
	if err != nil {
		return err
	}
	return r.stream(prepare, func(b *block) error { return b.each(f) })
}
