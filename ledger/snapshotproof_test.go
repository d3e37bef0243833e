package ledger

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// proofFixture is a snapshot in a ledger whose evidence commits to its roots.
type proofFixture struct {
	h        *history
	snapshot *Snapshot
	evidence *Entry
}

func newProofFixture(t testing.TB, keys int) *proofFixture {
	t.Helper()
	h := newService(t, elliptic.P256())
	state := &SnapshotState{Seqno: h.tree.Size() - 1, Views: []uint64{1, 1}}
	for i, name := range []string{"b", "c", "public:a", "public:b", "public:z"} {
		m := SnapshotMap{Name: name}
		for k := range keys + i {
			m.Entries = append(m.Entries, SnapshotEntry{Key: fmt.Append(nil, "key ", k), Value: fmt.Append(nil, name, k), Version: uint64(k + 1)})
		}
		if i < 2 {
			state.Private = append(state.Private, m)
		} else {
			state.Public = append(state.Public, m)
		}
	}
	state.Seqno = max(state.Seqno, uint64(keys+5))
	body, err := SealSnapshot(h.secret, state)
	if err != nil {
		t.Fatal(err)
	}
	f := &proofFixture{h: h}
	if f.snapshot, err = ParseSnapshot(body); err != nil {
		t.Fatal(err)
	}
	if err := f.snapshot.Open(h.secret); err != nil {
		t.Fatal(err)
	}
	roots, err := RootsOf(h.secret, &f.snapshot.SnapshotState)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Seal(h.secret, h.id(), writeset.WriteSet{single(SnapshotRootsMap, jsonOf(roots))}, f.snapshot.Digest(), 0)
	if err != nil {
		t.Fatal(err)
	}
	f.evidence = h.add(e)
	sig, err := ParseSignature(h.sign(0))
	if err != nil {
		t.Fatal(err)
	}
	claims := e.Claims
	f.snapshot.Receipt, err = BuildCOSEReceipt(sig.COSE, Leaf{WriteSet: e.WriteSetDigest(), Evidence: CommitEvidence(h.secret, e.ID), Claims: &claims}, h.pathTo(e.ID.Seqno, sig.ID.Seqno))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (h *history) pathTo(i, n uint64) []merkle.Step { return h.tree.Path(i, n) }

// TestSnapshotProofs proves every key of small snapshots, and no key with another's proof.
func TestSnapshotProofs(t *testing.T) {
	for _, keys := range []int{1, 2, 3, 7} {
		f := newProofFixture(t, keys)
		s := f.snapshot
		for _, m := range slices.Concat(s.Public, s.Private) {
			for _, e := range m.Entries {
				p, err := ProveKey(s, f.evidence, f.h.secret, m.Name, e.Key)
				if err != nil {
					t.Fatal(err)
				}
				text, err := json.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				var again SnapshotProof
				if err := json.Unmarshal(text, &again); err != nil {
					t.Fatal(err)
				}
				got, err := again.Verify(f.h.service)
				if err != nil || !bytes.Equal(again.Value, e.Value) {
					t.Fatalf("%s[%s]: %v", m.Name, e.Key, err)
				}
				if d := cmp.Diff(&ProvenKey{Snapshot: s.Seqno, Evidence: f.evidence.ID}, got); d != "" {
					t.Error(d)
				}
				again.Value = append(again.Value, '!')
				if _, err := again.Verify(f.h.service); !errors.Is(err, ErrWrongProof) {
					t.Errorf("%s[%s] with another value: %v", m.Name, e.Key, err)
				}
			}
		}
	}
}

// TestSnapshotProofRefuses asks for what cannot be proved, and changes what a proof
// stands on.
func TestSnapshotProofRefuses(t *testing.T) {
	f, other := newProofFixture(t, 3), newProofFixture(t, 3)
	s := f.snapshot
	for what, prove := range map[string]func() (*SnapshotProof, error){
		"no such map": func() (*SnapshotProof, error) { return ProveKey(s, f.evidence, nil, "public:none", nil) },
		"no such key": func() (*SnapshotProof, error) { return ProveKey(s, f.evidence, nil, "public:a", []byte("none")) },
		"no roots":    func() (*SnapshotProof, error) { return ProveKey(s, f.h.entries[0], nil, "public:a", []byte("key 0")) },
	} {
		if _, err := prove(); !errors.Is(err, ErrNoProof) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ProveKey(s, f.evidence, nil, "b", []byte("key 0")); err == nil {
		t.Error("a private key is proved without its secret")
	}
	p, err := ProveKey(s, f.evidence, nil, "public:a", []byte("key 1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Verify(other.h.service); !errors.Is(err, ErrWrongService) {
		t.Errorf("under another service's certificate: %v", err)
	}
	foreign := *p
	foreign.Evidence, foreign.Receipt = other.evidence.Raw, other.snapshot.Receipt
	if _, err := foreign.Verify(other.h.service); err != nil && !errors.Is(err, ErrWrongProof) {
		t.Errorf("with another service's evidence: %v", err)
	}
	for i := range p.Evidence {
		bad := *p
		bad.Evidence = slices.Clone(p.Evidence)
		bad.Evidence[i] ^= 1
		if _, err := bad.Verify(f.h.service); err == nil {
			t.Fatalf("byte %d of the evidence can be changed", i)
		}
	}
	long := *p
	for range MaxReceiptPath + 1 {
		long.Path = append(long.Path, proofStep{Left: "00"})
	}
	if _, err := long.Verify(f.h.service); !errors.Is(err, ErrWrongProof) {
		t.Errorf("a path that is too long: %v", err)
	}
}
