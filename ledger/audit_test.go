package ledger

import (
	"context"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
	"chancery/kv/writeset"
)

// chunkOf returns the bytes of a chunk with the given entries.
func chunkOf(entries []*Entry, closed bool) []byte {
	b := make([]byte, chunkHeaderSize)
	var positions []uint32
	for _, e := range entries {
		positions = append(positions, uint32(len(b)))
		b = append(b, e.Raw...)
	}
	if closed {
		binary.LittleEndian.PutUint64(b, uint64(len(b)))
		b = appendPositions(b, positions)
	}
	return b
}

// files is a ledger directory by file name.
func files(t testing.TB, contents map[string][]byte) *memfs.FS {
	t.Helper()
	m := memfs.New()
	if err := m.MkdirAll("/ledger", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range contents {
		writeFile(t, m, filepath.Join("/ledger", name), data)
	}
	return m
}

// reflagged seals a transaction of the history again under other flags, in its place.
func (h *history) reflagged(i int, flags Flags) *Entry {
	h.t.Helper()
	e := h.entries[i]
	ws, err := e.Open(h.secret)
	if err != nil {
		h.t.Fatal(err)
	}
	again, err := Seal(h.secret, e.ID, sorted(ws), e.Claims, flags)
	if err != nil {
		h.t.Fatal(err)
	}
	return again
}

// TestVerifyFlags: flags that contradict where the entry stands.
func TestVerifyFlags(t *testing.T) {
	h := newService(t, elliptic.P256()) // 1 to 4; 2 and 4 are signatures
	h.span(1, 0)                        // 5 and 6
	e := h.entries
	last := h.reflagged(5, ForceChunkAfter)
	cases := map[string]struct {
		files map[string][]byte
		want  string
	}{
		"begins no chunk": {map[string][]byte{
			"ledger_1": chunkOf([]*Entry{e[0], e[1], h.reflagged(2, ForceChunkBefore)}, false),
		}, "it is flagged to begin a chunk, and does not"},
		"begins behind no signature": {map[string][]byte{
			"ledger_1-3.committed": chunkOf(e[:3], true),
			"ledger_4":             chunkOf([]*Entry{h.reflagged(3, ForceChunkBefore)}, false),
		}, "the chunk does not end in a signature"},
		"ends no chunk": {map[string][]byte{
			"ledger_1": chunkOf([]*Entry{e[0], h.reflagged(1, ForceChunkAfter), e[2]}, false),
		}, "it is flagged to end a chunk, and does not"},
		"ends a chunk, and is no signature": {map[string][]byte{
			"ledger_1": chunkOf([]*Entry{e[0], e[1], h.reflagged(2, ForceChunkAfter)}, false),
		}, "is not a signature"},
		"chunk ends in no signature": {map[string][]byte{
			"ledger_1-5.committed": chunkOf(e[:5], true),
		}, "the chunk does not end in a signature"},
		"closing cut off": {map[string][]byte{
			"ledger_1": chunkOf([]*Entry{e[0], e[1], e[2], e[3], e[4], last}, false),
		}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			report, err := h.verifyAt(files(t, c.files))
			if c.want == "" {
				if err != nil || len(report.Findings) != 1 || report.Findings[0].ID != last.ID {
					t.Errorf("%v, findings %v", err, report.Findings)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestVerifyNamesTheFirst: of several violations the one with the lowest seqno is
// returned, whichever goroutine finds which first.
func TestVerifyNamesTheFirst(t *testing.T) {
	h := newService(t, elliptic.P384())
	h.tamper(SignaturesMap, func(v map[string]any) { v["sig"] = v["sig"].(string)[:8] }) // 5 and 6
	h.signed = 6
	h.tamper(SignaturesMap, func(v map[string]any) { v["root"] = strings.Repeat("ab", 32) }) // 7 and 8
	m := memfs.New()
	h.store(m)
	for range 20 {
		_, err := h.verifyAt(m)
		var c *CorruptError
		if !errors.As(err, &c) || c.Seqno != 6 {
			t.Fatalf("%v, want entry 6", err)
		}
	}
}

func TestVerifyCanceled(t *testing.T) {
	_, m := stored(t)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if _, err := Verify(ctx, m, []string{"/ledger"}, VerifyOptions{}); !errors.Is(err, why) {
		t.Errorf("%v, want the cause", err)
	}
}

func TestVerifyProgress(t *testing.T) {
	h, m := stored(t)
	var calls [][2]int64
	report, err := Verify(context.Background(), m, []string{"/ledger"}, VerifyOptions{
		Workers:  1,
		Progress: func(done, total int64) { calls = append(calls, [2]int64{done, total}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(calls); n == 0 || calls[n-1] != [2]int64{report.Bytes, report.Bytes} {
		t.Errorf("progress %v, %d bytes", calls, report.Bytes)
	}
	if report.Entries != len(h.entries) || report.Opened != 0 {
		t.Errorf("%d entries, %d opened", report.Entries, report.Opened)
	}
}

// TestVerifyBesideTheWriter: auditing the directory of a node that runs.
func TestVerifyBesideTheWriter(t *testing.T) {
	h := newService(t, elliptic.P256())
	for i := range 40 {
		h.span(1, Flags(i%2)*ForceChunkAfter)
	}
	dir := t.TempDir()
	d, err := OpenDir(durable.OS(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	spans := h.spans()
	appendSpan(t, d, spans[0])
	done := make(chan error, 1)
	go func() {
		_, err := drive(d, spans)
		done <- err
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		r, err := Verify(context.Background(), durable.OS(), []string{dir}, VerifyOptions{Service: h.service})
		if err != nil {
			t.Fatalf("through %v: %v", r.Last, err)
		}
	}
}

func TestVerifyOfNothing(t *testing.T) {
	if _, err := Verify(context.Background(), memfs.New(), nil, VerifyOptions{}); err == nil {
		t.Error("no directory verifies")
	}
	if _, err := Verify(context.Background(), memfs.New(), []string{"/none"}, VerifyOptions{}); err == nil {
		t.Error("a directory that is not there verifies")
	}
	if err := verifyError(files(t, nil)); err == nil {
		t.Error("an empty directory verifies")
	}
	h := newService(t, elliptic.P256())
	unsigned := files(t, map[string][]byte{"ledger_1": chunkOf(h.entries[:1], false)})
	if err := verifyError(unsigned); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a ledger without a signature: %v", err)
	}
	onlyOpen := files(t, map[string][]byte{"ledger_1": chunkOf(h.entries, false)})
	if _, err := Verify(context.Background(), onlyOpen, []string{"/ledger"}, VerifyOptions{CommittedOnly: true}); err == nil {
		t.Error("no committed chunk verifies")
	}
	late := files(t, map[string][]byte{"ledger_3-4.committed": chunkOf(h.entries[2:4], true)})
	if err := verifyError(late); err == nil || !strings.Contains(err.Error(), "1 to 2") {
		t.Errorf("a ledger without its beginning: %v", err)
	}
}

// TestSignatureShapes: transactions that touch a signature map and are no signature.
func TestSignatureShapes(t *testing.T) {
	h := newService(t, elliptic.P256())
	ws := h.signature()
	node := string(ws.Map(SignaturesMap).Writes[0].Value)
	text := string(ws.Map(COSESignaturesMap).Writes[0].Value)
	with := func(name, value string) writeset.WriteSet { return replaced(ws, name, []byte(value)) }
	cases := map[string]writeset.WriteSet{
		"only a node signature":   {ws[1]},
		"no signature":            {ws[2], {Name: SignaturesMap, Removes: [][]byte{singleKey}}},
		"a private map beside":    append(writeset.WriteSet{{Name: "a", Removes: [][]byte{{1}}}}, ws...),
		"the same map twice":      {ws[1], ws[1], ws[2]},
		"COSE twice":              {ws[0], ws[0], ws[2]},
		"another key":             {ws[0], ws[1], {Name: TreeMap, Writes: []writeset.Write{{Key: []byte{1}, Value: ws[2].Writes[0].Value}}}},
		"a read version":          {ws[0], ws[1], {Name: TreeMap, ReadVersion: 3, Writes: ws[2].Writes}},
		"JSON cut":                with(SignaturesMap, node[:40]),
		"JSON with a space":       with(SignaturesMap, " "+node),
		"JSON with another field": with(SignaturesMap, strings.Replace(node, `{`, `{"a":1,`, 1)),
		"another nonce":           with(SignaturesMap, strings.Replace(node, `"hashed_nonce":"0`, `"hashed_nonce":"1`, 1)),
		"a short root":            with(SignaturesMap, strings.Replace(node, `"root":"`+node[strings.Index(node, `"root":"`)+8:][:2], `"root":"`, 1)),
		"no node":                 with(SignaturesMap, strings.Replace(node, h.signer.NodeID, "", 1)),
		"COSE not base64":         with(COSESignaturesMap, `"****"`),
		"COSE empty":              with(COSESignaturesMap, `""`),
		"COSE not a string":       with(COSESignaturesMap, `7`),
		"COSE escaped":            with(COSESignaturesMap, strings.Replace(text, text[1:2], fmt.Sprintf(`\u%04x`, text[1]), 1)),
		"tree cut":                with(TreeMap, string(ws[2].Writes[0].Value[:40])),
		"an older tree":           with(TreeMap, string(h.tree.AppendTo(nil, 0)[:16+32])),
	}
	for name, ws := range cases {
		t.Run(name, func(t *testing.T) {
			e, err := Seal(h.secret, h.id(), ws, Digest{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !IsSignature(e.Public) {
				t.Fatal("it touches no signature map")
			}
			if s, err := ParseSignature(e); !errors.Is(err, ErrSignatureShape) {
				t.Errorf("parsed as %+v, %v", s, err)
			}
		})
	}
	for name, flags := range map[string]Digest{"claims": {1}} {
		e, err := Seal(h.secret, h.id(), ws, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseSignature(e); !errors.Is(err, ErrSignatureShape) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFilesChangedUnderTheReader: the host edits a file while the node runs. Reading
// what was changed says so, if it does not even have the form of an entry; another
// entry of the right form is for the caller to find by its leaf.
func TestFilesChangedUnderTheReader(t *testing.T) {
	h, m := stored(t)
	d := openDir(t, m)
	closed, open := read(t, m, "ledger_5-7.committed"), read(t, m, "ledger_11")
	table := int(binary.LittleEndian.Uint64(closed))
	changed := func(b []byte, off int, v byte) []byte {
		b = slices.Clone(b)
		b[off] = v
		return b
	}
	cases := map[string]struct {
		name  string
		data  []byte
		seqno uint64
	}{
		"entry of a closed chunk":  {"ledger_5-7.committed", changed(closed, 8, 9), 5},
		"its position":             {"ledger_5-7.committed", changed(closed, table, 0), 5},
		"position behind the end":  {"ledger_5-7.committed", changed(closed, table+7, 0xff), 5},
		"position of its neighbor": {"ledger_5-7.committed", changed(closed, table, closed[table+4]), 5},
		"entry of the open chunk":  {"ledger_11", changed(open, 8, 9), 11},
		"closed chunk cut":         {"ledger_5-7.committed", closed[:100], 5},
		"open chunk cut":           {"ledger_11", open[:20], 11},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := read(t, m, c.name)
			writeFile(t, m, filepath.Join("/ledger", c.name), c.data)
			if e, err := d.Read(c.seqno); err == nil {
				t.Errorf("read as %v", e.ID)
			}
			failed := false
			for _, err := range d.Entries(c.seqno) {
				failed = failed || err != nil
			}
			if !failed {
				t.Error("streamed without an error")
			}
			writeFile(t, m, filepath.Join("/ledger", c.name), before)
		})
	}
	m.Inject(func(o memfs.Op) memfs.Fault {
		if o.Kind == memfs.Read {
			return memfs.Fault{Err: syscall.EIO}
		}
		return memfs.Fault{}
	})
	for _, seqno := range []uint64{5, 11} {
		if _, err := d.Read(seqno); !errors.Is(err, syscall.EIO) {
			t.Errorf("reading %d from a broken disk: %v", seqno, err)
		}
	}
	m.Inject(nil)
	checkDir(t, d, h.entries)
}

func TestSignModeNames(t *testing.T) {
	for m, want := range map[SignMode]string{Dual: "Dual", COSEAllowDualJoin: "CoseAllowDualJoin", COSEOnly: "CoseOnly", 9: "SignMode(9)"} {
		if m.String() != want {
			t.Errorf("%d is %s, want %s", uint8(m), m, want)
		}
	}
}
