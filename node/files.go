package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/ledger"
	"chancery/server"
)

// Files returns the ledger chunks and snapshots that may be downloaded.
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

// openFile is a file whose size was read once; committed chunks and snapshots do not change.
type openFile struct {
	durable.File
	size int64
}

func (f openFile) Size() int64 { return f.size }

// SnapshotSince returns the newest committed snapshot, if it is at or after seqno.
func (f files) SnapshotSince(seqno uint64) (string, bool) {
	found, err := ledger.ListSnapshots(f.n.fs, f.n.cfg.Snapshots.Directory)
	if err != nil {
		f.n.log.Warn("looking for snapshots", "err", err)
	}
	if len(found) == 0 || found[0].Seqno < seqno {
		return "", false
	}
	return found[0].String(), true
}

// OpenSnapshot opens a committed snapshot by its name. Only a snapshot's name is opened,
// whatever else lies in the directory.
func (f files) OpenSnapshot(name string) (server.File, error) {
	if s, ok := ledger.ParseSnapshotName(name); !ok || !s.Committed {
		return nil, fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist)
	}
	return f.open(filepath.Join(f.n.cfg.Snapshots.Directory, name))
}
