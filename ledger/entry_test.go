package ledger

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"chancery/internal/durable/memfs"
	"chancery/kv/writeset"
)

func TestSealOpen(t *testing.T) {
	s, other := newSecret(t, 1), newSecret(t, 2)
	rapid.Check(t, func(t *rapid.T) {
		ws := drawWriteSet(t)
		id := TxID{View: rapid.Uint64Range(1, maxView).Draw(t, "view"), Seqno: rapid.Uint64Min(1).Draw(t, "seqno")}
		var claims Digest
		copy(claims[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "claims"))
		e, err := Seal(s, id, ws, claims, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseEntry(e.Raw)
		if err != nil {
			t.Fatal(err)
		}
		evidence := sha256.Sum256([]byte(CommitEvidence(s, id)))
		if p.ID != id || p.Claims != claims || p.CommitEvidence != evidence || p.Leaf() != e.Leaf() || p.Size() != e.Size() {
			t.Fatalf("sealed %+v, parsed %+v", e, p)
		}
		digest := p.WriteSetDigest()
		if p.Leaf() != sha256Sum(digest[:], evidence[:], claims[:]) {
			t.Fatal("another leaf")
		}
		got, err := p.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(writeset.AppendMaps(nil, sorted(got)), writeset.AppendMaps(nil, ws)) {
			t.Fatalf("sealed %v, opened %v", ws, got)
		}
		if _, err := p.Open(other); !errors.Is(err, ErrTag) {
			t.Fatalf("opening with another secret: %v", err)
		}
	})
}

func sorted(ws writeset.WriteSet) writeset.WriteSet {
	ws = append(writeset.WriteSet(nil), ws...)
	ws.Sort()
	return ws
}

func drawWriteSet(t *rapid.T) writeset.WriteSet {
	short := rapid.SliceOfN(rapid.Byte(), 0, 12)
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "", "public:a", "public:b", "public:", "publi"}), 0, 5, rapid.ID).Draw(t, "names")
	ws := writeset.WriteSet{}
	for _, n := range names {
		m := writeset.MapWrites{Name: n}
		for range rapid.IntRange(0, 3).Draw(t, "writes") {
			m.Writes = append(m.Writes, writeset.Write{Key: short.Draw(t, "key"), Value: short.Draw(t, "value")})
		}
		for range rapid.IntRange(0, 2).Draw(t, "removes") {
			m.Removes = append(m.Removes, short.Draw(t, "removed"))
		}
		ws = append(ws, m)
	}
	ws.Sort()
	return ws
}

func TestSealRefuses(t *testing.T) {
	s := newSecret(t, 1)
	for _, id := range []TxID{{}, {View: 1}, {Seqno: 1}, {View: maxView + 1, Seqno: 1}} {
		if _, err := Seal(s, id, nil, Digest{}, 0); err == nil {
			t.Errorf("sealed %v", id)
		}
	}
	if _, err := Seal(s, TxID{View: 2, Seqno: 1}, nil, Digest{}, 4); err == nil {
		t.Error("sealed with unknown flags")
	}
}

