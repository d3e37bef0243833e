package backup

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"chancery/internal/durable"
	"chancery/ledger"
)

// VerifyOptions say which backup is read, and what it is held against.
type VerifyOptions struct {
	FS      durable.FS
	Store   Store
	ID      string            // "" is the newest
	Expect  ledger.Expected   // a transaction that must be in it
	Service *x509.Certificate // the identity that must be in force at its end
	// Progress is called now and then, with bytes.
	Progress func(done, total int64)
}

// Verified is what Verify found.
type Verified struct {
	Manifest *Manifest
	Backups  int // in the store
	Report   *ledger.Report
}

// Verify reads a backup, and believes nothing: each file must be what the manifest says,
// and the whole a ledger that is signed, from its first transaction to the manifest's
// last. Every manifest in the store must find its files, and every file a manifest.
// Errors: ErrUnverified, *ledger.CorruptError, and those of the store.
func Verify(ctx context.Context, o VerifyOptions) (*Verified, error) {
	objects, err := o.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	all, err := manifests(ctx, o.Store, objects)
	if err != nil {
		return nil, err
	}
	m, err := find(all, o.Store, o.ID)
	if err != nil {
		return nil, err
	}
	if err := checkObjects(ctx, o.Store, objects, all); err != nil {
		return nil, err
	}
	r, err := audit(ctx, o, m)
	if err != nil {
		return nil, err
	}
	return &Verified{Manifest: m, Backups: len(all), Report: r}, nil
}

// checkObjects compares what is in the store with what the manifests name.
func checkObjects(ctx context.Context, s Store, objects []Object, all []*Manifest) error {
	named := map[string]File{}
	for _, m := range all {
		named[m.name()] = File{Name: m.name()}
		for _, f := range m.Files {
			if other, ok := named[f.Name]; ok && other != f {
				return fmt.Errorf("%v: %w: two manifests say different things of %s", s, ErrUnverified, f.Name)
			}
			named[f.Name] = f
		}
	}
	if slices.ContainsFunc(objects, func(o Object) bool { return o.Name == progressFile }) {
		p, err := readManifest(ctx, s, progressFile)
		if err != nil {
			return err
		}
		for _, f := range p.Files {
			if _, ok := named[f.Name]; !ok {
				named[f.Name] = File{Name: f.Name} // not of a backup yet
			}
		}
	}
	var errs []error
	for _, o := range objects {
		f, ok := named[o.Name]
		delete(named, o.Name)
		inside := strings.HasPrefix(o.Name, ledgerDir) || strings.HasPrefix(o.Name, snapshotDir) || strings.HasPrefix(o.Name, manifestDir)
		switch {
		case !ok && inside:
			errs = append(errs, fmt.Errorf("%v: %w: %s belongs to no backup: a backup that was interrupted left it, and the next one takes it over; or somebody put it there, and it is to be removed", s, ErrUnverified, o.Name))
		case ok && f.Size != 0 && f.Size != o.Size:
			errs = append(errs, fmt.Errorf("%v: %w: %s has %d bytes, and should have %d; the next backup from a source that has it copies it again", s, ErrUnverified, o.Name, o.Size, f.Size))
		}
	}
	for name, f := range named {
		if f.Size != 0 {
			errs = append(errs, fmt.Errorf("%v: %w: %s is missing; the next backup from a source that has it copies it again", s, ErrUnverified, name))
		}
	}
	return errors.Join(errs...)
}

// audit reads a backup's files, and compares what they are with the manifest.
func audit(ctx context.Context, o VerifyOptions, m *Manifest) (*ledger.Report, error) {
	view := &storeFS{FS: o.FS, ctx: ctx, store: o.Store, files: map[string]File{}}
	defer view.hashing.Wait()
	opts := ledger.VerifyOptions{CommittedOnly: true, Service: o.Service, Expect: o.Expect, Progress: o.Progress}
	for _, f := range m.Files {
		view.files[f.Name] = f
		if n, ok := f.snapshot(); ok {
			opts.Snapshots = append(opts.Snapshots, ledger.SnapshotFile{Path: f.Name, SnapshotName: n})
		}
	}
	if _, local := o.Store.Local(""); !local {
		if err := o.FS.MkdirAll(o.Store.Staging(), 0o700); err != nil {
			return nil, fmt.Errorf("%v: %w", o.Store, err)
		}
	}
	r, err := ledger.Verify(ctx, view, []string{path.Clean(ledgerDir)}, opts)
	view.hashing.Wait()
	// A file that is not what was copied is the cause of what else there is.
	if err := errors.Join(view.failed()...); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%v: backup %s: %w", o.Store, m.ID(), err)
	}
	return r, m.compare(o.Store, r)
}

