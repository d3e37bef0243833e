package ledger

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
)

// stored returns a ledger of the chunks 1-4, 5-7, 8-10 and 11.
func stored(t testing.TB) (*history, *memfs.FS) {
	t.Helper()
	h := newHistory(t, elliptic.P256())
	h.seal(h.created(statusOpening), 0)
	h.span(2, ForceChunkAfter)
	h.span(2, ForceChunkAfter)
	h.span(2, ForceChunkAfter)
	h.span(2, 0)
	h.span(1, 0)
	m := memfs.New()
	h.store(m)
	return h, m
}

func read(t testing.TB, m *memfs.FS, name string) []byte {
	t.Helper()
	b, err := m.ReadFile(filepath.Join("/ledger", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDamagedDirectories: files that are not what their names say, or not where they
// should be. Both readers refuse, and name the file.
func TestDamagedDirectories(t *testing.T) {
	put := func(t *testing.T, m *memfs.FS, name string, data []byte) {
		writeFile(t, m, filepath.Join("/ledger", name), data)
	}
	rename := func(t *testing.T, m *memfs.FS, from, to string) {
		if err := m.Rename(filepath.Join("/ledger", from), filepath.Join("/ledger", to)); err != nil {
			t.Fatal(err)
		}
	}
	header := func(v uint64, data []byte) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, v), data[8:]...)
	}
	cases := map[string]struct {
		damage func(t *testing.T, m *memfs.FS)
		file   string
		want   string
	}{
		"a chunk is missing": {func(t *testing.T, m *memfs.FS) {
			if err := m.Remove("/ledger/ledger_5-7.committed"); err != nil {
				t.Fatal(err)
			}
		}, "ledger_8-10.committed", "5 to 7"},
		"the first chunk is missing, by its name": {func(t *testing.T, m *memfs.FS) {
			rename(t, m, "ledger_1-4.committed", "ledger_2-5.committed")
		}, "", ""},
		"two chunks overlap": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_6-7.committed", read(t, m, "ledger_5-7.committed"))
		}, "ledger_6-7.committed", ""},
		"a chunk is there twice": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_5", read(t, m, "ledger_5-7.committed"))
		}, "", ""},
		"another chunk under the name": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_5-7.committed", read(t, m, "ledger_8-10.committed"))
		}, "ledger_5-7.committed", "stands in the place of seqno 5"},
		"the name says more": {func(t *testing.T, m *memfs.FS) {
			rename(t, m, "ledger_8-10.committed", "ledger_8-11.committed")
		}, "ledger_8-11.committed", "3 positions"},
		"the file is cut": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_5-7.committed", read(t, m, "ledger_5-7.committed")[:700])
		}, "ledger_5-7.committed", "positions table at offset"},
		"the table is cut by one position": {func(t *testing.T, m *memfs.FS) {
			b := read(t, m, "ledger_5-7.committed")
			put(t, m, "ledger_5-7.committed", b[:len(b)-4])
		}, "ledger_5-7.committed", "2 positions"},
		"the table is cut by a byte": {func(t *testing.T, m *memfs.FS) {
			b := read(t, m, "ledger_5-7.committed")
			put(t, m, "ledger_5-7.committed", b[:len(b)-1])
		}, "ledger_5-7.committed", "not a multiple"},
		"the file is empty": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_5-7.committed", nil)
		}, "ledger_5-7.committed", "too short"},
		"the header is zero": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_5-7.committed", header(0, read(t, m, "ledger_5-7.committed")))
		}, "ledger_5-7.committed", "no positions table"},
		"the header points into itself": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_5-7.committed", header(4, read(t, m, "ledger_5-7.committed")))
		}, "ledger_5-7.committed", "inside the header"},
		"the header points behind the file": {func(t *testing.T, m *memfs.FS) {
			put(t, m, "ledger_5-7.committed", header(1<<40, read(t, m, "ledger_5-7.committed")))
		}, "ledger_5-7.committed", "file of"},
		"an open chunk in the middle": {func(t *testing.T, m *memfs.FS) {
			rename(t, m, "ledger_5-7.committed", "ledger_5")
			put(t, m, "ledger_5", header(0, read(t, m, "ledger_5")))
		}, "ledger_5", "open, but another follows"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, m := stored(t)
			c.damage(t, m)
			for reader, err := range map[string]error{"Verify": verifyError(m), "Dir": dirError(m)} {
				var corrupt *CorruptError
				if !errors.As(err, &corrupt) {
					t.Errorf("%s: %v, want a CorruptError", reader, err)
					continue
				}
				if c.file != "" && filepath.Base(corrupt.File) != c.file || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %q of %s", reader, err, c.want, c.file)
				}
			}
		})
	}
}