// TestSealNeverShowsPlaintext: the private value is nowhere in what is written.
func TestSealNeverShowsPlaintext(t *testing.T) {
	s := newSecret(t, 1)
	canary := []byte("canary canary canary")
	e, err := Seal(s, TxID{View: 2, Seqno: 9}, writeset.WriteSet{{Name: "hidden name", Writes: []writeset.Write{{Key: canary, Value: canary}}}}, Digest{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	whole := e.Raw[:cap(e.Raw)]
	for _, secret := range [][]byte{canary, []byte("hidden name"), s.Key()} {
		if bytes.Contains(whole, secret) {
			t.Errorf("the entry shows %q", secret)
		}
	}
}

// TestParseEntryRefuses damages a good entry in every way that its form forbids.
func TestParseEntryRefuses(t *testing.T) {
	s := newSecret(t, 1)
	good, err := Seal(s, TxID{View: 2, Seqno: 9}, writeset.WriteSet{
		{Name: "private", Writes: []writeset.Write{{Key: []byte{1}, Value: []byte{2}}}},
		{Name: "public:x", Writes: []writeset.Write{{Key: []byte{1}, Value: []byte{2}}}},
	}, Digest{1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	publicLen := binary.LittleEndian.Uint64(good.Raw[publicLenOffset:])
	put := func(off int, v uint64, n int) func([]byte) []byte {
		return func(b []byte) []byte {
			for i := range n {
				b[off+i] = byte(v >> (8 * i))
			}
			return b
		}
	}
	cases := map[string]func([]byte) []byte{
		"nothing":                    func([]byte) []byte { return nil },
		"half a header":              func(b []byte) []byte { return b[:4] },
		"header only":                func(b []byte) []byte { return b[:8] },
		"a byte short":               func(b []byte) []byte { return b[:len(b)-1] },
		"a byte more":                func(b []byte) []byte { return append(b, 0) },
		"version 0":                  put(0, 0, 1),
		"version 2":                  put(0, 2, 1),
		"unknown flag":               put(1, 4, 1),
		"size 0":                     put(2, 0, 6),
		"size just below the fixed":  put(2, minEntrySize-entryHeaderSize-1, 6),
		"size near 2^48":             put(2, 1<<48-1, 6),
		"seqno 0":                    put(ivOffset, 0, 8),
		"another seqno in the IV":    put(ivOffset, 10, 8),
		"view 0":                     put(ivOffset+8, 0, 4),
		"a snapshot":                 put(ivOffset+8, 2|snapshotBit, 4),
		"public length 0":            put(publicLenOffset, 0, 8),
		"public length of 16":        put(publicLenOffset, 16, 8),
		"public length beyond":       put(publicLenOffset, uint64(len(good.Raw)), 8),
		"public length overflows":    put(publicLenOffset, 1<<64-1, 8),
		"public length one more":     put(publicLenOffset, publicLen+1, 8),
		"public length one less":     put(publicLenOffset, publicLen-1, 8),
		"ends in the claims":         put(publicLenOffset, 9+31, 8),
		"ends in the evidence":       put(publicLenOffset, 9+32+31, 8),
		"ends before the maps":       put(publicLenOffset, 9+64+7, 8),
		"type 1":                     put(publicOffset, 1, 1),
		"type 5":                     put(publicOffset, 5, 1),
		"another seqno in the body":  put(publicOffset+1, 10, 8),
		"map name longer than it is": put(publicOffset+81, 1<<40, 8),
		"a private map in the clear": put(publicOffset+89, 'q', 1),
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			b := damage(bytes.Clone(good.Raw))
			if e, err := ParseEntry(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("parsed as %+v, %v; want ErrMalformed", e, err)
			}
		})
	}
}

// TestPublicMapInPrivateDomain: a writer that hides a public map is found out.
func TestPublicMapInPrivateDomain(t *testing.T) {
	s := newSecret(t, 1)
	e := &Entry{ID: TxID{View: 2, Seqno: 3}, Type: WriteSetWithEvidenceAndClaims}
	hidden := writeset.WriteSet{{Name: "public:x", Writes: []writeset.Write{{Key: []byte{1}, Value: []byte{2}}}}}
	if err := e.encode(s, hidden); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(s); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v, want ErrMalformed", err)
	}
}

func TestSecrets(t *testing.T) {
	var s Secrets
	if _, err := s.At(1); !errors.Is(err, ErrNoSecret) {
		t.Errorf("from nothing: %v", err)
	}
	if from, last := s.Last(); from != 0 || last != nil {
		t.Errorf("last of nothing: %d", from)
	}
	a, b, c := newSecret(t, 1), newSecret(t, 2), newSecret(t, 3)
	for _, x := range []secretFrom{{20, b}, {5, a}, {40, c}, {20, newSecret(t, 2)}} {
		if err := s.Add(x.from, x.secret); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(20, a); err == nil {
		t.Error("seqno 20 has two secrets")
	}
	for seqno, want := range map[uint64]*Secret{5: a, 19: a, 20: b, 39: b, 40: c, 1 << 60: c} {
		if got, err := s.At(seqno); err != nil || got != want {
			t.Errorf("at %d another secret (%v)", seqno, err)
		}
	}
	if _, err := s.At(4); !errors.Is(err, ErrNoSecret) {
		t.Errorf("before the first: %v", err)
	}
	s.Truncate(39)
	if from, last := s.Last(); from != 20 || last != b {
		t.Errorf("after truncation the last is from %d", from)
	}
	s.Truncate(20)
	var froms []uint64
	for from := range s.All() {
		froms = append(froms, from)
	}
	if d := cmp.Diff([]uint64{5, 20}, froms); d != "" {
		t.Error(d)
	}
}

// TestSecretsAreNotPrinted in any of the ways in which a log or an error might.
func TestSecretsAreNotPrinted(t *testing.T) {
	raw := bytes.Repeat([]byte{'K'}, SecretSize)
	s, err := NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, make([]byte, SecretSize)) {
		t.Error("the caller's copy was not wiped")
	}
	if _, err := NewSecret(make([]byte, 31)); err == nil {
		t.Error("a short secret was taken")
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", s, s, s, s), log.String()} {
		if bytes.Contains([]byte(text), []byte("KKKK")) {
			t.Errorf("printed: %s", text)
		}
	}
}

// TestHugeSizesAllocateNothing: a size field is believed as far as the file reaches.
func TestHugeSizesAllocateNothing(t *testing.T) {
	h, m := stored(t)
	data := read(t, m, "ledger_11")
	binary.LittleEndian.PutUint64(data[chunkHeaderSize:], uint64(1<<47)<<16|1)
	writeFile(t, m, "/ledger/ledger_11", data)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := h.verifyAt(m); err == nil {
		t.Error("accepted")
	}
	d := openDir(t, m)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	if d.Last().Seqno != 10 || d.Tail() == nil || d.Tail().Later == 0 {
		t.Errorf("it opens at %v with the tail %+v", d.Last(), d.Tail())
	}
}

func FuzzParseEntry(f *testing.F) {
	h := newService(f, elliptic.P256())
	h.span(1, ForceChunkAfter)
	for _, e := range h.entries {
		f.Add(e.Raw)
	}
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	s := newSecret(f, 7)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		again := &Entry{ID: e.ID, Flags: e.Flags, Type: e.Type, Claims: e.Claims, CommitEvidence: e.CommitEvidence, MaxConflictVersion: e.MaxConflictVersion, Public: e.Public}
		if err := again.encode(s, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Raw[publicLenOffset:], e.Raw[publicLenOffset:e.publicEnd]) {
			t.Fatal("the public domain is written otherwise")
		}
		if IsSignature(e.Public) {
			if _, err := ParseSignature(e); err != nil && !errors.Is(err, ErrSignatureShape) {
				t.Fatalf("the error is %v", err)
			}
		}
		_, _ = e.Open(s) // whatever it says, it must return
	})
}

