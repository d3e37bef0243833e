package raftfsm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/raftfsm"
)

// cluster is a service of several replicas in one process: real files and real Raft,
// connected by channels that a test can cut.
type cluster struct {
	t     *testing.T
	one   *service // keys and signer of all
	nodes map[string]*replica

	doomed atomic.Value // string: the node that may halt
}

// replica is one node of a cluster.
type replica struct {
	c         *cluster
	id        string
	dir       string
	transport *raft.InmemTransport
	store     *kv.Store
	ledger    *ledger.Dir
	*raftfsm.Replica
	cancel context.CancelFunc
	ended  chan error
}

// newCluster starts n nodes that all vote. The first is "n0".
func newCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, one: newService(t), nodes: map[string]*replica{}}
	c.add("n0", true)
	c.leader()
	for i := 1; i < n; i++ {
		c.add(fmt.Sprint("n", i), false)
	}
	c.put("first", "1")
	c.reconcile(c.wanted())
	t.Cleanup(c.stop)
	return c
}

// add starts a node; it takes no part before reconcile.
func (c *cluster) add(id string, first bool, edit ...func(*raftfsm.Config)) *replica {
	c.t.Helper()
	n := &replica{c: c, id: id, dir: filepath.Join(c.one.dir, id), store: kv.NewStore(), ended: make(chan error, 1)}
	var err error
	if n.ledger, err = ledger.OpenDir(durable.OS(), filepath.Join(n.dir, "ledger"), nil); err != nil {
		c.t.Fatal(err)
	}
	secret, err := ledger.NewSecret(append([]byte(nil), c.one.secret...))
	if err != nil {
		c.t.Fatal(err)
	}
	secrets := new(ledger.Secrets)
	if err := secrets.Add(1, secret); err != nil {
		c.t.Fatal(err)
	}
	_, n.transport = raft.NewInmemTransport(raft.ServerAddress(id))
	for _, other := range c.nodes {
		other.transport.Connect(raft.ServerAddress(id), n.transport)
		n.transport.Connect(raft.ServerAddress(other.id), other.transport)
	}
	cfg := raftfsm.Config{
		ID: id, Dir: filepath.Join(n.dir, "raft"), FS: durable.OS(), Ledger: n.ledger, Secrets: secrets, Store: n.store,
		Sign: c.one.sign, Transport: n.transport, Address: raft.ServerAddress(id), ElectionTimeout: 200 * time.Millisecond,
		SignatureInterval: 1000, SignatureDelay: time.Hour, ChunkSize: 8 << 10, Now: time.Now,
		NextSecret: func(raftfsm.TxID, writeset.WriteSet) (*ledger.Secret, error) { return nil, nil },
		Halt: func(err error) {
			if c.doomed.Load() != id {
				c.t.Errorf("%s halted: %v", id, err)
			}
		},
		Reached: c.reached,
		Log:     c.log(id),
	}
	for _, e := range edit {
		e(&cfg)
	}
	n.store = cfg.Store
	if first {
		if err := raftfsm.Bootstrap(cfg); err != nil {
			c.t.Fatal(err)
		}
	}
	if n.Replica, err = raftfsm.Open(c.t.Context(), cfg); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { n.ended <- n.Run(ctx) }()
	c.nodes[id] = n
	return n
}

// reached is how far a node's committed history reaches.
func (c *cluster) reached(id, _ string) (uint64, error) {
	return c.nodes[id].Position().Committed.Seqno, nil
}

// log shows what the nodes say where the test is verbose.
func (c *cluster) log(id string) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("node", id)
}

