package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"chancery/internal/durable"
)

// IsCommittedChunk reports whether a file's base name is that of a committed chunk, and
// which entries it holds by its name.
func IsCommittedChunk(base string) (first, last uint64, ok bool) {
	n, ok := parseChunkName(base)
	return n.first, n.last, ok && n.committed && !n.recovery
}

// CommittedThrough returns the last entry that the committed chunks in dir reach from
// the first entry on without a gap, by their names: 0 without any, or without dir.
func CommittedThrough(fsys durable.FS, dir string) (uint64, error) {
	files, err := listChunks(fsys, dir, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("listing a ledger directory: %w", err)
	}
	var through uint64
	for _, f := range files {
		if !f.name.committed || f.name.first != through+1 {
			break
		}
		through = f.name.last
	}
	return through, nil
}

// ReadChunk streams the entries first to last of a closed chunk's file, comparing
// entries and positions table; its name does not count. It ends with the first error, a
// *CorruptError or of the disk.
func ReadChunk(fsys durable.FS, path string, first, last uint64) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		err := scanEntries(fsys, path, chunkName{first: first, last: last, committed: true}, nil, func(e *Entry, _ int64) error {
			if !yield(e, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, err)
		}
	}
}
