package raftfsm

import (
	"strings"
	"testing"

	"chancery/kv/writeset"
	"chancery/ledger"
)

// TestSnapshotMarks checks that a wish for a snapshot, and for the end of a chunk, goes
// with the transaction that it came with when that is rolled back, and that a backup
// learns from the evidence when the last snapshot was taken.
func TestSnapshotMarks(t *testing.T) {
	a := newAuthor(t)
	r, _ := follower(t, a)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.take(a.batch(2, 2, true)); err != nil {
		t.Fatal(err)
	}
	speculate := func(ws writeset.WriteSet, s Submission) {
		t.Helper()
		e := a.seal(2, ws)
		if _, err := r.cfg.Store.Apply(e.ID, ws); err != nil {
			t.Fatal(err)
		}
		r.extend(e, s)
		r.head = e.ID
	}
	some := writeset.WriteSet{{Name: "t", Writes: []writeset.Write{{Key: []byte("k"), Value: []byte("v")}}}}
	speculate(some, Submission{ForceSnapshot: true, ForceChunk: true})
	speculate(some, Submission{})
	if m := r.mark(); !m.forceSnapshot || !m.forceChunk {
		t.Fatalf("what was asked for is not remembered: %+v", m)
	}
	r.discardAfter(r.committed.Seqno)
	if m := r.mark(); m.forceSnapshot || m.forceChunk || m.snapshotAt != 0 {
		t.Errorf("what was rolled back is still asked for: %+v", m)
	}

	a.rewind(r.committed.Seqno)
	evidence := writeset.WriteSet{{Name: ledger.SnapshotEvidenceMap, Writes: []writeset.Write{{
		Key: make([]byte, 8), Value: []byte(`{"hash":"` + strings.Repeat("a", 64) + `","version":3}`),
	}}}}
	b := a.batch(3, 1, false)
	b.entries = append(b.entries, a.seal(3, evidence))
	if err := r.take(b); err != nil {
		t.Fatal(err)
	}
	if m := r.mark(); m.snapshotAt != 3 {
		t.Errorf("after the evidence of a snapshot at 3: %+v", m)
	}
}
