package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"chancery/internal/durable"
)

// stagingDir is where a directory's new files are until they are whole.
const stagingDir = ".staging"

// dirStore is a directory.
type dirStore struct {
	fs  durable.FS
	dir string
}

// String implements Store.
func (d *dirStore) String() string { return d.dir }

func (d *dirStore) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

// Local implements Store.
func (d *dirStore) Local(name string) (string, bool) { return d.path(name), true }

// Staging implements Store.
func (d *dirStore) Staging() string { return filepath.Join(d.dir, stagingDir) }

// Lock implements Store.
func (d *dirStore) Lock() (io.Closer, error) {
	if err := d.fs.MkdirAll(d.dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := d.fs.Lock(d.dir)
	if errors.Is(err, durable.ErrLocked) {
		err = fmt.Errorf("another backup is being made there: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.dir, err)
	}
	return lock, nil
}

// Put implements Store.
func (d *dirStore) Put(_ context.Context, name, path string) error {
	to := d.path(name)
	if err := d.fs.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("%s: %w", d.dir, err)
	}
	f, err := d.fs.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", d.dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", d.dir, err)
	}
	if err := d.fs.Rename(path, to); err != nil {
		return fmt.Errorf("%s: %w", d.dir, err)
	}
	return d.fs.SyncDir(filepath.Dir(to))
}

// Get implements Store.
func (d *dirStore) Get(_ context.Context, name string, w io.Writer) error {
	f, err := d.fs.Open(d.path(name))
	if err != nil {
		return fmt.Errorf("%s: %w", d.dir, err)
	}
	_, err = io.Copy(w, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", d.path(name), err)
	}
	return nil
}

// List implements Store.
func (d *dirStore) List(context.Context) ([]Object, error) {
	out, err := d.list("")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return out, err
}

func (d *dirStore) list(prefix string) ([]Object, error) {
	entries, err := d.fs.ReadDir(d.path(prefix))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.dir, err)
	}
	var out []Object
	for _, e := range entries {
		name := prefix + e.Name()
		if strings.HasPrefix(e.Name(), ".") {
			continue // our own staging, and what file systems put there
		}
		if e.IsDir() {
			inside, err := d.list(name + "/")
			if err != nil {
				return nil, err
			}
			out = append(out, inside...)
			continue
		}
		info, err := d.fs.Stat(d.path(name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.dir, err)
		}
		out = append(out, Object{Name: name, Size: info.Size()})
	}
	return out, nil
}

// Remove implements Store.
func (d *dirStore) Remove(_ context.Context, name string) error {
	err := d.fs.Remove(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.dir, err)
	}
	return d.fs.SyncDir(filepath.Dir(d.path(name)))
}
