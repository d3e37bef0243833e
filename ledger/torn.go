package ledger

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Tail is what stands in the open chunk behind the last whole signed span. A crash
// leaves such a tail, and so does damage.
type Tail struct {
	CorruptError
	// Torn: the tail is what a write or the closing of the chunk leaves when it is
	// cut off. Otherwise something in it is wrong.
	Torn bool
	// Later is the highest seqno of a whole entry that can be made out behind the
	// place where reading stopped, or 0. A crash alone rarely leaves one.
	Later uint64
}

// judgeTail classifies the bytes from cause.Offset to size, at which cause stopped
// the reading of an open chunk; positions are those of the entries before.
func judgeTail(f io.ReaderAt, size int64, cause CorruptError, positions []uint32) (*Tail, error) {
	t := &Tail{CorruptError: cause}
	err := eachEntry(f, cause.Offset+1, size, func(seqno uint64, _ int64) bool {
		if seqno > cause.Seqno {
			t.Later = max(t.Later, seqno)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("searching the tail of %s: %w", cause.File, err)
	}
	if t.Later == 0 {
		if t.Torn, err = isTorn(f, cause.Offset, size, positions); err != nil {
			return nil, fmt.Errorf("reading the tail of %s: %w", cause.File, err)
		}
	}
	if t.Torn {
		return t, nil
	}
	if err := t.blameSize(f, size, positions); err != nil {
		return nil, fmt.Errorf("searching the tail of %s: %w", cause.File, err)
	}
	if t.Later != 0 {
		t.Reason += fmt.Sprintf("; entry %d can be made out behind it", t.Later)
	}
	return t, nil
}

// blameSize looks whether the entry that could not be read stands elsewhere: then it
// is the size of the one before that is wrong.
func (t *Tail) blameSize(f io.ReaderAt, size int64, positions []uint32) error {
	if len(positions) == 0 {
		return nil
	}
	before := int64(positions[len(positions)-1])
	return eachEntry(f, before+1, size, func(seqno uint64, at int64) bool {
		if seqno != t.Seqno || at == t.Offset {
			return true
		}
		t.CorruptError = CorruptError{File: t.File, Offset: before, Seqno: seqno - 1, Reason: fmt.Sprintf("the entry's size is wrong: entry %d stands at offset %d", seqno, at)}
		return false
	})
}

// isTorn reports whether the bytes from off to size are the beginning of an entry,
// or zeros (pages that were never written), or the beginning of the positions table
// that closing the chunk would write.
func isTorn(f io.ReaderAt, off, size int64, positions []uint32) (bool, error) {
	head := make([]byte, min(entryHeaderSize, size-off))
	if _, err := f.ReadAt(head, off); err != nil && err != io.EOF {
		return false, err
	}
	if len(head) < entryHeaderSize {
		return true, nil
	}
	if n, err := EntrySize(head); err == nil && n > size-off {
		return true, nil
	}
	zeros, table := true, size-off <= int64(len(positions))*positionSize
	err := eachByte(f, off, size, func(at int64, b byte) bool {
		zeros = zeros && b == 0
		if table {
			i := at - off
			var want [positionSize]byte
			binary.LittleEndian.PutUint32(want[:], positions[i/positionSize])
			table = b == want[i%positionSize]
		}
		return zeros || table
	})
	return zeros || table, err
}

// eachByte calls use for each byte from off to end until it returns false.
func eachByte(f io.ReaderAt, off, end int64, use func(at int64, b byte) bool) error {
	buf := make([]byte, 64<<10)
	for off < end {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-off)], off)
		if n == 0 {
			return err
		}
		for i, b := range buf[:n] {
			if !use(off+int64(i), b) {
				return nil
			}
		}
		off += int64(n)
	}
	return nil
}

// maxCandidates bounds the work that crafted bytes can cause.
const maxCandidates = 4096

// eachEntry looks at every offset from off to end for an entry, and calls use with the
// seqno and the offset of each that parses as a whole, until use returns false. Bytes
// inside an entry can look like one, too.
func eachEntry(f io.ReaderAt, off, end int64, use func(seqno uint64, at int64) bool) error {
	const window = publicLenOffset
	var last [window]byte // the bytes through at
	candidates := 0
	var readErr error
	err := eachByte(f, off, end, func(at int64, b byte) bool {
		copy(last[:], last[1:])
		last[window-1] = b
		start := at - window + 1
		if start < off || !plausible(last[:], end-start) {
			return true
		}
		candidates++
		size, _ := EntrySize(last[:])
		raw := make([]byte, size)
		if _, readErr = f.ReadAt(raw, start); readErr != nil {
			return false
		}
		if e, err := ParseEntry(raw); err == nil && !use(e.ID.Seqno, start) {
			return false
		}
		return candidates < maxCandidates
	})
	if readErr != nil {
		return readErr
	}
	return err
}

// plausible reports whether head can begin an entry that fits into left bytes.
func plausible(head []byte, left int64) bool {
	if head[0] != entryVersion || Flags(head[1])&^allFlags != 0 {
		return false
	}
	size, err := EntrySize(head)
	return err == nil && size <= left && binary.LittleEndian.Uint64(head[ivOffset:]) != 0
}
