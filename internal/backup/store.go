package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chancery/internal/durable"
)

// Store is where backups are kept: files under names with slashes, each of which is there
// as a whole or not at all. Errors name the store. An error for a file that is not there
// is fs.ErrNotExist.
type Store interface {
	// String is how the store is named on a command line.
	fmt.Stringer
	// Put stores the local file at path under a name, and takes it away. When it returns
	// without an error the file is durable, and has the size that it had here.
	Put(ctx context.Context, name, path string) error
	// Get writes a file to w.
	Get(ctx context.Context, name string, w io.Writer) error
	// List lists all files.
	List(ctx context.Context) ([]Object, error)
	// Remove takes a file away; none of that name is no error.
	Remove(ctx context.Context, name string) error
	// Local is the path of a file of that name, where the store is on this machine.
	Local(name string) (path string, ok bool)
	// Staging is a directory on this machine for what is on its way.
	Staging() string
	// Lock keeps other writers out until Close, as far as the store can. It does not
	// wait: the error is durable.ErrLocked where there is one.
	Lock() (io.Closer, error)
}

// Object is a file in a store.
type Object struct {
	Name string
	Size int64
}

// OpenStore opens a store by its name: a directory, or s3://BUCKET/PREFIX.
func OpenStore(fsys durable.FS, name string, o S3Options) (Store, error) {
	if strings.HasPrefix(name, s3Scheme) {
		return openS3(fsys, name, o)
	}
	if scheme, _, ok := strings.Cut(name, "://"); ok {
		return nil, fmt.Errorf("%s: a backup goes to a directory or to s3://BUCKET/PREFIX, not to %s", name, scheme)
	}
	return &dirStore{fs: fsys, dir: filepath.Clean(name)}, nil
}

// read reads a small file.
func read(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if err := s.Get(ctx, name, &limited{w: &b, left: limit}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// limited is a writer that takes so many bytes and no more.
type limited struct {
	w    io.Writer
	left int64
}

var errTooLong = errors.New("it is longer than it should be")

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, errTooLong
	}
	l.left -= int64(len(p))
	return l.w.Write(p)
}

// write stores a small file.
func write(ctx context.Context, fsys durable.FS, s Store, name string, data []byte) error {
	if err := fsys.MkdirAll(s.Staging(), 0o700); err != nil {
		return fmt.Errorf("%v: %w", s, err)
	}
	path := filepath.Join(s.Staging(), "new-"+filepath.Base(name))
	if err := durable.WriteFileAtomic(fsys, path, data, 0o600); err != nil {
		return fmt.Errorf("%v: %w", s, err)
	}
	return s.Put(ctx, name, path)
}

// manifests reads all manifests, the newest first.
func manifests(ctx context.Context, s Store, objects []Object) ([]*Manifest, error) {
	var out []*Manifest
	for _, o := range objects {
		if !strings.HasPrefix(o.Name, manifestDir) {
			continue
		}
		m, err := readManifest(ctx, s, o.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *Manifest) int { return strings.Compare(b.ID(), a.ID()) })
	return out, nil
}

func readManifest(ctx context.Context, s Store, name string) (*Manifest, error) {
	text, err := read(ctx, s, name, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("%v: %s: %w", s, name, err)
	}
	m, err := ParseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%v: %s: %w", s, name, err)
	}
	if name != progressFile && name != m.name() {
		return nil, fmt.Errorf("%v: %s: %w: it is of backup %s", s, name, ErrUnverified, m.ID())
	}
	return m, nil
}

// Manifests lists the backups in a store, the newest first. Errors: ErrUnverified, and
// the store's.
func Manifests(ctx context.Context, s Store) ([]*Manifest, error) {
	objects, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	return manifests(ctx, s, objects)
}

// find returns a backup by its id, or the newest for "".
func find(all []*Manifest, s Store, id string) (*Manifest, error) {
	for _, m := range all {
		if id == "" || m.ID() == id {
			return m, nil
		}
	}
	if id == "" {
		return nil, fmt.Errorf("%v holds no backup: %w", s, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%v holds no backup %s: %w", s, id, fs.ErrNotExist)
}

// Retention says which backups are kept: the newest Count ones, and those that are
// younger than For. With neither, all are. The newest is always kept.
type Retention struct {
	Count int
	For   time.Duration
}

// keeps says whether the backup that has so many newer ones, and is so old, is kept.
func (r Retention) keeps(newer int, age time.Duration) bool {
	if newer == 0 || r.Count == 0 && r.For == 0 {
		return true
	}
	return newer < r.Count || age < r.For
}

// prune removes what r does not keep: first the manifests, then the files that only they
// name. It returns the names of what it removed.
func prune(ctx context.Context, s Store, r Retention, now time.Time) (removed []string, err error) {
	all, err := Manifests(ctx, s)
	if err != nil {
		return nil, err
	}
	kept := map[string]bool{}
	var old []*Manifest
	for i, m := range all {
		if !r.keeps(i, now.Sub(m.Created)) {
			old = append(old, m)
			continue
		}
		for _, f := range m.Files {
			kept[f.Name] = true
		}
	}
	remove := func(name string) error {
		if err := s.Remove(ctx, name); err != nil {
			return err
		}
		removed = append(removed, name)
		return nil
	}
	for _, m := range old {
		if err := remove(m.name()); err != nil {
			return removed, err
		}
	}
	for _, m := range old {
		for _, f := range m.Files {
			if kept[f.Name] {
				continue
			}
			kept[f.Name] = true // removed once
			if err := remove(f.Name); err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}
