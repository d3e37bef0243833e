// Package memfs is a disk in memory for tests: one whose power can be cut, and
// whose operations can be made to fail.
//
// The model is the one of package durable. A file has bytes as the program sees
// them and bytes that survive; a directory has names as the program sees them and
// names that survive. Sync and SyncDir copy the one to the other. [FS.Crash] and its
// kin cut the power: every open file and every lock is void, and the program sees what
// survived.
package memfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"chancery/internal/durable"
)

// Kind names an operation that can fail.
type Kind string

// The operations.
const (
	Create   Kind = "create" // OpenFile that makes a new file
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	SyncDir  Kind = "syncdir"
	Read     Kind = "read"
)

// Op is one operation about to be carried out. N counts all operations but reads
// from 1, so that a test can fail "the n-th".
type Op struct {
	Kind Kind
	Path string
	N    int
}

// Fault is how an operation fails. The zero Fault is none.
type Fault struct {
	Err error
	// Landed: the operation takes effect in spite of Err.
	Landed bool
	// Short is how many bytes of a Write take effect when it did not land.
	Short int
}

// FS is a disk. It is safe for concurrent use.
type FS struct {
	mu    sync.Mutex
	fault func(Op) Fault
	ops   int
	era   int // counts power cuts; files and locks of an earlier era are void
	locks map[string]int
	dirs  map[string]*dir
}

type dir struct {
	live, kept map[string]*inode
}

type inode struct {
	perm    fs.FileMode
	live    []byte
	kept    []byte
	pending []patch // what happened to live since it equalled kept
}

// patch is a write at an offset, or (data nil) a truncation to it.
type patch struct {
	off  int64
	data []byte
}

// New returns an empty disk with a root directory.
func New() *FS {
	return &FS{locks: map[string]int{}, dirs: map[string]*dir{"/": newDir(), ".": newDir()}}
}

func newDir() *dir { return &dir{live: map[string]*inode{}, kept: map[string]*inode{}} }

// Inject has f decide for each operation whether it fails. Nil ends that.
func (m *FS) Inject(f func(Op) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// Ops returns how many operations (reads not counted) there were so far.
func (m *FS) Ops() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops
}

// Crash cuts the power: what was not synced is lost.
func (m *FS) Crash() { m.cut(false, func(string, []byte) int { return 0 }) }

// CrashTorn cuts the power when, of the bytes that were written since the last sync,
// n have reached the disk, file by file and in order. Names are kept.
func (m *FS) CrashTorn(n int) {
	m.cut(true, func(_ string, data []byte) int {
		if data == nil {
			return n
		}
		k := min(n, len(data))
		n -= k
		return k
	})
}

// CrashKeeping cuts the power when of each write since the last sync as many bytes
// have reached the disk as keep says; a disk may carry out a later write before an
// earlier one. A truncation has nil data, and is carried out for a positive answer.
// Names are kept.
func (m *FS) CrashKeeping(keep func(path string, data []byte) int) { m.cut(true, keep) }

// cut voids open files and locks, and leaves what survives.
func (m *FS) cut(names bool, keep func(path string, data []byte) int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.era++
	m.fault = nil
	m.locks = map[string]int{}
	for at, d := range m.dirs {
		if names {
			d.kept = cloneNames(d.live)
		}
		d.live = cloneNames(d.kept)
		for name, in := range d.live {
			in.tear(filepath.Join(at, name), keep)
		}
	}
}

func cloneNames(names map[string]*inode) map[string]*inode {
	out := make(map[string]*inode, len(names))
	for name, in := range names {
		out[name] = in
	}
	return out
}

func (in *inode) tear(path string, keep func(string, []byte) int) {
	in.live = append([]byte(nil), in.kept...)
	for _, p := range in.pending {
		k := keep(path, p.data)
		switch {
		case p.data == nil && k > 0:
			in.resize(p.off)
		case k > 0:
			in.write(p.off, p.data[:k])
		}
	}
	in.settle()
}

func (in *inode) settle() {
	in.kept = append([]byte(nil), in.live...)
	in.pending = nil
}

func (in *inode) resize(size int64) {
	if size <= int64(len(in.live)) {
		in.live = in.live[:size]
		return
	}
	in.live = append(in.live, make([]byte, size-int64(len(in.live)))...)
}

func (in *inode) write(off int64, p []byte) {
	if end := off + int64(len(p)); end > int64(len(in.live)) {
		in.resize(end)
	}
	copy(in.live[off:], p)
}

// begin counts an operation and asks whether it fails. mu is held.
func (m *FS) begin(kind Kind, p string) Fault {
	if kind != Read {
		m.ops++
	}
	if m.fault == nil {
		return Fault{}
	}
	f := m.fault(Op{Kind: kind, Path: p, N: m.ops})
	if f.Err != nil {
		f.Err = &fs.PathError{Op: string(kind), Path: p, Err: f.Err}
	}
	return f
}

// find returns the directory and the base name of p. mu is held.
func (m *FS) find(op, p string) (*dir, string, error) {
	p = filepath.Clean(p)
	d := m.dirs[filepath.Dir(p)]
	if d == nil {
		return nil, "", &fs.PathError{Op: op, Path: p, Err: fs.ErrNotExist}
	}
	return d, filepath.Base(p), nil
}

// Open opens a file for reading.
func (m *FS) Open(p string) (durable.File, error) { return m.OpenFile(p, os.O_RDONLY, 0) }

