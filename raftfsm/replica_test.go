package raftfsm_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
	"chancery/raftfsm"
)

// service is a one-node service in a temporary directory: real files, real Raft,
// freshly made keys.
type service struct {
	t      *testing.T
	dir    string
	sign   raftfsm.SignFunc
	secret []byte
	disk   *countingDisk

	// Set while a node runs.
	replica *raftfsm.Replica
	store   *kv.Store
	ledger  *ledger.Dir
	cancel  context.CancelFunc
	ended   chan error
	haltErr chan error
}

func newService(t *testing.T) *service {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	s := &service{t: t, dir: t.TempDir(), secret: make([]byte, 32), disk: &countingDisk{FS: durable.OS()}}
	rand.Read(s.secret)
	signer := &ledger.Signer{NodeID: "node", Node: key(), Service: key(), Now: time.Now}
	s.sign = signer.Sign
	return s
}

// start opens the node's files and waits until it leads.
func (s *service) start(edit ...func(*raftfsm.Config)) {
	s.t.Helper()
	l, err := ledger.OpenDir(s.disk, filepath.Join(s.dir, "ledger"), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := ledger.NewSecret(append([]byte(nil), s.secret...))
	if err != nil {
		s.t.Fatal(err)
	}
	secrets := new(ledger.Secrets)
	if err := secrets.Add(1, secret); err != nil {
		s.t.Fatal(err)
	}
	addr, transport := raft.NewInmemTransport("node")
	transport.Connect(addr, transport) // Elect is a message to itself
	s.store, s.ledger, s.haltErr = kv.NewStore(), l, make(chan error, 1)
	led := make(chan struct{}, 8)
	cfg := raftfsm.Config{
		ID: "node", Dir: filepath.Join(s.dir, "raft"), FS: s.disk, Ledger: l, Secrets: secrets, Store: s.store,
		Sign: s.sign, Transport: transport, Address: addr, ElectionTimeout: time.Second,
		SignatureInterval: 1000, SignatureDelay: time.Hour, ChunkSize: 20 << 10, Now: time.Now,
		NextSecret: func(raftfsm.TxID, writeset.WriteSet) (*ledger.Secret, error) { return nil, nil },
		Led: func(view uint64) {
			if view != 0 {
				led <- struct{}{}
			}
		},
		Halt: func(err error) { s.t.Log("halted: ", err); s.haltErr <- err },
		Log:  slog.New(slog.DiscardHandler),
	}
	for _, e := range edit {
		e(&cfg)
	}
	if l.Last().Seqno == 0 {
		if err := raftfsm.Bootstrap(cfg); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
			s.t.Fatal(err)
		}
	}
	if s.replica, err = raftfsm.Open(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.ended = cancel, make(chan error, 1)
	go func() { s.ended <- s.replica.Run(ctx) }()
	s.replica.Elect()
	select {
	case <-led:
	case err := <-s.ended:
		s.t.Fatalf("the node ended: %v", err)
	case <-time.After(20 * time.Second):
		s.t.Fatal("the node does not lead")
	}
}

// stop ends the node cleanly.
func (s *service) stop() {
	s.t.Helper()
	s.cancel()
	if err := <-s.ended; err != nil {
		s.t.Fatalf("stopping: %v", err)
	}
	if err := s.ledger.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// put writes one key and returns its TxID.
func (s *service) put(table, key, value string) raftfsm.TxID {
	s.t.Helper()
	tx := s.store.Begin()
	tx.Put(table, []byte(key), []byte(value))
	id, err := s.replica.Submit(s.t.Context(), tx, raftfsm.Submission{})
	if err != nil {
		s.t.Fatalf("put %s: %v", key, err)
	}
	return id
}

func (s *service) wait(id raftfsm.TxID) {
	s.t.Helper()
	status, err := s.replica.Wait(s.t.Context(), id)
	if err != nil || status != ledger.StatusCommitted {
		s.t.Fatalf("%v: got %s (%v), want Committed", id, status, err)
	}
}

func (s *service) get(table, key string) string {
	v, _, _ := s.store.Head().Get(table, []byte(key))
	return string(v)
}

func TestFirstTransactionIs2_1(t *testing.T) {
	s := newService(t)
	s.start()
	defer s.stop()
	id := s.put("public:t", "k", "v")
	if want := (raftfsm.TxID{View: 2, Seqno: 1}); id != want {
		t.Fatalf("first transaction: got %v, want %v", id, want)
	}
	s.wait(id)
	p := s.replica.Position()
	if want := (raftfsm.TxID{View: 2, Seqno: 2}); p.Committed != want {
		t.Errorf("committed: got %v, want the signature %v", p.Committed, want)
	}
	if diff := cmp.Diff([]uint64{1, 1}, p.Views); diff != "" {
		t.Errorf("first seqno of each view (-want +got):\n%s", diff)
	}
}

// TestReopen stops a node and opens it again: everything that was committed is
// there, in the same order, and the new view begins with a signature.
func TestReopen(t *testing.T) {
	s := newService(t)
	s.start()
	var last raftfsm.TxID
	for i := range 100 {
		last = s.put("private", fmt.Sprint(i), fmt.Sprint("value ", i))
	}
	s.stop() // signs what is left
	for round := range 3 {
		s.start()
		for i := range 100 {
			if got, want := s.get("private", fmt.Sprint(i)), fmt.Sprint("value ", i); got != want {
				t.Fatalf("round %d, key %d: got %q, want %q", round, i, got, want)
			}
		}
		if got := s.replica.Status(last); got != ledger.StatusCommitted {
			t.Errorf("round %d: %v is %s, want Committed", round, last, got)
		}
		id := s.put("private", "again", fmt.Sprint(round))
		s.wait(id)
		if id.View <= last.View {
			t.Errorf("round %d: view %d does not come after view %d", round, id.View, last.View)
		}
		e, err := s.replica.Entry(id.Seqno - 1)
		if err != nil {
			t.Fatal(err)
		}
		if !ledger.IsSignature(e.Public) || e.ID.View != id.View {
			t.Errorf("round %d: the view begins with %v, want a signature of view %d", round, e.ID, id.View)
		}
		last = id
		s.stop()
	}
}

// TestCreateComesFirst: where a recovery's create is to come, nothing else is ordered
// before it: whoever reconciles the tables of the earlier life would be too early.
func TestCreateComesFirst(t *testing.T) {
	s := newService(t)
	s.start()
	last := s.put("public:a", "k", "earlier")
	s.stop()
	s.start(func(cfg *raftfsm.Config) { cfg.Creates = true })
	write := func(value string, create bool) (raftfsm.TxID, error) {
		tx := s.store.Begin()
		tx.Put("public:a", []byte("k"), []byte(value))
		return s.replica.Submit(t.Context(), tx, raftfsm.Submission{Create: create})
	}
	if id, err := write("early", false); !errors.Is(err, raftfsm.ErrNotPrimary) {
		t.Errorf("before the create: got %v, %v, want ErrNotPrimary", id, err)
	}
	id, err := write("create", true)
	if err != nil || id.Seqno != last.Seqno+2 {
		t.Fatalf("the create: got %v, %v, want the seqno behind the signature of %v", id, err, last)
	}
	if _, err := write("later", false); err != nil {
		t.Errorf("after the create: %v", err)
	}
	s.stop()
}

func TestConcurrentWritersCommit(t *testing.T) {
	s := newService(t)
	s.start()
	defer s.stop()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				tx := s.store.Begin()
				tx.Put("private", fmt.Appendf(nil, "%d-%d", w, i), []byte("x"))
				id, err := s.replica.Submit(t.Context(), tx, raftfsm.Submission{AwaitCommit: true})
				if err != nil {
					t.Errorf("submit: %v", err)
					return
				}
				if st, err := s.replica.Wait(t.Context(), id); st != ledger.StatusCommitted {
					t.Errorf("%v: %s, %v", id, st, err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.store.Committed().Len("private"); got != 400 {
		t.Errorf("keys: got %d, want 400", got)
	}
}

func TestConflictHasNoPosition(t *testing.T) {
	s := newService(t)
	s.start()
	defer s.stop()
	s.put("public:t", "k", "1")
	tx := s.store.Begin()
	tx.Get("public:t", []byte("k"))
	tx.Put("public:t", []byte("k"), []byte("2"))
	s.put("public:t", "k", "3")
	before := s.replica.Position().Head
	if _, err := s.replica.Submit(t.Context(), tx, raftfsm.Submission{}); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	if after := s.replica.Position().Head; after != before {
		t.Errorf("the head moved from %v to %v", before, after)
	}
}

// TestSnapshotOfIdleService asks for a signature when nothing is unsigned: it is made when
// a snapshot is due, and the snapshot is of the state as of it.
func TestSnapshotOfIdleService(t *testing.T) {
	s := newService(t)
	var due atomic.Bool
	taken := make(chan raftfsm.Capture, 1)
	s.start(func(c *raftfsm.Config) {
		c.SnapshotDue = func(_, _ uint64) bool { return due.Load() }
		c.Snapshot = func(c raftfsm.Capture) { taken <- c }
	})
	defer s.stop()
	s.wait(s.put("public:t", "k", "v"))
	idle := s.replica.Position().Head
	s.replica.SignForSnapshot()
	s.wait(s.put("public:t", "k", "w"))
	if got, want := s.replica.Position().Head.Seqno, idle.Seqno+2; got != want {
		t.Errorf("a write and its signature end at %d, want %d: another one was made when no snapshot was due", got, want)
	}
	idle = s.replica.Position().Head
	due.Store(true)
	s.replica.SignForSnapshot()
	select {
	case c := <-taken:
		if got, want := c.State.TxID().Seqno, idle.Seqno+1; got != want {
			t.Errorf("the snapshot is of %d, want %d", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Error("no snapshot is taken")
	}
}

// TestTooLarge: what writes more than may be has no position, and nothing is in its way.
func TestTooLarge(t *testing.T) {
	s := newService(t)
	s.start(func(cfg *raftfsm.Config) { cfg.MaxWriteBytes = 1000 })
	first := s.put("t", "k", "v")
	tx := s.store.Begin()
	tx.Put("t", []byte("large"), make([]byte, 1000))
	if _, err := s.replica.Submit(t.Context(), tx, raftfsm.Submission{}); !errors.Is(err, raftfsm.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	if next := s.put("t", "k", "w"); next.Seqno > first.Seqno+2 { // a signature may stand between them
		t.Errorf("the next transaction is %v, behind %v", next, first)
	}
}

// TestProofsVerify builds a proof for every transaction, those in closed chunks
// included, and climbs from its leaf to the signed root.
func TestProofsVerify(t *testing.T) {
	s := newService(t)
	s.start()
	defer s.stop()
	var last raftfsm.TxID
	for i := range 60 {
		if last = s.put("private", fmt.Sprint(i), string(make([]byte, 700))); i%7 == 0 {
			s.wait(last)
		}
	}
	s.wait(last)
	p := s.replica.Position()
	for seqno := uint64(1); seqno <= p.Committed.Seqno; seqno++ {
		proof, err := s.replica.Proof(raftfsm.TxID{View: p.ViewOf(seqno), Seqno: seqno})
		if err != nil {
			t.Fatalf("%d: %v", seqno, err)
		}
		if ledger.IsSignature(proof.Entry.Public) {
			continue
		}
		if got := climb(proof); got != proof.Signature.Root {
			t.Errorf("%d: the path ends in %x, want %x", seqno, got, proof.Signature.Root)
		}
	}
	if _, err := s.replica.Proof(raftfsm.TxID{View: 2, Seqno: p.Committed.Seqno + 1}); !errors.Is(err, raftfsm.ErrNotCommitted) {
		t.Errorf("proof of the future: got %v, want %v", err, raftfsm.ErrNotCommitted)
	}
}

func climb(p *raftfsm.Proof) ledger.Digest { return merkle.Climb(p.Entry.Leaf(), p.Path) }

// TestReopenAfterCompaction compacts Raft's log with and without unsigned entries
// behind the last signature, and opens the node again without a clean stop's signature.
func TestReopenAfterCompaction(t *testing.T) {
	s := newService(t)
	s.start()
	s.wait(s.put("private", "signed", "1"))
	unsigned := s.put("private", "unsigned", "2")
	applied := func() bool { return s.replica.Metrics().InFlight == 0 }
	eventually(t, applied)
	if err := s.replica.CompactNow(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start()
	defer s.stop()
	for key, want := range map[string]string{"signed": "1", "unsigned": "2"} {
		if got := s.get("private", key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if got := s.replica.Status(unsigned); got != ledger.StatusCommitted {
		t.Errorf("%v is %s, want Committed", unsigned, got)
	}
	s.wait(s.put("private", "after", "3"))
	if err := s.replica.CompactNow(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !what() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it does not happen")
		case <-t.Context().Done():
			t.Fatal("the test ended first")
		}
	}
}
