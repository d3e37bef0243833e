package ledger

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"path/filepath"
	"testing"

	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
)

func openDir(t testing.TB, fsys durable.FS) *Dir {
	t.Helper()
	d, err := OpenDir(fsys, "/ledger", nil)
	if err != nil {
		t.Fatalf("opening the ledger directory: %v", err)
	}
	return d
}

func appendSpan(t testing.TB, d *Dir, span []*Entry) {
	t.Helper()
	if err := d.AppendSigned(span); err != nil {
		t.Fatalf("appending the span through %v: %v", span[len(span)-1].ID, err)
	}
}

// checkDir compares what d gives back with the entries that were written.
func checkDir(t testing.TB, d *Dir, want []*Entry) {
	t.Helper()
	if len(want) > 0 && d.Last() != want[len(want)-1].ID {
		t.Errorf("last entry %v, want %v", d.Last(), want[len(want)-1].ID)
	}
	i := 0
	for e, err := range d.Entries(1) {
		if err != nil {
			t.Fatalf("streaming entry %d: %v", i+1, err)
		}
		if i == len(want) {
			t.Fatalf("entry %v was not written", e.ID)
		}
		if !bytes.Equal(e.Raw, want[i].Raw) {
			t.Fatalf("entry %v comes back otherwise", e.ID)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%d entries come back, want %d", i, len(want))
	}
	for _, w := range want {
		e, err := d.Read(w.ID.Seqno)
		if err != nil {
			t.Fatalf("reading %v: %v", w.ID, err)
		}
		if !bytes.Equal(e.Raw, w.Raw) {
			t.Fatalf("entry %v reads otherwise", w.ID)
		}
	}
	if _, err := d.Read(uint64(len(want)) + 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("reading behind the end: %v, want ErrNotFound", err)
	}
}

func names(d *Dir) []string {
	var out []string
	for _, c := range d.Chunks() {
		out = append(out, filepath.Base(c.Path))
	}
	return out
}

func TestDirWritesChunks(t *testing.T) {
	fsys, h := memfs.New(), newHistory(t, elliptic.P256())
	d := openDir(t, fsys)
	appendSpan(t, d, h.span(3, 0))
	appendSpan(t, d, h.span(0, ForceChunkAfter))
	appendSpan(t, d, h.span(2, ForceChunkAfter))
	if d.OpenChunkBytes() != 0 {
		t.Errorf("%d bytes in an open chunk that is not there", d.OpenChunkBytes())
	}
	appendSpan(t, d, h.span(1, 0))
	first := h.write(ForceChunkBefore)
	appendSpan(t, d, []*Entry{first, h.sign(0)})
	if want := uint64(first.Size() + h.entries[len(h.entries)-1].Size()); d.OpenChunkBytes() != want {
		t.Errorf("%d bytes in the open chunk, want %d", d.OpenChunkBytes(), want)
	}
	checkDir(t, d, h.entries)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(fsys, "/ledger", nil); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("opening twice: %v, want ErrLocked", err)
	}
	want := []string{"ledger_1-5.committed", "ledger_6-8.committed", "ledger_9-10.committed", "ledger_11"}
	if got := names(d); !equalStrings(got, want) {
		t.Errorf("chunks %v, want %v", got, want)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	d = openDir(t, fsys)
	if d.Tail() != nil {
		t.Errorf("tail %v", d.Tail())
	}
	checkDir(t, d, h.entries)
	appendSpan(t, d, h.span(1, ForceChunkAfter))
	checkDir(t, d, h.entries)
}

func equalStrings(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