// OpenFile opens a file with the flags of package os.
func (m *FS) OpenFile(p string, flag int, perm fs.FileMode) (durable.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, name, err := m.find("open", p)
	if err != nil {
		return nil, err
	}
	in := d.live[name]
	var fault Fault
	switch {
	case in == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	case in != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrExist}
	case in == nil:
		if fault = m.begin(Create, p); fault.Err != nil && !fault.Landed {
			return nil, fault.Err
		}
		in = &inode{perm: perm}
		d.live[name] = in
	case flag&os.O_TRUNC != 0:
		if fault = m.begin(Truncate, p); fault.Err != nil && !fault.Landed {
			return nil, fault.Err
		}
		in.resize(0)
		in.pending = append(in.pending, patch{off: 0})
	}
	if fault.Err != nil {
		return nil, fault.Err
	}
	return &file{fs: m, in: in, path: p, era: m.era, flag: flag}, nil
}

// ReadFile returns a file's whole contents.
func (m *FS) ReadFile(p string) ([]byte, error) {
	f, err := m.Open(p)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// Rename gives a file another name, or a directory, for which it survives at once: that of
// the files in it is another matter.
func (m *FS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[filepath.Clean(from)] != nil {
		return m.renameDir(filepath.Clean(from), filepath.Clean(to))
	}
	d, name, err := m.find("rename", from)
	if err != nil {
		return err
	}
	in := d.live[name]
	if in == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d2, name2, err := m.find("rename", to)
	if err != nil {
		return err
	}
	fault := m.begin(Rename, from)
	if fault.Err == nil || fault.Landed {
		delete(d.live, name)
		d2.live[name2] = in
	}
	return fault.Err
}

// renameDir moves a directory to a name that nothing has. mu is held.
func (m *FS) renameDir(from, to string) error {
	if m.dirs[to] != nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	fault := m.begin(Rename, from)
	if fault.Err != nil && !fault.Landed {
		return fault.Err
	}
	for at, d := range maps.Clone(m.dirs) {
		if rest, ok := strings.CutPrefix(at+"/", from+"/"); ok {
			delete(m.dirs, at)
			m.dirs[filepath.Join(to, rest)] = d
		}
	}
	return fault.Err
}

// Remove takes a file's name away.
func (m *FS) Remove(p string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, name, err := m.find("remove", p)
	if err != nil {
		return err
	}
	if d.live[name] == nil {
		return &fs.PathError{Op: "remove", Path: p, Err: fs.ErrNotExist}
	}
	fault := m.begin(Remove, p)
	if fault.Err == nil || fault.Landed {
		delete(d.live, name)
	}
	return fault.Err
}

// MkdirAll creates directories; they survive at once.
func (m *FS) MkdirAll(p string, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p = filepath.Clean(p); m.dirs[p] == nil; p = filepath.Dir(p) {
		m.dirs[p] = newDir()
	}
	return nil
}

// SyncDir makes a directory's names survive.
func (m *FS) SyncDir(p string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.dirs[filepath.Clean(p)]
	if d == nil {
		return &fs.PathError{Op: "syncdir", Path: p, Err: fs.ErrNotExist}
	}
	fault := m.begin(SyncDir, p)
	if fault.Err == nil || fault.Landed {
		d.kept = cloneNames(d.live)
	}
	return fault.Err
}

// Lock takes the lock on a directory.
func (m *FS) Lock(p string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = filepath.Clean(p)
	if m.dirs[p] == nil {
		return nil, &fs.PathError{Op: "lock", Path: p, Err: fs.ErrNotExist}
	}
	if _, held := m.locks[p]; held {
		return nil, fmt.Errorf("locking %s: %w", p, durable.ErrLocked)
	}
	m.locks[p] = m.era
	return &lock{fs: m, path: p, era: m.era}, nil
}

type lock struct {
	fs   *FS
	path string
	era  int
}

func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.fs.era == l.era {
		delete(l.fs.locks, l.path)
	}
	return nil
}

// Stat describes a file or a directory.
func (m *FS) Stat(p string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[filepath.Clean(p)] != nil {
		return info{name: filepath.Base(p), mode: fs.ModeDir | 0o755}, nil
	}
	d, name, err := m.find("stat", p)
	if err != nil {
		return nil, err
	}
	in := d.live[name]
	if in == nil {
		return nil, &fs.PathError{Op: "stat", Path: p, Err: fs.ErrNotExist}
	}
	return info{name: name, size: int64(len(in.live)), mode: in.perm}, nil
}

// ReadDir lists files and directories, sorted by name.
func (m *FS) ReadDir(p string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p = filepath.Clean(p)
	d := m.dirs[p]
	if d == nil {
		return nil, &fs.PathError{Op: "readdir", Path: p, Err: fs.ErrNotExist}
	}
	var out []fs.DirEntry
	for name, in := range d.live {
		out = append(out, info{name: name, size: int64(len(in.live)), mode: in.perm})
	}
	for q := range m.dirs {
		if q != p && path.Dir(q) == p && !strings.HasPrefix(q, "..") {
			out = append(out, info{name: path.Base(q), mode: fs.ModeDir | 0o755})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name() < out[j].Name() })
	return out, nil
}

// info describes a file; the disk keeps no times.
type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string               { return i.name }
func (i info) Size() int64                { return i.size }
func (i info) Mode() fs.FileMode          { return i.mode }
func (i info) ModTime() time.Time         { return time.Time{} }
func (i info) IsDir() bool                { return i.mode.IsDir() }
func (i info) Sys() any                   { return nil }
func (i info) Type() fs.FileMode          { return i.mode.Type() }
func (i info) Info() (fs.FileInfo, error) { return i, nil }

// errGone is the error of a file that was open when the power was cut.
var errGone = syscall.EIO
