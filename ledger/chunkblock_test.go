package ledger

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"runtime"
	"runtime/debug"
	"testing"

	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
	"chancery/kv/writeset"
)

// inBlocks has chunks be read so many bytes at a time, or a little more.
func inBlocks(t testing.TB, size int) {
	first, most := firstBlock, maxBlock
	firstBlock, maxBlock = size, 4*size
	t.Cleanup(func() { firstBlock, maxBlock = first, most })
}

// TestInSmallBlocks does the tests of damage again where each chunk takes many blocks, which
// are parsed beside one another.
func TestInSmallBlocks(t *testing.T) {
	inBlocks(t, 128)
	for name, test := range map[string]func(*testing.T){
		"flipped bits": TestFlippedBits, "damaged directories": TestDamagedDirectories, "open chunk cut": TestOpenChunkCutAnywhere,
		"forged signatures": TestForgedSignatures, "forged contents": TestForgedContents, "honest stories": TestHonestStories,
		"open chunk kept": TestDamageInOpenChunkIsKept, "flags": TestVerifyFlags, "the first is named": TestVerifyNamesTheFirst,
		"changed under the reader": TestFilesChangedUnderTheReader, "range": TestVerifyRange,
		"read entries": TestReadEntries, "read entries, errors": TestReadEntriesErrors, "readers beside the writer": TestReadersBesideTheWriter,
		"huge sizes": TestHugeSizesAllocateNothing, "canceled": TestVerifyCanceled, "progress": TestVerifyProgress,
	} {
		t.Run(name, test)
	}
}

// longChunk writes a ledger of one chunk: many small entries, and some that are larger than
// a block.
func longChunk(t *testing.T) (*history, *memfs.FS) {
	h := newService(t, elliptic.P256())
	for i := range 60 {
		h.span(7, 0)
		if i%20 == 3 {
			h.seal(writeset.WriteSet{{Name: "large", Writes: []writeset.Write{{Key: []byte("k"), Value: bytes.Repeat([]byte{byte(i)}, 40_000*(i%20))}}}}, 0)
		}
	}
	h.sign(ForceChunkAfter)
	m := memfs.New()
	h.store(m)
	return h, m
}

// TestLongChunk reads a chunk whole and in parts. Entries may be kept.
func TestLongChunk(t *testing.T) {
	h, m := longChunk(t)
	inBlocks(t, 500)
	d := openDir(t, m)
	defer d.Close()
	var kept []*Entry
	for e, err := range d.EntriesOpened(1, h.secrets()) {
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, e)
	}
	if len(kept) != len(h.entries) {
		t.Fatalf("%d entries of %d", len(kept), len(h.entries))
	}
	for i, e := range kept {
		want := h.entries[i]
		if e.ID != want.ID || e.Leaf() != want.Leaf() || !bytes.Equal(e.Raw, want.Raw) {
			t.Fatalf("another entry %v", want.ID)
		}
		if e.openedBy != h.secret {
			t.Fatalf("entry %v was not opened", want.ID)
		}
		ws, err := e.Open(h.secret)
		again, _ := want.Open(h.secret)
		if err != nil || !bytes.Equal(writeset.AppendMaps(nil, ws), writeset.AppendMaps(nil, again)) {
			t.Fatalf("entry %v opens to something else: %v", want.ID, err)
		}
	}
	for stop := range h.entries {
		next := 0
		for e, err := range d.Entries(1) {
			if err != nil || e.Leaf() != h.entries[next].Leaf() {
				t.Fatalf("entry %d: %v", next, err)
			}
			if next++; next > stop {
				break
			}
		}
	}
	r, err := h.verifyAt(m)
	if err != nil || r.Entries != len(h.entries) || r.Opened != len(h.entries) || r.Root != h.tree.RootAt(r.LastSigned.Seqno) {
		t.Errorf("the audit says %+v, %v", r, err)
	}
}

// TestOpenedAhead: entries are opened with the secret that is in force, whatever was tried
// before it was known.
func TestOpenedAhead(t *testing.T) {
	h := newService(t, elliptic.P256())
	h.span(3, 0)
	h.rekey(h.secret)
	changed := h.entries[len(h.entries)-1].ID.Seqno
	h.span(3, 0)
	stale, err := Seal(h.first, h.id(), writeset.WriteSet{{Name: "private"}}, Digest{}, 0) // with a secret that is in force no more
	if err != nil {
		t.Fatal(err)
	}
	h.add(stale)
	h.sign(ForceChunkAfter)
	m := memfs.New()
	h.store(m)
	d := openDir(t, m)
	defer d.Close()
	secrets := new(Secrets)
	if err := secrets.Add(1, h.first); err != nil {
		t.Fatal(err)
	}
	for e, err := range d.EntriesOpened(1, secrets) {
		if err != nil {
			t.Fatal(err)
		}
		s, err := secrets.At(e.ID.Seqno)
		if err != nil {
			t.Fatal(err)
		}
		switch _, err := e.Open(s); {
		case e.ID == stale.ID && !errors.Is(err, ErrTag):
			t.Errorf("an entry of the secret before: %v", err)
		case e.ID != stale.ID && err != nil:
			t.Errorf("entry %v: %v", e.ID, err)
		}
		if e.ID.Seqno == changed {
			if err := secrets.Add(changed+1, h.secret); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestLargeEntries: of entries that are larger than a block, one is held at a time.
func TestLargeEntries(t *testing.T) {
	h := newService(t, elliptic.P256())
	for i := range 6 {
		h.seal(writeset.WriteSet{{Name: "public:large", Writes: []writeset.Write{{Key: []byte{byte(i)}, Value: make([]byte, 4<<20)}}}}, 0)
	}
	h.sign(ForceChunkAfter)
	dir := t.TempDir()
	d, err := OpenDir(durable.OS(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := drive(d, h.spans()); err != nil {
		t.Fatal(err)
	}
	h.entries = nil
	defer debug.SetGCPercent(debug.SetGCPercent(5)) // so that the heap is what is held
	var most, before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for e, err := range d.Entries(1) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Size() < 4<<20 {
			continue
		}
		runtime.GC()
		var now runtime.MemStats
		if runtime.ReadMemStats(&now); now.HeapAlloc > most.HeapAlloc {
			most = now
		}
	}
	if held := int64(most.HeapAlloc) - int64(before.HeapAlloc); held < 4<<20 || held > 11<<20 {
		t.Errorf("%d MB are held while entries of 4 MB are read", held>>20)
	}
}
