package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"chancery/internal/durable"
)

// ErrNoCopy says that no read-only directory holds a chunk's bytes.
var ErrNoCopy = errors.New("no read-only directory holds the same bytes")

// Release takes a committed chunk's file out of the directory, once one of dirs holds
// the same bytes under the same name; its entries are read from there then. Errors:
// ErrNotFound for a chunk that the directory itself does not hold, ErrNoCopy, or of the
// disk. Whatever the error, the entries can be read.
func (d *Dir) Release(name string, dirs []string) error {
	path := filepath.Join(d.path, name)
	copied, err := d.copyOf(path, dirs)
	if err != nil {
		return err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	i := slices.IndexFunc(d.chunks, func(c chunk) bool { return c.path == path })
	if i >= 0 {
		d.chunks[i].path = copied
	}
	d.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("chunk %s: %w", name, ErrNotFound)
	}
	// A crash here, or between the next two lines, leaves both files, which is no harm.
	if err := d.fs.Remove(path); err != nil {
		return fmt.Errorf("removing a chunk: %w", err)
	}
	return d.fs.SyncDir(d.path)
}

// copyOf finds the file of the same name and bytes in one of dirs.
func (d *Dir) copyOf(path string, dirs []string) (string, error) {
	for _, dir := range dirs {
		candidate := filepath.Join(dir, filepath.Base(path))
		same, err := sameBytes(d.fs, path, candidate)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("comparing %s: %w", candidate, err)
		}
		if same {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("chunk %s: %w", filepath.Base(path), ErrNoCopy)
}

// compareAtOnce is how much of two files is compared at once, in bytes.
const compareAtOnce = 64 << 10

func sameBytes(fsys durable.FS, one, other string) (same bool, err error) {
	a, err := fsys.Open(one)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := fsys.Open(other)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	p, q := make([]byte, compareAtOnce), make([]byte, compareAtOnce)
	for {
		n, errA := io.ReadFull(a, p)
		m, errB := io.ReadFull(b, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		ended := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
		switch {
		case ended(errA) && ended(errB):
			return true, nil
		case errA != nil && !ended(errA), errB != nil && !ended(errB):
			return false, errors.Join(errA, errB)
		}
	}
}