func (c *cluster) stop() {
	for _, n := range c.nodes {
		n.cancel()
	}
	for _, n := range c.nodes {
		if err := <-n.ended; err != nil {
			c.t.Errorf("stopping %s: %v", n.id, err)
		}
		if err := n.ledger.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// wanted is a configuration of all nodes but some.
func (c *cluster) wanted(without ...string) []raftfsm.Peer {
	var out []raftfsm.Peer
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		if !slices.Contains(without, id) {
			out = append(out, raftfsm.Peer{ID: id, Address: id})
		}
	}
	return out
}

// leader waits until one of the nodes, other than some, leads, and returns it.
func (c *cluster) leader(except ...string) *replica {
	c.t.Helper()
	var found *replica
	eventually(c.t, func() bool {
		for _, n := range c.nodes {
			if !slices.Contains(except, n.id) && n.Position().View != 0 {
				found = n
			}
		}
		return found != nil
	})
	return found
}

// reconcile takes steps until the nodes that vote are the wanted ones.
func (c *cluster) reconcile(wanted []raftfsm.Peer) {
	c.t.Helper()
	eventually(c.t, func() bool {
		n := c.leader()
		more, err := n.Reconcile(c.t.Context(), wanted)
		if err != nil || more {
			return false
		}
		m, err := n.Membership()
		if err != nil || len(m.Members) != len(wanted) {
			return false
		}
		return !slices.ContainsFunc(m.Members, func(p raftfsm.Member) bool { return !p.Voter })
	})
}

// put writes at the primary and returns the position.
func (c *cluster) put(key, value string) raftfsm.TxID {
	c.t.Helper()
	return c.leader().put(key, value)
}

func (n *replica) put(key, value string) raftfsm.TxID {
	n.c.t.Helper()
	id, err := n.try(key, value)
	if err != nil {
		n.c.t.Fatalf("put %s at %s: %v", key, n.id, err)
	}
	return id
}

func (n *replica) try(key, value string) (raftfsm.TxID, error) {
	tx := n.store.Begin()
	tx.Put("private", []byte(key), []byte(value))
	return n.Submit(n.c.t.Context(), tx, raftfsm.Submission{})
}

// commit waits for an id at a node.
func (n *replica) commit(id raftfsm.TxID) {
	n.c.t.Helper()
	if status, err := n.Wait(n.c.t.Context(), id); err != nil || status != ledger.StatusCommitted {
		n.c.t.Fatalf("%v at %s: got %s (%v), want Committed", id, n.id, status, err)
	}
}

// agree waits until all nodes have committed the same, and compares stores and files.
func (c *cluster) agree(except ...string) {
	c.t.Helper()
	var lead *replica
	var want raftfsm.TxID
	eventually(c.t, func() bool { // on a busy machine the lead may change meanwhile
		lead = c.leader(except...)
		id, err := lead.try("agree", fmt.Sprint(time.Now()))
		if err != nil {
			return false
		}
		limited, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		defer cancel()
		if status, err := lead.Wait(limited, id); err != nil || status != ledger.StatusCommitted {
			return false
		}
		want = lead.Position().Committed
		for _, n := range c.nodes {
			for limited.Err() == nil && !slices.Contains(except, n.id) && n.Position().Committed != want {
				pause(limited, 5*time.Millisecond)
			}
		}
		return limited.Err() == nil
	})
	files := chunks(c.t, lead.dir)
	for _, n := range c.nodes {
		if slices.Contains(except, n.id) {
			continue
		}
		if diff := cmp.Diff(dump(lead.store), dump(n.store)); diff != "" {
			c.t.Errorf("state of %s (-%s +%s):\n%s", n.id, lead.id, n.id, diff)
		}
		if diff := cmp.Diff(files, chunks(c.t, n.dir)); diff != "" {
			c.t.Errorf("files of %s (-%s +%s):\n%s", n.id, lead.id, n.id, diff)
		}
	}
}

func dump(s *kv.Store) map[string]string {
	all := map[string]string{}
	for k, v := range s.Committed().Range("private", kv.Bounds{}) {
		all[string(k)] = string(v.Value)
	}
	return all
}

// chunks returns the committed ledger files by name.
func chunks(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), "ledger", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".committed") {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		all[d.Name()] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// cut separates a node from all others; heal connects it again.
func (c *cluster) cut(id string) {
	for _, n := range c.nodes {
		if n.id != id {
			n.transport.Disconnect(raft.ServerAddress(id))
		}
	}
	c.nodes[id].transport.DisconnectAll()
}

func (c *cluster) heal(id string) {
	for _, n := range c.nodes {
		if n.id != id {
			n.transport.Connect(raft.ServerAddress(id), c.nodes[id].transport)
			c.nodes[id].transport.Connect(raft.ServerAddress(n.id), n.transport)
		}
	}
}

// TestReplicasAgree writes through three nodes: all come to the same state, and to the
// same bytes in their ledger files.
func TestReplicasAgree(t *testing.T) {
	c := newCluster(t, 3)
	var last raftfsm.TxID
	for i := range 200 {
		if last = c.put(fmt.Sprint(i), strings.Repeat("x", 300)); i%9 == 0 {
			c.leader().commit(last)
		}
	}
	c.leader().commit(last)
	c.agree()
	for _, n := range c.nodes {
		if n.id != c.leader().id {
			if _, err := n.try("k", "v"); !errors.Is(err, raftfsm.ErrNotPrimary) {
				t.Errorf("a write at the backup %s: got %v, want %v", n.id, err, raftfsm.ErrNotPrimary)
			}
		}
	}
}

// TestCatchUpBySnapshot lets a node join whose first records are gone from the
// primary's log: it is sent the ledger, and its files are the others'.
func TestCatchUpBySnapshot(t *testing.T) {
	for name, spillAt := range map[string]int{"in memory": 1 << 20, "by a file": 1 << 10} {
		t.Run(name, func(t *testing.T) { catchUp(t, spillAt) })
	}
}

func catchUp(t *testing.T, spillAt int) {
	c := newCluster(t, 1)
	for i := range 100 {
		c.put(fmt.Sprint(i), strings.Repeat("x", 300))
		if i%10 == 0 {
			c.leader().commit(c.put("signed", fmt.Sprint(i)))
		}
	}
	unsigned := c.put("unsigned", "u")
	eventually(t, func() bool { return c.leader().Metrics().InFlight == 0 })
	if err := c.leader().KeepNoLog(); err != nil {
		t.Fatal(err)
	}
	if err := c.leader().CompactNow(); err != nil {
		t.Fatal(err)
	}
	n := c.add("n1", false)
	n.SpillAt(spillAt)
	c.reconcile(c.wanted())
	after := c.put("after", "1")
	c.leader().commit(after)
	n.commit(after)
	n.commit(unsigned)
	c.agree()
	if _, err := os.Stat(filepath.Join(n.dir, "raft", "raft.snapshot.received")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the primary sent is still there: %v", err)
	}
	// What it was sent counts for it too: it can compact, and lead.
	if err := n.CompactNow(); err != nil {
		t.Fatal(err)
	}
}

// TestDeposedPrimary cuts the primary off in the middle of its writes. What only it has
// becomes Invalid, everywhere and for those who wait; what was committed stays.
func TestDeposedPrimary(t *testing.T) {
	c := newCluster(t, 3)
	old := c.leader()
	kept := old.put("kept", "1")
	old.commit(kept)
	c.cut(old.id)
	lost := old.put("lost", "1")
	waited := make(chan ledger.Status, 1)
	go func() {
		status, err := old.Wait(t.Context(), lost)
		if err != nil {
			t.Error(err)
		}
		waited <- status
	}()
	lead := c.leader(old.id)
	if lead.Position().View <= kept.View {
		t.Errorf("the new view %d does not come after %d", lead.Position().View, kept.View)
	}
	after := lead.put("after", "1")
	lead.commit(after)
	eventually(t, func() bool { return old.Position().View == 0 })
	if got := old.Status(lost); got == ledger.StatusCommitted {
		t.Errorf("%v at the deposed primary: %s", lost, got)
	}
	c.heal(old.id)
	if got := <-waited; got != ledger.StatusInvalid {
		t.Errorf("who waited for %v heard %s, want Invalid", lost, got)
	}
	c.agree()
	for _, n := range c.nodes {
		for id, want := range map[raftfsm.TxID]ledger.Status{kept: ledger.StatusCommitted, lost: ledger.StatusInvalid, after: ledger.StatusCommitted} {
			if got := n.Status(id); got != want {
				t.Errorf("%v at %s: got %s, want %s", id, n.id, got, want)
			}
		}
	}
}

// TestUnsignedDiesWithItsView: what a view replicated and never signed is Invalid once
// the next view begins.
func TestUnsignedDiesWithItsView(t *testing.T) {
	c := newCluster(t, 3)
	old := c.leader()
	unsigned := old.put("unsigned", "1")
	for _, n := range c.nodes { // applied everywhere, signed nowhere
		eventually(t, func() bool { return n.Position().Head.Seqno >= unsigned.Seqno })
	}
	c.cut(old.id)
	lead := c.leader(old.id)
	lead.commit(lead.put("after", "1"))
	c.heal(old.id)
	c.agree()
	for _, n := range c.nodes {
		if got := n.Status(unsigned); got != ledger.StatusInvalid {
			t.Errorf("%v at %s: got %s, want Invalid", unsigned, n.id, got)
		}
	}
}

// TestBegunInAnEarlierView submits, in a view in which a node leads again, what was begun in
// one in which it led before: what looked at committed state is ordered in the new view,
// what looked at writes that were lost conflicts, though their seqnos are used again; and a
// node that does not lead takes nothing, not even into its own state.
func TestBegunInAnEarlierView(t *testing.T) {
	c := newCluster(t, 3)
	old := c.leader()
	old.commit(old.put("kept", "1"))
	begin := func(key string) *kv.Tx {
		tx := old.store.Begin()
		tx.Put("private", []byte(key), []byte("1"))
		return tx
	}
	sound, early := begin("sound"), begin("early")
	c.cut(old.id)
	lost := old.put("lost", "1")
	unsound := begin("unsound")
	lead := c.leader(old.id)
	lead.commit(lead.put("after", "1"))
	eventually(t, func() bool { return old.Position().View == 0 })
	head := old.store.Head()
	if id, err := old.Submit(t.Context(), early, raftfsm.Submission{}); !errors.Is(err, raftfsm.ErrNotPrimary) || old.store.Head() != head {
		t.Errorf("a deposed primary takes a transaction: %v, %v", id, err)
	}
	c.heal(old.id)
	c.agree()
	eventually(t, func() bool {
		if now := c.leader(); now != old {
			_ = now.Transfer(t.Context()) // to whom it pleases
		}
		return old.Position().View != 0 && old.Position().Committed.Seqno > lost.Seqno
	})
	view := old.Position().View
	if id, err := old.Submit(t.Context(), sound, raftfsm.Submission{}); err != nil || id.View < view {
		t.Errorf("begun on what was committed, submitted in view %d: %v, %v", view, id, err)
	}
	if id, err := old.Submit(t.Context(), unsound, raftfsm.Submission{}); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("begun on writes that were lost: %v, %v", id, err)
	}
	c.agree()
}

