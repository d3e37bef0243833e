package backup

import (
	"context"
	"io/fs"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/ledger"
)

// auditChunk audits the chunk at path, as ledger.Verify does, and returns the checkpoint
// at its end. name is what it is called in errors; its base name is the chunk's own.
func auditChunk(ctx context.Context, fsys durable.FS, path, name string, o ledger.VerifyOptions) (*ledger.Checkpoint, error) {
	o.CommittedOnly = true
	name = filepath.Clean(name)
	r, err := ledger.Verify(ctx, oneFile{fsys, name, path}, []string{filepath.Dir(name)}, o)
	if err != nil {
		return nil, err
	}
	return r.Checkpoint, nil
}

// oneFile is a file system in which a directory holds one file, which lies elsewhere.
type oneFile struct {
	durable.FS
	name, path string
}

// Open implements durable.FS.
func (o oneFile) Open(path string) (durable.File, error) { return o.FS.Open(o.real(path)) }

// ReadFile implements durable.FS.
func (o oneFile) ReadFile(path string) ([]byte, error) { return o.FS.ReadFile(o.real(path)) }

// Stat implements durable.FS.
func (o oneFile) Stat(path string) (fs.FileInfo, error) { return o.FS.Stat(o.real(path)) }

func (o oneFile) real(path string) string {
	if path == o.name {
		return o.path
	}
	return path
}

// ReadDir implements durable.FS.
func (o oneFile) ReadDir(string) ([]fs.DirEntry, error) {
	info, err := o.FS.Stat(o.path)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{named{info, filepath.Base(o.name)}}, nil
}

// named is a file under another name.
type named struct {
	fs.FileInfo
	name string
}

// Name implements fs.DirEntry.
func (n named) Name() string { return n.name }

// Type implements fs.DirEntry.
func (n named) Type() fs.FileMode { return n.Mode().Type() }

// Info implements fs.DirEntry.
func (n named) Info() (fs.FileInfo, error) { return n.FileInfo, nil }
