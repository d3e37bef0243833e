package durable

import (
	"io/fs"
	"time"
)

// The operations that a watched file system tells of.
const (
	OpOpen   = "open"
	OpRead   = "read"
	OpWrite  = "write"
	OpSync   = "sync"
	OpRename = "rename"
	OpRemove = "remove"
	OpList   = "list"
)

// Ops lists the operations, for who counts them by name.
func Ops() []string {
	return []string{OpOpen, OpRead, OpWrite, OpSync, OpRename, OpRemove, OpList}
}

// Watch returns fsys with done called after each operation, with the path that it was
// on and how long it took by now. done is called by whoever uses the file system, from
// many goroutines, and must return at once.
func Watch(fsys FS, now func() time.Time, done func(op, path string, took time.Duration)) FS {
	return watchedFS{FS: fsys, now: now, done: done}
}

type watchedFS struct {
	FS
	now  func() time.Time
	done func(op, path string, took time.Duration)
}

// begin starts the clock of an operation; what it returns stops it.
func (w watchedFS) begin(op, path string) func() {
	from := w.now()
	return func() { w.done(op, path, w.now().Sub(from)) }
}

func (w watchedFS) Open(path string) (File, error) {
	defer w.begin(OpOpen, path)()
	return w.watch(path)(w.FS.Open(path))
}

func (w watchedFS) OpenFile(path string, flag int, perm fs.FileMode) (File, error) {
	defer w.begin(OpOpen, path)()
	return w.watch(path)(w.FS.OpenFile(path, flag, perm))
}

func (w watchedFS) watch(path string) func(File, error) (File, error) {
	return func(f File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return watchedFile{File: f, fs: w, path: path}, nil
	}
}

func (w watchedFS) ReadFile(path string) ([]byte, error) {
	defer w.begin(OpRead, path)()
	return w.FS.ReadFile(path)
}

func (w watchedFS) ReadDir(path string) ([]fs.DirEntry, error) {
	defer w.begin(OpList, path)()
	return w.FS.ReadDir(path)
}

func (w watchedFS) Rename(from, to string) error {
	defer w.begin(OpRename, to)()
	return w.FS.Rename(from, to)
}

func (w watchedFS) Remove(path string) error {
	defer w.begin(OpRemove, path)()
	return w.FS.Remove(path)
}

func (w watchedFS) SyncDir(path string) error {
	defer w.begin(OpSync, path)()
	return w.FS.SyncDir(path)
}

type watchedFile struct {
	File
	fs   watchedFS
	path string
}

func (f watchedFile) Read(p []byte) (int, error) {
	defer f.fs.begin(OpRead, f.path)()
	return f.File.Read(p)
}

func (f watchedFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.fs.begin(OpRead, f.path)()
	return f.File.ReadAt(p, off)
}

func (f watchedFile) Write(p []byte) (int, error) {
	defer f.fs.begin(OpWrite, f.path)()
	return f.File.Write(p)
}

func (f watchedFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.fs.begin(OpWrite, f.path)()
	return f.File.WriteAt(p, off)
}

func (f watchedFile) Truncate(size int64) error {
	defer f.fs.begin(OpWrite, f.path)()
	return f.File.Truncate(size)
}

func (f watchedFile) Sync() error {
	defer f.fs.begin(OpSync, f.path)()
	return f.File.Sync()
}
