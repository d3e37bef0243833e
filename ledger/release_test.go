package ledger

import (
	"crypto/elliptic"
	"errors"
	"testing"

	"chancery/internal/durable/memfs"
)

// TestRelease gives up chunks of which another directory has a copy: the entries stay
// readable, before and after the directory is opened again. Without a true copy nothing
// is given up.
func TestRelease(t *testing.T) {
	fsys, h := memfs.New(), newHistory(t, elliptic.P256())
	d := openDir(t, fsys)
	for range 3 {
		appendSpan(t, d, h.span(3, ForceChunkAfter))
	}
	appendSpan(t, d, h.span(1, 0))
	const first, second = "ledger_1-4.committed", "ledger_5-8.committed"
	for _, dir := range []string{"/empty", "/copies"} {
		if err := fsys.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	content := func(name string) []byte {
		t.Helper()
		b, err := fsys.ReadFile("/ledger/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := content(first)
	damaged := append([]byte(nil), good...)
	damaged[len(damaged)/2] ^= 1
	for name, other := range map[string][]byte{"damaged": damaged, "shorter": good[:len(good)-1], "longer": append(append([]byte(nil), good...), 0), "empty": nil} {
		writeFile(t, fsys, "/copies/"+first, other)
		if err := d.Release(first, []string{"/empty", "/copies"}); !errors.Is(err, ErrNoCopy) {
			t.Errorf("%s copy: %v", name, err)
		}
	}
	if err := d.Release(second, nil); !errors.Is(err, ErrNoCopy) {
		t.Errorf("no copy: %v", err)
	}
	if err := d.Release("ledger_13", []string{"/copies"}); err == nil {
		t.Error("the open chunk was released")
	}
	checkDir(t, d, h.entries)

	writeFile(t, fsys, "/copies/"+first, good)
	writeFile(t, fsys, "/copies/"+second, content(second))
	for _, name := range []string{first, second} {
		if err := d.Release(name, []string{"/empty", "/copies"}); err != nil {
			t.Fatal(err)
		}
		if _, err := fsys.Stat("/ledger/" + name); err == nil {
			t.Errorf("%s is still there", name)
		}
		if err := d.Release(name, []string{"/copies"}); err == nil {
			t.Errorf("%s was released twice", name)
		}
	}
	checkDir(t, d, h.entries)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(fsys, "/ledger", []string{"/empty", "/copies"})
	if err != nil {
		t.Fatal(err)
	}
	checkDir(t, d, h.entries)
	appendSpan(t, d, h.span(1, ForceChunkAfter))
	checkDir(t, d, h.entries)
}
