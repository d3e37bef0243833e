package durable_test

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"chancery/internal/durable"
)

// TestWatch checks that every operation is told once, with the time it took, and that
// results and errors pass through.
func TestWatch(t *testing.T) {
	var clock time.Time
	now := func() time.Time { clock = clock.Add(time.Millisecond); return clock }
	got := map[string]int{}
	disk := durable.Watch(durable.OS(), now, func(op, path string, took time.Duration) {
		if took != time.Millisecond || path == "" {
			t.Errorf("%s of %q took %v", op, path, took)
		}
		got[op]++
	})
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	if err := durable.WriteFileAtomic(disk, name, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := disk.ReadFile(name); err != nil || string(text) != "text" {
		t.Errorf("read %q, %v", text, err)
	}
	f, err := disk.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if n, err := f.ReadAt(b, 0); n != 4 || err != nil {
		t.Errorf("ReadAt: %d, %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := disk.ReadDir(dir); err != nil {
		t.Error(err)
	}
	if err := disk.Remove(name); err != nil {
		t.Error(err)
	}
	if _, err := disk.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening what was removed: %v", err)
	}
	want := map[string]int{
		durable.OpOpen: 3, durable.OpWrite: 1, durable.OpSync: 2, durable.OpRename: 1,
		durable.OpRead: 2, durable.OpList: 1, durable.OpRemove: 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	for op := range got {
		found := false
		for _, known := range durable.Ops() {
			found = found || known == op
		}
		if !found {
			t.Errorf("Ops has no %s", op)
		}
	}
}
