package raftfsm_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/ledger"
	"chancery/raftfsm"
)

// taking has a node take a snapshot every hundred transactions or so.
func taking(captures *[]raftfsm.Capture) func(*raftfsm.Config) {
	return func(c *raftfsm.Config) {
		c.SnapshotDue = func(seqno, last uint64) bool { return seqno-last > 100 }
		c.Snapshot = func(x raftfsm.Capture) { *captures = append(*captures, x) }
	}
}

// fill commits n transactions, some at a time.
func (c *cluster) fill(n int) {
	c.t.Helper()
	for i := range n {
		if id := c.put(fmt.Sprint(i%40), strings.Repeat("x", 100)); i%9 == 0 {
			c.leader().commit(id)
		}
	}
	c.leader().commit(c.put("filled", fmt.Sprint(n)))
}

// settle waits until something that is written now is committed at a node: the primary may
// have changed meanwhile.
func (c *cluster) settle(at *replica) {
	c.t.Helper()
	var id raftfsm.TxID
	eventually(c.t, func() bool {
		lead := c.leader()
		var err error
		if id, err = lead.try("settle", "1"); err != nil {
			return false
		}
		status, err := lead.Wait(c.t.Context(), id)
		return err == nil && status == ledger.StatusCommitted
	})
	eventually(c.t, func() bool {
		return at.Status(id) == ledger.StatusCommitted
	})
}

// joinFrom has a node join with a captured state.
func (c *cluster) joinFrom(id string, x raftfsm.Capture, edit ...func(*raftfsm.Config)) *replica {
	c.t.Helper()
	return c.add(id, false, append(edit, func(cfg *raftfsm.Config) {
		beginFrom(c.t, x, cfg)
		if err := cfg.Ledger.BeginBehind(x.State.TxID()); err != nil {
			c.t.Fatal(err)
		}
	})...)
}

// sameProofs compares the receipts of two nodes from a seqno on.
func sameProofs(t *testing.T, from uint64, a, b *replica) {
	t.Helper()
	through := a.Position().Committed
	for seqno := from; seqno < through.Seqno; seqno++ {
		id := raftfsm.TxID{View: a.Position().ViewOf(seqno), Seqno: seqno}
		want, err := a.Proof(id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Proof(id)
		if err != nil {
			t.Fatalf("%v at %s: %v", id, b.id, err)
		}
		if diff := cmp.Diff([]any{want.Entry.Raw, want.Path, want.Signature.Root}, []any{got.Entry.Raw, got.Path, got.Signature.Root}); diff != "" {
			t.Fatalf("receipt of %v (-%s +%s):\n%s", id, a.id, b.id, diff)
		}
	}
}

// extend gives a node the chunk before its first entry, from another node's files.
func extend(t *testing.T, to, from *replica, spoil func([]byte)) error {
	t.Helper()
	for _, c := range from.ledger.Chunks() {
		if c.Last+1 != to.ledger.First() {
			continue
		}
		data, err := os.ReadFile(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		if spoil != nil {
			spoil(data)
		}
		part, path := filepath.Join(to.dir, "part"), filepath.Join(to.dir, "ledger", filepath.Base(c.Path))
		if err := os.WriteFile(part, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return to.Extend(t.Context(), part, c.First, c.Last, func() (string, error) { return path, os.Rename(part, path) })
	}
	t.Fatalf("no chunk ends before seqno %d", to.ledger.First())
	return nil
}

// TestJoinFromSnapshot has a node begin with a snapshot: it is sent what follows alone, has
// the others' files from there on, and says what it does not have. Earlier chunks can be
// given to it, one after the other, across restarts; a forged one is not taken. All receipts
// are then the others', and it leads, and brings a node up that is further behind.
func TestJoinFromSnapshot(t *testing.T) {
	for name, compact := range map[string]bool{"by the log": false, "by a Raft snapshot": true} {
		t.Run(name, func(t *testing.T) { joinFromSnapshot(t, compact) })
	}
}

func joinFromSnapshot(t *testing.T, compact bool) {
	raftfsm.SmallWindows(t, 5)
	c := &cluster{t: t, one: newService(t), nodes: map[string]*replica{}}
	t.Cleanup(c.stop)
	var captures []raftfsm.Capture
	n0 := c.add("n0", true, taking(&captures))
	c.leader()
	c.fill(450)
	x := captures[1]
	if compact {
		if err := n0.KeepNoLog(); err != nil {
			t.Fatal(err)
		}
		if err := n0.CompactNow(); err != nil {
			t.Fatal(err)
		}
	}
	missing := make(chan uint64, 100)
	n1 := c.joinFrom("n1", x, func(cfg *raftfsm.Config) { cfg.Missing = func(seqno uint64) { missing <- seqno } })
	c.reconcile(c.wanted())
	c.fill(120)
	n1.commit(n0.Position().Committed)
	if diff := cmp.Diff(dump(n0.store), dump(n1.store)); diff != "" {
		t.Errorf("state (-n0 +n1):\n%s", diff)
	}
	begins := x.State.TxID().Seqno + 1
	if first := n1.ledger.First(); first != begins {
		t.Fatalf("the ledger begins at %d, want %d", first, begins)
	}
	ours, theirs := chunks(t, n1.dir), chunks(t, n0.dir)
	for name := range ours {
		if ours[name] != theirs[name] {
			t.Errorf("%s differs", name)
		}
	}
	if len(ours) == 0 || len(ours) >= len(theirs) {
		t.Errorf("%d chunks of %d", len(ours), len(theirs))
	}
	sameProofs(t, begins, n0, n1)
	if _, err := n1.Entry(begins - 1); !errors.Is(err, raftfsm.ErrAbsent) || <-missing != begins-1 {
		t.Errorf("the entry before: %v", err)
	}

	if err := extend(t, n1, n0, func(b []byte) { b[len(b)/2] ^= 1 }); err == nil {
		t.Error("a damaged chunk is taken")
	}
	if err := extend(t, n1, n0, nil); err != nil {
		t.Fatal(err)
	}
	sameProofs(t, n1.ledger.First(), n0, n1)

	// Once more, from a later snapshot and files that begin in the middle.
	for i, base := range []raftfsm.Capture{captures[3], captures[2]} {
		n1.cancel()
		if err := errors.Join(<-n1.ended, n1.ledger.Close()); err != nil {
			t.Fatal(err)
		}
		if i == 1 { // and without an index
			for _, name := range []string{"tree.nodes", "tree.signatures"} {
				if err := os.Truncate(filepath.Join(n1.dir, "raft", name), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		delete(c.nodes, "n1")
		n1 = c.joinFrom("n1", base)
		c.settle(n1)
		sameProofs(t, n1.ledger.First(), n0, n1)
	}
	for n1.ledger.First() > 1 {
		if err := extend(t, n1, n0, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.agree()
	sameProofs(t, 1, n0, n1)

	// A node that began with a snapshot leads, and another is further behind.
	if lead := c.leader(); lead == n0 {
		eventually(t, func() bool { return n0.Transfer(t.Context()) == nil })
		c.leader("n0")
	}
	if err := errors.Join(n1.KeepNoLog(), n1.CompactNow()); err != nil {
		t.Fatal(err)
	}
	c.joinFrom("n2", captures[0])
	c.reconcile(c.wanted())
	c.settle(c.nodes["n2"])
}