// TestTransfer hands over with nothing lost, and a node can be replaced: the old
// primary goes, a new node comes.
func TestTransfer(t *testing.T) {
	c := newCluster(t, 3)
	old := c.leader()
	last := old.put("k", "v")
	eventually(t, func() bool { return old.Transfer(t.Context()) == nil })
	lead := c.leader(old.id)
	lead.commit(lead.put("after", "1"))
	if got := lead.Status(last); got != ledger.StatusCommitted {
		t.Errorf("%v, written before the hand-over, is %s", last, got)
	}
	c.add("n3", false)
	c.reconcile(c.wanted(old.id))
	c.agree(old.id)
	c.cut(old.id)
	c.agree(old.id)
}

// TestNoUnsafeStep: a node that does not answer gets no vote, and the primary stays one.
func TestNoUnsafeStep(t *testing.T) {
	c := newCluster(t, 1)
	c.add("n1", false)
	c.cut("n1")
	lead := c.leader()
	for range 20 {
		if more, err := lead.Reconcile(t.Context(), c.wanted()); err != nil || !more {
			t.Fatalf("reconciling: more %t, %v", more, err)
		}
	}
	m, err := lead.Membership()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Members {
		if p.Voter != (p.ID == lead.id) {
			t.Errorf("%s votes: %t", p.ID, p.Voter)
		}
	}
	lead.commit(lead.put("k", "v"))
	c.heal("n1")
	c.reconcile(c.wanted())
	c.agree()
}

