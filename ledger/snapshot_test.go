package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/internal/ccftest"
	"chancery/internal/durable"
)

// snapshotVectors are the snapshots that CCF wrote, with the ledger of each.
func snapshotVectors(t testing.TB) map[string][]SnapshotFile {
	t.Helper()
	dir := ccftest.Vectors(t)
	out := map[string][]SnapshotFile{}
	for _, v := range vectors(t) {
		snapshots := filepath.Join(filepath.Dir(v.dir), strings.Replace(filepath.Base(v.dir), "ledger", "snapshots", 1))
		found, err := ListSnapshots(durable.OS(), snapshots)
		if err != nil {
			t.Fatal(err)
		}
		out[v.name] = found
	}
	if len(out["seven_service"]) != 3 || len(out["seven_service recovered"]) != 5 || len(out["eol_service"]) != 1 {
		t.Fatalf("snapshots found under %s: %v", dir, out)
	}
	return out
}

// TestSnapshotVectors verifies the snapshots that CCF wrote, of versions 5 to 7, opens
// them, and writes the same bytes again.
func TestSnapshotVectors(t *testing.T) {
	found := snapshotVectors(t)
	for _, v := range vectors(t) {
		for _, f := range found[v.name] {
			t.Run(v.name+"/"+f.String(), func(t *testing.T) {
				s, err := ReadSnapshot(durable.OS(), f)
				if err != nil {
					t.Fatal(err)
				}
				service, err := s.Service()
				if err != nil {
					t.Fatal(err)
				}
				id, err := s.VerifyReceipt(service)
				if err != nil || id.Seqno != f.Evidence {
					t.Fatalf("evidence %v: %v", id, err)
				}
				secret, err := v.open(t).At(s.Seqno)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Open(secret); err != nil {
					t.Fatal(err)
				}
				checkSnapshotTree(t, s, v.dir)
				again, err := SealSnapshot(secret, &s.SnapshotState)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(again, s.Body) {
					t.Errorf("written again it has %d bytes, CCF's %d, and they differ", len(again), len(s.Body))
				}
			})
		}
	}
}

// checkSnapshotTree compares leaf and view of the snapshot with the ledger.
func checkSnapshotTree(t *testing.T, s *Snapshot, dir string) {
	t.Helper()
	for e, err := range ReadEntries(durable.OS(), dir, s.Seqno) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID != s.ID() || e.Leaf() != s.Leaf {
			t.Errorf("the ledger has %v, the snapshot is of %v; same leaf: %t", e.ID, s.ID(), e.Leaf() == s.Leaf)
		}
		return
	}
}

func smallSnapshot(t testing.TB) (*Secret, *SnapshotState, []byte) {
	t.Helper()
	secret := newSecret(t, 3)
	state := &SnapshotState{
		Seqno: 12, Leaf: Digest{1, 2, 3}, Views: []uint64{1, 1, 7},
		Public: []SnapshotMap{
			{Name: "public:a", Version: 4, Entries: []SnapshotEntry{{Key: []byte("k"), Value: []byte("value"), Version: 4}}},
			{Name: "public:b", Version: 9, Entries: []SnapshotEntry{{Key: nil, Value: nil, Version: 9}, {Key: []byte("12345678"), Value: []byte("87654321"), Version: 3}}},
		},
		Private: []SnapshotMap{{Name: "p", Version: 5, Entries: []SnapshotEntry{{Key: []byte("secret"), Value: []byte("value"), Version: 5}}}},
	}
	body, err := SealSnapshot(secret, state)
	if err != nil {
		t.Fatal(err)
	}
	return secret, state, body
}

// TestSnapshotDamage flips every bit of a snapshot: each is noticed when it is parsed,
// decrypted, or at the latest by its digest.
func TestSnapshotDamage(t *testing.T) {
	secret, _, body := smallSnapshot(t)
	whole, err := ParseSnapshot(body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(body) * 8 {
		bad := slices.Clone(body)
		bad[i/8] ^= 1 << (i % 8)
		s, err := ParseSnapshot(bad)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("bit %d: %v", i, err)
			}
			continue
		}
		if s.Digest() == whole.Digest() && len(s.Receipt) == 0 {
			t.Fatalf("bit %d does not change the digest", i)
		}
		if i/8 >= entryHeaderSize && s.Open(secret) == nil && i/8 != publicLenOffset {
			t.Fatalf("bit %d passes decryption", i)
		}
	}
	for n := range len(body) {
		if _, err := ParseSnapshot(body[:n]); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// TestSnapshotSizes gives sizes that do not fit: near 2^48, and beyond the file.
func TestSnapshotSizes(t *testing.T) {
	_, _, body := smallSnapshot(t)
	for _, size := range []uint64{0, 1, uint64(len(body)), 1<<48 - 1, 1<<48 - 8} {
		bad := slices.Clone(body)
		binary.LittleEndian.PutUint64(bad, size<<16|1)
		if _, err := ParseSnapshot(bad); !errors.Is(err, ErrSnapshot) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestSnapshotNames(t *testing.T) {
	for base, want := range map[string]SnapshotName{
		"snapshot_19_20.committed": {19, 20, true},
		"snapshot_19_20":           {19, 20, false},
	} {
		if n, ok := ParseSnapshotName(base); !ok || n != want || n.String() != base {
			t.Errorf("%s: %v %t", base, n, ok)
		}
	}
	for _, base := range []string{
		"", "snapshot_", "snapshot_1.committed", "snapshot_1_2_3.committed", "snapshot_2_1.committed", "snapshot_01_2.committed", "snapshot_1_+2.committed",
		"snapshot_1_2.committed.ignored", "snapshot_1_2.committed_3", "Snapshot_1_2.committed", "../snapshot_1_2.committed", "snapshot_1_2.committed/..", "snapshot_-1_2.committed", "snapshot_1_99999999999999999999.committed",
	} {
		if n, ok := ParseSnapshotName(base); ok {
			t.Errorf("%q is taken for %v", base, n)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	secret, _, body := smallSnapshot(f)
	f.Add(body)
	f.Add(append(slices.Clone(body), '{', '}'))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSnapshot(data)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		if len(s.Body)+len(s.Receipt) != len(data) {
			t.Fatal("body and receipt are not the file")
		}
		if err := s.Open(secret); err != nil && !errors.Is(err, ErrTag) && !errors.Is(err, ErrSnapshot) {
			t.Fatal(err)
		}
	})
}