func verifyError(m *memfs.FS) error {
	_, err := Verify(context.Background(), m, []string{"/ledger"}, VerifyOptions{})
	return err
}

// dirError opens the directory and streams it.
func dirError(m *memfs.FS) error {
	d, err := OpenDir(m, "/ledger", nil)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, err := range d.Entries(1) {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestStrayFilesDoNotCount: what is set aside, or of a recovery that did not end.
func TestStrayFilesDoNotCount(t *testing.T) {
	h, m := stored(t)
	for _, name := range []string{"ledger_1-4.committed.ignored", "ledger_05-7.committed", "ledger_5.recovery", "ledger_5-7.committed.recovery", "snapshot_3_4.committed", ".hidden", "ledger_", "ledger_0", "ledger_7-5.committed"} {
		writeFile(t, m, filepath.Join("/ledger", name), []byte("junk"))
	}
	if _, err := h.verifyAt(m); err != nil {
		t.Error(err)
	}
	d := openDir(t, m)
	checkDir(t, d, h.entries)
}

// TestReadOnlyDirectories: committed chunks may lie elsewhere.
func TestReadOnlyDirectories(t *testing.T) {
	h, m := stored(t)
	if err := m.MkdirAll("/old", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ledger_1-4.committed", "ledger_5-7.committed"} {
		writeFile(t, m, filepath.Join("/old", name), read(t, m, name))
	}
	if err := m.Remove("/ledger/ledger_1-4.committed"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, m, "/old/ledger_11", []byte("an open chunk does not count there"))
	d, err := OpenDir(m, "/ledger", []string{"/old"})
	if err != nil {
		t.Fatal(err)
	}
	checkDir(t, d, h.entries)
	appendSpan(t, d, h.span(1, ForceChunkAfter))
	checkDir(t, d, h.entries)
	report, err := Verify(context.Background(), m, []string{"/ledger", "/old"}, VerifyOptions{Secrets: h.secrets()})
	if err != nil || report.LastSigned != d.Last() {
		t.Errorf("the audit says %v, %v", report.LastSigned, err)
	}
}

// TestDamageInOpenChunkIsKept: an entry in the middle of the open chunk is damaged. It
// opens at the span before; what can still be read behind it is not cut, until the
// spans that Raft's log holds have overwritten it.
func TestDamageInOpenChunkIsKept(t *testing.T) {
	h, _ := stored(t)
	h.span(1, 0)
	h.span(1, 0)
	m := memfs.New()
	h.store(m)
	path := "/ledger/ledger_11"
	whole := read(t, m, "ledger_11")
	at := chunkHeaderSize + h.entries[10].Size() + h.entries[11].Size() + h.entries[12].Size()
	if !bytes.HasPrefix(whole[at:], h.entries[13].Raw) {
		t.Fatal("entry 14 is elsewhere")
	}
	damaged := append([]byte(nil), whole...)
	damaged[at+publicOffset] = 9 // its type
	writeFile(t, m, path, damaged)

	d := openDir(t, m)
	tail := d.Tail()
	if d.Last().Seqno != 13 || tail == nil || tail.Torn || tail.Seqno != 14 || tail.Offset != int64(at) || tail.Later != h.entries[len(h.entries)-1].ID.Seqno {
		t.Fatalf("it opens at %v with the tail %+v", d.Last(), tail)
	}
	if _, err := h.verifyAt(m); err == nil || !strings.Contains(err.Error(), "entry 14") {
		t.Errorf("the audit says %v", err)
	}
	for _, span := range h.spans() {
		if span[0].ID.Seqno <= 13 {
			continue
		}
		appendSpan(t, d, span)
		if got := read(t, m, "ledger_11"); len(got) != len(whole) && d.Tail() != nil {
			t.Errorf("behind %v the file has %d bytes, it had %d", d.Last(), len(got), len(whole))
		}
	}
	if d.Tail() != nil {
		t.Errorf("the tail is still %v", d.Tail())
	}
	if !bytes.Equal(read(t, m, "ledger_11"), whole) {
		t.Error("the chunk was not restored")
	}
}

// TestDropTail cuts on the caller's word.
func TestDropTail(t *testing.T) {
	h, m := stored(t)
	path := "/ledger/ledger_11"
	data := read(t, m, "ledger_11")
	writeFile(t, m, path, append(append([]byte(nil), data...), "something that was never an entry"...))
	d := openDir(t, m)
	if tail := d.Tail(); tail == nil || tail.Torn || tail.Later != 0 {
		t.Errorf("tail %+v", tail)
	}
	if err := d.DropTail(); err != nil {
		t.Fatal(err)
	}
	if d.Tail() != nil || !bytes.Equal(read(t, m, "ledger_11"), data) {
		t.Errorf("the tail is still there: %v", d.Tail())
	}
	checkDir(t, d, h.entries)
}

// TestUnsignedEntries: entries behind the last signature, as CCF leaves them.
func TestUnsignedEntries(t *testing.T) {
	h, m := stored(t)
	signed := len(h.entries)
	data := append(read(t, m, "ledger_11"), h.write(0).Raw...)
	data = append(data, h.write(0).Raw...)
	writeFile(t, m, "/ledger/ledger_11", data)
	report, err := h.verifyAt(m)
	if err != nil || report.Unsigned != 2 || report.Entries != signed+2 || report.LastSigned != h.entries[signed-1].ID {
		t.Errorf("the audit says %+v, %v", report, err)
	}
	d := openDir(t, m)
	if d.Tail() == nil || !d.Tail().Torn {
		t.Errorf("tail %v", d.Tail())
	}
	checkDir(t, d, h.entries[:signed])
}

// TestAppendRefusesMistakes: what no caller should do leaves the ledger as it is.
func TestAppendRefusesMistakes(t *testing.T) {
	h := newService(t, elliptic.P256())
	h.span(2, 0)
	m := memfs.New()
	d := openDir(t, m)
	spans := h.spans()
	appendSpan(t, d, spans[0])
	cases := map[string][]*Entry{
		"nothing":             nil,
		"a gap":               spans[2],
		"what is there":       spans[0],
		"without a signature": spans[1][:1],
		"two signatures":      append(append([]*Entry(nil), spans[1]...), spans[2]...),
		"a gap inside":        {spans[1][0], spans[2][2]},
	}
	for name, span := range cases {
		t.Run(name, func(t *testing.T) {
			if err := d.AppendSigned(span); err == nil {
				t.Error("accepted")
			}
		})
	}
	appendSpan(t, d, spans[1])
	appendSpan(t, d, spans[2])
	checkDir(t, d, h.entries)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.AppendSigned(spans[2]); err == nil {
		t.Error("appending after Close works")
	}
	if err := d.Sync(); err == nil {
		t.Error("syncing after Close works")
	}
}

func TestOpenDirOnRealDisk(t *testing.T) {
	h := workload(t)
	dir := filepath.Join(t.TempDir(), "a", "ledger")
	d, err := OpenDir(durable.OS(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drive(d, h.spans()); err != nil {
		t.Fatal(err)
	}
	checkDir(t, d, h.entries)
	if _, err := OpenDir(durable.OS(), dir, nil); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("opening twice: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(context.Background(), durable.OS(), []string{dir}, VerifyOptions{Secrets: h.secrets(), Service: h.service})
	if err != nil || report.LastSigned != h.entries[len(h.entries)-1].ID {
		t.Errorf("the audit says %v, %v", report.LastSigned, err)
	}
}
