package memfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disk has a directory with one file "a", of which "syn" is synced, "ced" is not.
func disk(t *testing.T) *FS {
	t.Helper()
	m := New()
	must(t, m.MkdirAll("/d", 0o755))
	f, err := m.OpenFile("/d/a", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.Write([]byte("syn"))
	must(t, err)
	must(t, f.Sync())
	must(t, m.SyncDir("/d"))
	_, err = f.Write([]byte("ced"))
	must(t, err)
	return m
}

func contents(t *testing.T, m *FS, p string) string {
	t.Helper()
	b, err := m.ReadFile(p)
	must(t, err)
	return string(b)
}

func TestCrash(t *testing.T) {
	for name, c := range map[string]struct {
		cut  func(*FS)
		want string
	}{
		"lost":      {(*FS).Crash, "syn"},
		"torn":      {func(m *FS) { m.CrashTorn(2) }, "synce"},
		"landed":    {func(m *FS) { m.CrashTorn(100) }, "synced"},
		"scattered": {func(m *FS) { m.CrashKeeping(func(_ string, b []byte) int { return len(b) - 2 }) }, "sync"},
	} {
		t.Run(name, func(t *testing.T) {
			m := disk(t)
			f, err := m.Open("/d/a")
			must(t, err)
			lock, err := m.Lock("/d")
			must(t, err)
			c.cut(m)
			if got := contents(t, m, "/d/a"); got != c.want {
				t.Errorf("contents %q, want %q", got, c.want)
			}
			if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
				t.Errorf("a file opened before the crash: %v", err)
			}
			if _, err := m.Lock("/d"); err != nil {
				t.Errorf("a lock taken before the crash: %v", err)
			}
			must(t, lock.Close())
			if _, err := m.Lock("/d"); err == nil {
				t.Error("closing a lock of before the crash let go of a new one")
			}
		})
	}
}

func TestNamesNeedSyncDir(t *testing.T) {
	m := disk(t)
	must(t, m.Rename("/d/a", "/d/b"))
	m.Crash()
	if got := contents(t, m, "/d/a"); got != "syn" {
		t.Errorf("contents %q", got)
	}
	if _, err := m.Stat("/d/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the new name survived: %v", err)
	}
	must(t, m.Rename("/d/a", "/d/b"))
	must(t, m.SyncDir("/d"))
	m.Crash()
	if got := contents(t, m, "/d/b"); got != "syn" {
		t.Errorf("contents %q", got)
	}
}

func TestTruncateIsLostToo(t *testing.T) {
	m := disk(t)
	f, err := m.OpenFile("/d/a", os.O_RDWR, 0)
	must(t, err)
	must(t, f.Truncate(1))
	m.Crash()
	if got := contents(t, m, "/d/a"); got != "syn" {
		t.Errorf("contents %q", got)
	}
}

func TestInject(t *testing.T) {
	m := disk(t)
	f, err := m.OpenFile("/d/a", os.O_RDWR, 0)
	must(t, err)
	var fault Fault
	m.Inject(func(op Op) Fault {
		if op.Kind == Write {
			return fault
		}
		return Fault{}
	})
	fault = Fault{Err: syscall.ENOSPC, Short: 1}
	if n, err := f.WriteAt([]byte("XYZ"), 0); n != 1 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a short write: %d, %v", n, err)
	}
	fault = Fault{Err: syscall.EIO, Landed: true}
	if n, err := f.WriteAt([]byte("Z"), 2); n != 1 || !errors.Is(err, syscall.EIO) {
		t.Errorf("a write that landed: %d, %v", n, err)
	}
	if got := contents(t, m, "/d/a"); got != "XyZced" {
		t.Errorf("contents %q", got)
	}
	m.Inject(nil)
	if _, err := f.Write([]byte("w")); err != nil {
		t.Errorf("after the end of the faults: %v", err)
	}
	ro, err := m.Open("/d/a")
	must(t, err)
	if _, err := ro.Write([]byte("w")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("writing to a file opened for reading: %v", err)
	}
}
