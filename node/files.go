package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/server"
)

// Files returns the ledger chunks that may be downloaded. There are no snapshots yet.
func (n *Node) Files() server.Files { return files{n} }

type files struct{ n *Node }

// ChunkWith returns the name of the committed chunk that holds seqno.
func (f files) ChunkWith(seqno uint64) (string, bool) {
	for _, c := range f.n.ledger.Chunks() {
		if c.Committed && c.First <= seqno && seqno <= c.Last {
			return filepath.Base(c.Path), true
		}
	}
	return "", false
}

// OpenChunk opens a committed chunk by its name. Only names of chunks that the node
// holds are opened, whatever else lies in the directory.
func (f files) OpenChunk(name string) (server.File, error) {
	for _, c := range f.n.ledger.Chunks() {
		if c.Committed && filepath.Base(c.Path) == name {
			return f.open(c.Path)
		}
	}
	return nil, fmt.Errorf("chunk %q: %w", name, fs.ErrNotExist)
}

func (f files) open(path string) (server.File, error) {
	file, err := f.n.fs.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return openFile{file, size}, nil
}

// openFile is a chunk whose size was read once; committed chunks do not change.
type openFile struct {
	durable.File
	size int64
}

func (f openFile) Size() int64 { return f.size }

// SnapshotSince finds nothing: this release takes no snapshots (docs/differences.md).
func (f files) SnapshotSince(uint64) (string, bool) { return "", false }

// OpenSnapshot finds nothing, like SnapshotSince.
func (f files) OpenSnapshot(name string) (server.File, error) {
	return nil, fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist)
}
