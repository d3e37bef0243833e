package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
)

// disks are the implementations that must behave alike.
func disks(t *testing.T) map[string]struct {
	fs   durable.FS
	root string
} {
	m := memfs.New()
	if err := m.MkdirAll("/d", 0o755); err != nil {
		t.Fatal(err)
	}
	return map[string]struct {
		fs   durable.FS
		root string
	}{"os": {durable.OS(), t.TempDir()}, "mem": {m, "/d"}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestConformance is what the program relies on, of either disk.
func TestConformance(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(d.root, "sub", "file")
			if _, err := d.fs.Open(p); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("opening nothing: %v", err)
			}
			if _, err := d.fs.Stat(p); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("describing nothing: %v", err)
			}
			must(t, d.fs.MkdirAll(filepath.Dir(p), 0o755))
			f, err := d.fs.OpenFile(p, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			must(t, err)
			if _, err := d.fs.OpenFile(p, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
				t.Errorf("creating what exists: %v", err)
			}
			_, err = f.Write([]byte("hello"))
			must(t, err)
			_, err = f.WriteAt([]byte("J"), 0)
			must(t, err)
			_, err = f.WriteAt([]byte("!"), 7)
			must(t, err)
			must(t, f.Sync())
			must(t, d.fs.SyncDir(filepath.Dir(p)))
			if size, err := f.Size(); err != nil || size != 8 {
				t.Errorf("size %d, %v", size, err)
			}
			b := make([]byte, 4)
			if n, err := f.ReadAt(b, 6); n != 2 || err != io.EOF {
				t.Errorf("reading across the end: %d, %v", n, err)
			}
			must(t, f.Truncate(5))
			must(t, f.Close())
			if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("closing twice: %v", err)
			}
			if b, err := d.fs.ReadFile(p); err != nil || string(b) != "Jello" {
				t.Errorf("contents %q, %v", b, err)
			}
			to := filepath.Join(filepath.Dir(p), "other")
			must(t, d.fs.Rename(p, to))
			entries, err := d.fs.ReadDir(filepath.Dir(p))
			if err != nil || len(entries) != 1 || entries[0].Name() != "other" {
				t.Errorf("listing: %v, %v", entries, err)
			}
			top, err := d.fs.ReadDir(d.root)
			if err != nil || len(top) != 1 || !top[0].IsDir() {
				t.Errorf("listing the top: %v, %v", top, err)
			}
			must(t, d.fs.Remove(to))
			if err := d.fs.Remove(to); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("removing nothing: %v", err)
			}
			lock, err := d.fs.Lock(d.root)
			must(t, err)
			if _, err := d.fs.Lock(d.root); !errors.Is(err, durable.ErrLocked) {
				t.Errorf("locking twice: %v", err)
			}
			must(t, lock.Close())
			lock, err = d.fs.Lock(d.root)
			must(t, err)
			must(t, lock.Close())
		})
	}
}

// TestWriteFileAtomicCrash fails each operation in both ways and cuts the power: the
// file holds the old contents or the new, and the new if the call succeeded.
func TestWriteFileAtomicCrash(t *testing.T) {
	for op := 1; ; op++ {
		done := false
		for _, landed := range []bool{false, true} {
			for _, torn := range []int{0, 3, 1000} {
				t.Run(fmt.Sprintf("op=%d/landed=%t/torn=%d", op, landed, torn), func(t *testing.T) {
					m := memfs.New()
					must(t, m.MkdirAll("/d", 0o755))
					must(t, durable.WriteFileAtomic(m, "/d/f", []byte("old contents"), 0o600))
					before := m.Ops()
					m.Inject(func(o memfs.Op) memfs.Fault {
						if o.N == before+op {
							return memfs.Fault{Err: syscall.EIO, Landed: landed, Short: 2}
						}
						return memfs.Fault{}
					})
					err := durable.WriteFileAtomic(m, "/d/f", []byte("new contents"), 0o600)
					done = done || m.Ops() < before+op
					m.CrashTorn(torn)
					got, readErr := m.ReadFile("/d/f")
					must(t, readErr)
					if s := string(got); s != "new contents" && (err == nil || s != "old contents") {
						t.Errorf("after %v the file holds %q", err, s)
					}
					must(t, durable.WriteFileAtomic(m, "/d/f", []byte("third contents"), 0o600))
				})
			}
		}
		if done {
			return
		}
	}
}

func TestWriteFileAtomicErrors(t *testing.T) {
	m := memfs.New()
	if err := durable.WriteFileAtomic(m, "/nowhere/f", nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no directory: %v", err)
	}
	dir := t.TempDir()
	p := filepath.Join(dir, "f")
	must(t, durable.WriteFileAtomic(durable.OS(), p, []byte("x"), 0o600))
	info, err := os.Stat(p)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("a temporary file is left: %v", entries)
	}
}