// FuzzChunk reads arbitrary bytes as an open and as a closed chunk.
func FuzzChunk(f *testing.F) {
	h := newService(f, elliptic.P256())
	h.span(1, ForceChunkAfter)
	h.span(1, 0)
	m := memfs.New()
	h.store(m)
	for _, name := range []string{"ledger_1-6.committed", "ledger_7"} {
		f.Add(read(f, m, name), true)
		f.Add(read(f, m, name), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, closed bool) {
		m := memfs.New()
		if err := m.MkdirAll("/ledger", 0o755); err != nil {
			t.Fatal(err)
		}
		name := "/ledger/ledger_1"
		if closed {
			name = "/ledger/ledger_1-6.committed"
		}
		writeFile(t, m, name, data)
		verifyErr := verifyError(m)
		var corrupt *CorruptError
		if verifyErr != nil && !errors.As(verifyErr, &corrupt) {
			t.Fatalf("the audit says %v", verifyErr)
		}
		inBlocks(t, 64)
		if again := verifyError(m); fmt.Sprint(again) != fmt.Sprint(verifyErr) {
			t.Fatalf("in small blocks the audit says %v, not %v", again, verifyErr)
		}
		if err := dirError(m); err != nil && !errors.As(err, &corrupt) {
			t.Fatalf("the reader says %v", err)
		}
	})
}