// compare compares a manifest with what an audit found.
func (m *Manifest) compare(s Store, r *ledger.Report) error {
	found, err := json.Marshal(r.Checkpoint)
	if err != nil {
		return err
	}
	states, err := json.Marshal(m.Checkpoint)
	if err != nil {
		return err
	}
	if r.LastSigned != m.Last() || string(found) != string(states) {
		return fmt.Errorf("%v: %w: the manifest of %s states another end of the ledger, or another history, than its files have; remove it, and make a backup", s, ErrUnverified, m.ID())
	}
	return nil
}

// storeFS shows the files of a backup, and compares those that are read with the manifest.
// A file of a store elsewhere is here for as long as it is open.
type storeFS struct {
	durable.FS
	ctx   context.Context
	store Store
	files map[string]File

	hashing sync.WaitGroup
	mu      sync.Mutex
	errs    []error // guarded by mu
}

func (v *storeFS) failed() []error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.errs
}

func (v *storeFS) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.errs = append(v.errs, err)
}

// changed says that a file is not what the manifest says.
func changed(s Store, f File) error {
	return fmt.Errorf("%v: %w: %s was changed: its SHA-256 is not the one in the manifest; put it back from elsewhere, or remove it: the next backup from a source that has it copies it again", s, ErrUnverified, f.Name)
}

// ReadDir implements durable.FS.
func (v *storeFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	var out []fs.DirEntry
	for name, f := range v.files {
		if path.Dir(name) == dir {
			out = append(out, storedInfo{f})
		}
	}
	return out, nil
}

// Stat implements durable.FS.
func (v *storeFS) Stat(name string) (fs.FileInfo, error) {
	f, ok := v.files[filepath.ToSlash(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return storedInfo{f}, nil
}

// ReadFile implements durable.FS.
func (v *storeFS) ReadFile(name string) ([]byte, error) {
	f, err := v.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// Open implements durable.FS.
func (v *storeFS) Open(name string) (durable.File, error) {
	f, ok := v.files[filepath.ToSlash(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if at, ok := v.store.Local(f.Name); ok {
		v.hashing.Go(func() {
			h := sha256.New()
			if err := v.store.Get(v.ctx, f.Name, contextWriter{v.ctx, h}); err != nil {
				v.fail(err)
			} else if hexOf(h.Sum(nil)) != f.SHA256 {
				v.fail(changed(v.store, f))
			}
		})
		return v.FS.Open(at)
	}
	at := filepath.Join(v.store.Staging(), "read-"+path.Base(f.Name))
	if err := bring(v.ctx, v.FS, v.store, f, at); err != nil {
		v.fail(err)
		return nil, err
	}
	file, err := v.FS.Open(at)
	return passing{file, v.FS, at}, err
}

// contextWriter ends with a context.
type contextWriter struct {
	ctx context.Context
	io.Writer
}

// Write implements io.Writer.
func (w contextWriter) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.Writer.Write(p)
}

// passing is a file that is removed when it is closed.
type passing struct {
	durable.File
	fs   durable.FS
	path string
}

// Close implements durable.File.
func (p passing) Close() error { return errors.Join(p.File.Close(), p.fs.Remove(p.path)) }

// bring copies a file of a backup to path, and compares it with the manifest. Where it
// fails there is no file.
func bring(ctx context.Context, fsys durable.FS, s Store, f File, to string) (err error) {
	file, err := fsys.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fsys.Remove(to))
		}
	}()
	h := sha256.New()
	w := &tee{file: file, left: f.Size, hash: h, wrote: func(int64) {}}
	err = s.Get(ctx, f.Name, contextWriter{ctx, w})
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		if errors.Is(err, errTooLong) {
			return fmt.Errorf("%v: %w: %s has more than the %d bytes that the manifest says", s, ErrUnverified, f.Name, f.Size)
		}
		return err
	}
	if w.left != 0 {
		return fmt.Errorf("%v: %w: of %s %d bytes came, and the manifest says %d: it was cut, or the store lies about its size", s, ErrUnverified, f.Name, f.Size-w.left, f.Size)
	}
	if hexOf(h.Sum(nil)) != f.SHA256 {
		return changed(s, f)
	}
	return nil
}