// TestHaltedPrimary forges a record of a primary's log that a backup asks for: the primary
// halts and stops, though a batch of its waits for the commit, and the others go on.
func TestHaltedPrimary(t *testing.T) {
	c := newCluster(t, 3)
	old := c.leader()
	var lag *replica
	for _, n := range c.nodes {
		if n.id != old.id {
			lag = n
		}
	}
	c.cut(lag.id)
	old.commit(old.put("kept", "1"))
	c.doomed.Store(old.id)
	for _, n := range c.nodes { // nothing is acknowledged any more
		if n.id != old.id && n.id != lag.id {
			c.cut(n.id)
		}
	}
	old.put("waits", "1")
	if err := old.ForgeLog(); err != nil {
		t.Fatal(err)
	}
	for id := range c.nodes {
		c.heal(id)
	}
	select {
	case err := <-old.ended:
		if err == nil || !strings.Contains(err.Error(), "the record on disk is not the one that was written") {
			t.Errorf("the primary ended with %v", err)
		}
		old.ended <- nil
	case <-time.After(5 * time.Second):
		t.Fatal("the primary does not stop")
	}
	c.agree(old.id)
}

// heartbeats lets through nothing but heartbeats while it is on.
type heartbeats struct {
	*raft.InmemTransport
	alone *atomic.Bool
}

