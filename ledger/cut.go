package ledger

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"chancery/internal/durable"
)

// CutChunk writes the entries of a closed chunk, of entries first to last, through the
// entry at cut into dir, as an open chunk: what a node's files look like that ended
// there. The entry at cut must be a signature. The chunk that is read does not change.
// Errors: a *CorruptError, fs.ErrExist, or of the disk.
func CutChunk(fsys durable.FS, path string, first, last, cut uint64, dir string) (name string, err error) {
	end := int64(chunkHeaderSize)
	signed := false
	for e, err := range ReadChunk(fsys, path, first, last) {
		if err != nil {
			return "", err
		}
		if e.ID.Seqno > cut {
			break
		}
		end += int64(e.Size())
		signed = e.ID.Seqno == cut && IsSignature(e.Public)
	}
	if !signed {
		return "", fmt.Errorf("%s: the entry at %d is no signature, behind which it could be cut", path, cut)
	}
	from, err := fsys.Open(path)
	if err != nil {
		return "", fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	name = chunkName{first: first}.String()
	to, err := fsys.OpenFile(filepath.Join(dir, name), osCreate, chunkPerm)
	if err != nil {
		return "", fmt.Errorf("creating a chunk: %w", err)
	}
	_, err = to.Write(make([]byte, chunkHeaderSize)) // open: no positions table
	if err == nil {
		_, err = io.CopyN(to, io.NewSectionReader(from, chunkHeaderSize, end-chunkHeaderSize), end-chunkHeaderSize)
	}
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		return "", fmt.Errorf("writing %s: %w", filepath.Join(dir, name), err)
	}
	return name, fsys.SyncDir(dir)
}
