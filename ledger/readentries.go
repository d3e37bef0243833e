package ledger

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"chancery/internal/durable"
)

// ReadEntries streams the entries of a ledger directory from the given seqno on, those
// behind the last signature included. It takes no lock: a node may be writing there.
// Form and place are checked, digests are not: see Verify. It ends quietly at a torn
// end of the open chunk, and otherwise with the first error: ErrNotFound if the
// directory does not reach back to from, a *CorruptError, or of the disk.
func ReadEntries(fsys durable.FS, dir string, from uint64) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		err := readEntries(fsys, dir, from, func(e *Entry) bool { return yield(e, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, err)
		}
	}
}

func readEntries(fsys durable.FS, dir string, from uint64, use func(*Entry) bool) error {
	files, err := listChunks(fsys, dir, nil)
	if err != nil {
		return err
	}
	// Begin with the last chunk that starts at from or before.
	for len(files) > 1 && files[1].name.first <= from {
		files = files[1:]
	}
	if len(files) == 0 || files[0].name.first > from {
		return fmt.Errorf("seqno %d in %s: %w", from, dir, ErrNotFound)
	}
	return streamFiles(fsys, files, from, use)
}

// streamFiles gives the entries of files that follow one another to use.
func streamFiles(fsys durable.FS, files []chunkFile, from uint64, use func(*Entry) bool) (err error) {
	next := files[0].name.first
	for i, f := range files {
		if f.name.first != next {
			return &CorruptError{File: f.path, Seqno: next, Reason: fmt.Sprintf("the chunk begins at entry %d, not where the one before ends", f.name.first)}
		}
		if next, err = streamFile(fsys, f, from, i == len(files)-1, use); err != nil {
			return err
		}
	}
	return nil
}

// streamFile gives the entries of one chunk from the given seqno on to use, and returns
// the seqno behind its last. isLast says that no other chunk follows.
func streamFile(fsys durable.FS, f chunkFile, from uint64, isLast bool, use func(*Entry) bool) (next uint64, err error) {
	file, f, err := openListed(fsys, f)
	if err != nil {
		return 0, fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := newChunkReader(file, f.path, f.name)
	if err != nil {
		return 0, err
	}
	if !r.frame.complete() && !isLast {
		return 0, &CorruptError{File: f.path, Seqno: f.name.first, Reason: "the chunk is open, but another follows"}
	}
	var positions []uint32
	next = f.name.first
	err = r.stream(nil, func(b *block) error {
		return b.each(func(e *Entry, at int64) error {
			if !r.frame.complete() {
				positions = append(positions, uint32(at))
			}
			if e.ID.Seqno >= from && !use(e) {
				return errStop
			}
			next++
			return nil
		})
	})
	var corrupt *CorruptError
	if errors.As(err, &corrupt) && !r.frame.complete() {
		err = quietTail(file, r.frame.size, *corrupt, positions)
	}
	return next, err
}

// quietTail returns nil if the end of an open chunk is merely torn.
func quietTail(f io.ReaderAt, size int64, cause CorruptError, positions []uint32) error {
	t, err := judgeTail(f, size, cause, positions)
	if err != nil || t.Torn {
		return err
	}
	return &t.CorruptError
}
