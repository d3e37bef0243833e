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
	var err error
	if t.Later, err = laterEntry(f, cause.Offset+1, size, cause.Seqno); err != nil {
		return nil, fmt.Errorf("searching the tail of %s: %w", cause.File, err)
	}
	if t.Later != 0 {
		t.Reason += fmt.Sprintf("; entry %d can be made out behind it", t.Later)
		return t, nil
	}
	if t.Torn, err = isTorn(f, cause.Offset, size, positions); err != nil {
		return nil, fmt.Errorf("reading the tail of %s: %w", cause.File, err)
	}
	return t, nil
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

// laterEntry looks at every offset from off to end for an entry with a seqno above
// after, and returns the highest seqno found, or 0. It trusts nothing but that the
// entry parses as a whole.
func laterEntry(f io.ReaderAt, off, end int64, after uint64) (uint64, error) {
	const window = publicLenOffset
	var last [window]byte // a ring of the bytes before at
	var found uint64
	candidates := 0
	var readErr error
	begin := off
	err := eachByte(f, off, end, func(at int64, b byte) bool {
		copy(last[:], last[1:])
		last[window-1] = b
		start := at - window + 1
		if start < begin || !plausible(last[:], end-start, after) {
			return true
		}
		candidates++
		size, _ := EntrySize(last[:])
		raw := make([]byte, size)
		if _, readErr = f.ReadAt(raw, start); readErr != nil {
			return false
		}
		if e, err := ParseEntry(raw); err == nil {
			found = max(found, e.ID.Seqno)
		}
		return candidates < maxCandidates
	})
	if readErr != nil {
		return 0, readErr
	}
	return found, err
}

// plausible reports whether head can begin an entry that fits into left bytes.
func plausible(head []byte, left int64, after uint64) bool {
	if head[0] != entryVersion || Flags(head[1])&^allFlags != 0 {
		return false
	}
	size, err := EntrySize(head)
	if err != nil || size > left {
		return false
	}
	seqno := binary.LittleEndian.Uint64(head[ivOffset:])
	return seqno > after && seqno-after <= uint64(left/minEntrySize)+1
}
