package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLocked is returned by [FS.Lock] when another process holds the lock.
var ErrLocked = errors.New("held by another process")

// File is an open file. ReadAt and WriteAt may be called concurrently.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer

	// Size returns the file's present size in bytes.
	Size() (int64, error)
	// Truncate cuts the file to size bytes, or extends it with zeros.
	Truncate(size int64) error
	// Sync returns when the file's bytes and size survive power loss. After an
	// error the file must not be used again.
	Sync() error
}

// FS is what the program needs of a file system. Paths are those of package os.
// Errors are matched with errors.Is against fs.ErrNotExist, fs.ErrExist and
// syscall.ENOSPC.
type FS interface {
	// Open opens a file for reading.
	Open(path string) (File, error)
	// OpenFile opens a file with the flags of package os.
	OpenFile(path string, flag int, perm fs.FileMode) (File, error)
	// ReadFile returns a file's whole contents.
	ReadFile(path string) ([]byte, error)
	// ReadDir lists a directory, sorted by name.
	ReadDir(path string) ([]fs.DirEntry, error)
	// Stat describes the file at path.
	Stat(path string) (fs.FileInfo, error)
	// Rename gives the file at from the name to, replacing what was there. It is
	// atomic for everybody who looks; it is durable after SyncDir.
	Rename(from, to string) error
	// Remove takes the name away.
	Remove(path string) error
	// MkdirAll creates a directory and its missing parents.
	MkdirAll(path string, perm fs.FileMode) error
	// SyncDir returns when the names in the directory survive power loss.
	SyncDir(path string) error
	// Lock takes the advisory lock on a directory until Close, or the end of the
	// process. It does not wait: the error is ErrLocked if another holds it.
	Lock(dir string) (io.Closer, error)
}

// WriteFileAtomic replaces the contents of path, so that a crash leaves either the
// old or the new. The caller must be the only writer of path.
func WriteFileAtomic(fsys FS, path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	tmp := filepath.Join(dir, "."+filepath.Base(path)+".tmp")
	if err := writeSynced(fsys, tmp, data, perm); err != nil {
		return errors.Join(err, removeIfThere(fsys, tmp))
	}
	// A crash here leaves the temporary file, which the next call overwrites.
	if err := fsys.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("renaming %s: %w", tmp, err), removeIfThere(fsys, tmp))
	}
	// A crash here leaves one of the two files under the name, both whole.
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	return nil
}

func writeSynced(fsys FS, path string, data []byte, perm fs.FileMode) error {
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("syncing %s: %w", path, err), f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", path, err)
	}
	return nil
}

func removeIfThere(fsys FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}
