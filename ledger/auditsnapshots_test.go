package ledger

import (
	"context"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
	"chancery/kv/writeset"
)

// TestAuditSnapshots audits CCF's ledgers together with their snapshots, and with ones
// that are not theirs.
func TestAuditSnapshots(t *testing.T) {
	found := snapshotVectors(t)
	audit := func(dir string, files ...SnapshotFile) (*Report, error) {
		return Verify(context.Background(), durable.OS(), []string{dir}, VerifyOptions{Snapshots: files})
	}
	var seven vector
	for _, v := range vectors(t) {
		if v.name == "seven_service recovered" {
			seven = v
		}
		files := found[v.name]
		if len(files) == 0 {
			continue
		}
		r, err := audit(v.dir, files...)
		if err != nil || r.Snapshots != len(files) {
			t.Errorf("%s: %d of %d snapshots fit: %v", v.name, r.Snapshots, len(files), err)
		}
	}
	files := found[seven.name]
	data, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(data []byte, n SnapshotName) SnapshotFile {
		t.Helper()
		f := SnapshotFile{Path: filepath.Join(dir, n.String()), SnapshotName: n}
		if err := os.WriteFile(f.Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	changed := slices.Clone(data)
	changed[len(changed)/4] ^= 1
	name := files[0].SnapshotName
	later, elsewhere := name, name
	later.Evidence += 5
	elsewhere.Seqno--
	for what, f := range map[string]SnapshotFile{
		"changed": put(changed, name), "of another evidence": put(data, later), "of another seqno": put(data, elsewhere),
		"of another service": found["eol_service"][0], "half": put(data[:len(data)/3], SnapshotName{Seqno: 3, Evidence: 4, Committed: true}),
	} {
		_, err := audit(seven.dir, f)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.File != f.Path {
			t.Errorf("a snapshot that is %s: %v", what, err)
		}
	}
}

// TestAuditSnapshotClaims refuses a commitment that its transaction does not claim.
func TestAuditSnapshotClaims(t *testing.T) {
	for what, ok := range map[string]bool{"claimed": true, "unclaimed": false} {
		h := newService(t, elliptic.P256())
		claims := Digest{9}
		evidence := single(SnapshotEvidenceMap, jsonOf(map[string]any{"hash": hex.EncodeToString(claims[:]), "version": 2}))
		if !ok {
			claims = Digest{}
		}
		e, err := Seal(h.secret, h.id(), writeset.WriteSet{evidence}, claims, 0)
		if err != nil {
			t.Fatal(err)
		}
		h.add(e)
		h.sign(0)
		disk := memfs.New()
		h.store(disk)
		_, err = h.verifyAt(disk)
		var corrupt *CorruptError
		if ok && err != nil || !ok && (!errors.As(err, &corrupt) || corrupt.Seqno != e.ID.Seqno) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