func (h heartbeats) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if h.alone.Load() && (len(args.Entries) > 0 || args.PrevLogEntry > 0) {
		return errors.New("records are held back")
	}
	return h.InmemTransport.AppendEntries(id, target, args, resp)
}

// TestVoteForWhoHolds: in a young service too, a node that answers and holds nothing yet
// gets no vote: the service would wait for it with every commit.
func TestVoteForWhoHolds(t *testing.T) {
	c := &cluster{t: t, one: newService(t), nodes: map[string]*replica{}}
	t.Cleanup(c.stop)
	var alone atomic.Bool
	c.add("n0", true, func(cfg *raftfsm.Config) {
		cfg.Transport = heartbeats{cfg.Transport.(*raft.InmemTransport), &alone}
	})
	lead := c.leader()
	lead.put("first", "1")
	alone.Store(true)
	c.add("n1", false)
	heard := false
	limited, cancel := context.WithTimeout(t.Context(), 5*time.Second) // a step waits for its commit
	defer cancel()
	for ; !heard && limited.Err() == nil; pause(limited, time.Millisecond) {
		if more, err := lead.Reconcile(limited, c.wanted()); err != nil || !more {
			t.Fatalf("reconciling: more %t, %v", more, err)
		}
		m, err := lead.Membership()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Members {
			heard = heard || p.ID == "n1" && !p.Ack.At.IsZero()
		}
	}
	if !heard {
		t.Fatal("the node is not heard")
	}
	for range 3 {
		if more, err := lead.Reconcile(limited, c.wanted()); err != nil || !more {
			t.Fatalf("a node that holds nothing has a vote: more %t, %v", more, err)
		}
	}
	lead.commit(lead.put("k", "v"))
	alone.Store(false)
	c.reconcile(c.wanted())
	c.agree()
}

// TestMembershipCommitted: a configuration that only the primary has is not said to be
// committed.
func TestMembershipCommitted(t *testing.T) {
	c := &cluster{t: t, one: newService(t), nodes: map[string]*replica{}}
	t.Cleanup(c.stop)
	var alone atomic.Bool
	c.add("n0", true, func(cfg *raftfsm.Config) {
		cfg.Transport = heartbeats{cfg.Transport.(*raft.InmemTransport), &alone}
	})
	lead := c.leader()
	c.add("n1", false)
	c.add("n2", false)
	c.reconcile(c.wanted())
	c.agree()
	before, err := lead.Membership()
	if err != nil || before.Index == 0 || !before.Committed {
		t.Fatalf("%+v, %v", before, err)
	}
	alone.Store(true)
	limited, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	step := make(chan error, 1)
	go func() {
		var err error
		for err == nil { // until one waits for its commit
			_, err = lead.Reconcile(limited, c.wanted("n2"))
		}
		step <- err
	}()
	eventually(t, func() bool {
		m, err := lead.Membership()
		if err != nil || m.Has("n2") {
			return false
		}
		if m.Committed || m.Index <= before.Index {
			t.Errorf("a configuration that nobody else has: %+v, before at %d", m, before.Index)
		}
		return true
	})
	cancel()
	if err := <-step; !errors.Is(err, context.Canceled) {
		t.Errorf("a step whose configuration is not committed: %v", err)
	}
	alone.Store(false)
	eventually(t, func() bool {
		m, err := lead.Membership()
		return err == nil && m.Committed
	})
	c.reconcile(c.wanted())
	c.agree()
}
