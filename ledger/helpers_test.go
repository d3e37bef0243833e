package ledger

import (
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/durable/memfs"
)

// copyLedger copies the files of /ledger to a new disk.
func copyLedger(t testing.TB, from *memfs.FS) *memfs.FS {
	t.Helper()
	m := memfs.New()
	if err := m.MkdirAll("/ledger", 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := from.ReadDir("/ledger")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		p := filepath.Join("/ledger", e.Name())
		data, err := from.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, m, p, data)
	}
	return m
}

func writeFile(t testing.TB, m *memfs.FS, path string, data []byte) {
	t.Helper()
	f, err := m.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := m.SyncDir(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
}
