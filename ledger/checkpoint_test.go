package ledger

import (
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/ccftest"
	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
	"chancery/ledger/merkle"
)

// through audits what a disk holds, from a checkpoint that went through JSON.
func through(t *testing.T, fsys durable.FS, dir string, opts VerifyOptions) (*Report, error) {
	t.Helper()
	if opts.Checkpoint != nil {
		text, err := json.Marshal(opts.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		opts.Checkpoint = new(Checkpoint)
		if err := json.Unmarshal(text, opts.Checkpoint); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	return Verify(t.Context(), fsys, []string{dir}, opts)
}

// TestCheckpoints audits a growing ledger chunk by chunk, each time from where the audit
// before ended and without the chunks that it covered: the outcome is that of one audit.
func TestCheckpoints(t *testing.T) {
	for _, service := range []string{"acme_containing_service", "seven_service", "double_sealed_service"} {
		t.Run(service, func(t *testing.T) {
			dir := filepath.Join(ccftest.Vectors(t), service)
			if files, err := listChunks(durable.OS(), dir, nil); err != nil || len(files) == 0 {
				dir = filepath.Join(dir, "ledger")
			}
			whole, err := through(t, durable.OS(), dir, VerifyOptions{CommittedOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			files, err := listChunks(durable.OS(), dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			var at *Checkpoint
			entries, findings := 0, 0
			for _, f := range files {
				if !f.name.committed {
					continue
				}
				m := memfs.New()
				copyChunk(t, m, f)
				r, err := through(t, m, "/ledger", VerifyOptions{Checkpoint: at})
				if err != nil {
					t.Fatalf("%s: %v", f.path, err)
				}
				if r.Checkpoint == nil || r.Checkpoint.Last() != r.Last {
					t.Fatalf("%s: no checkpoint at %v", f.path, r.Last)
				}
				at, entries, findings = r.Checkpoint, entries+r.Entries, findings+len(r.Findings)
			}
			if entries != whole.Entries || findings != len(whole.Findings) || at.root != whole.Root || len(at.services) != len(whole.Services) {
				t.Errorf("in parts: %d entries, %d findings, root %x; in one: %d, %d, %x", entries, findings, at.root, whole.Entries, len(whole.Findings), whole.Root)
			}
		})
	}
}

func copyChunk(t *testing.T, m *memfs.FS, f chunkFile) {
	t.Helper()
	data, err := durable.OS().ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.MkdirAll("/ledger", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, m, filepath.Join("/ledger", filepath.Base(f.path)), data)
}

// TestCheckpointRefuses: ledgers that are not the one that was audited.
func TestCheckpointRefuses(t *testing.T) {
	h := newService(t, elliptic.P256())
	h.span(2, ForceChunkAfter)
	h.span(3, ForceChunkAfter)
	h.span(1, 0)
	e := h.entries
	first, second, third := e[:7], e[7:11], e[11:]
	name := func(part []*Entry) string {
		return fmt.Sprintf("ledger_%d-%d.committed", part[0].ID.Seqno, part[len(part)-1].ID.Seqno)
	}
	r, err := through(t, files(t, map[string][]byte{name(first): chunkOf(first, true), name(second): chunkOf(second, true)}), "/ledger", VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := r.Checkpoint
	damaged := chunkOf(third, false)
	damaged[len(damaged)-1] ^= 1
	for what, c := range map[string]struct {
		files map[string][]byte
		want  string // "" for a good one
	}{
		"the rest alone":       {map[string][]byte{"ledger_12": chunkOf(third, false)}, ""},
		"all of it":            {map[string][]byte{name(first): chunkOf(first, true), name(second): chunkOf(second, true), "ledger_12": chunkOf(third, false)}, ""},
		"nothing new":          {map[string][]byte{name(first): chunkOf(first, true), name(second): chunkOf(second, true)}, ""},
		"an older copy":        {map[string][]byte{name(first): chunkOf(first, true)}, "an older copy"},
		"other chunks":         {map[string][]byte{"ledger_1-13.committed": chunkOf(e[:13], true)}, "goes beyond 2.11"},
		"a gap":                {map[string][]byte{"ledger_13": chunkOf(e[12:], false)}, "gap"},
		"another continuation": {map[string][]byte{"ledger_12": chunkOf(h.other(t, 11), false)}, "it signs the root"},
		"damage":               {map[string][]byte{"ledger_12": damaged}, "entry 13"},
	} {
		r, err := through(t, files(t, c.files), "/ledger", VerifyOptions{Checkpoint: at})
		switch {
		case c.want == "" && (err != nil || r.Last.Seqno < 11):
			t.Errorf("%s: %v, at %v", what, err, r.Last)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || r.Checkpoint != nil):
			t.Errorf("%s: %v, want %q and no checkpoint", what, err, c.want)
		}
	}
}

// other is a span behind n entries of another history of the same service.
func (h *history) other(t *testing.T, n int) []*Entry {
	t.Helper()
	fork := *h
	fork.tree, fork.entries, fork.signed = merkle.New(), nil, 0
	fork.tree.Append(merkle.Hash{})
	for _, e := range h.entries[:n-1] {
		fork.tree.Append(e.Leaf())
	}
	fork.tree.Append(merkle.Hash{1})
	fork.span(1, 0)
	return fork.entries
}

func TestVerifyRange(t *testing.T) {
	h := newService(t, elliptic.P256())
	for range 10 {
		h.span(3, 0)
	}
	whole := files(t, map[string][]byte{"ledger_1": chunkOf(h.entries, false)})
	all, err := through(t, whole, "/ledger", VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := through(t, whole, "/ledger", VerifyOptions{From: 20, To: 30})
	if err != nil || r.LastSigned.Seqno < 30 || r.LastSigned.Seqno > 33 || r.Unchecked == 0 || r.Unchecked >= all.NodeSignatures+all.COSESignatures {
		t.Errorf("from 20 to 30: %v, signed through %v, %d signatures not checked", err, r.LastSigned, r.Unchecked)
	}
	if _, err := through(t, whole, "/ledger", VerifyOptions{To: 1000}); !errors.Is(err, ErrUnexpected) {
		t.Errorf("to 1000: %v", err)
	}
	there := h.entries[20].ID
	if _, err := through(t, whole, "/ledger", VerifyOptions{Expect: Expected{ID: there}}); err != nil {
		t.Errorf("expecting %v: %v", there, err)
	}
	for want, expect := range map[string]TxID{
		"an older copy": {View: 2, Seqno: 1000},
		"stands where":  {View: there.View + 1, Seqno: there.Seqno},
	} {
		if _, err := through(t, whole, "/ledger", VerifyOptions{Expect: Expected{ID: expect}}); !errors.Is(err, ErrUnexpected) || !strings.Contains(err.Error(), want) {
			t.Errorf("expecting %v: %v, want %q", expect, err, want)
		}
	}
	bad := chunkOf(h.entries, false)
	bad[len(bad)/4] ^= 1
	if _, err := through(t, files(t, map[string][]byte{"ledger_1": bad}), "/ledger", VerifyOptions{From: 30}); err == nil {
		t.Error("damage before From passes")
	}
}

func FuzzCheckpoint(f *testing.F) {
	h := newService(f, elliptic.P256())
	h.span(1, ForceChunkAfter)
	r, err := Verify(f.Context(), files(f, map[string][]byte{fmt.Sprintf("ledger_1-%d.committed", len(h.entries)): chunkOf(h.entries, true)}), []string{"/ledger"}, VerifyOptions{})
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(r.Checkpoint)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Checkpoint
		if json.Unmarshal(b, &c) != nil {
			return
		}
		if _, err := Verify(t.Context(), memfs.New(), []string{"/"}, VerifyOptions{Checkpoint: &c}); err == nil {
			t.Error("nothing verifies")
		}
	})
}
