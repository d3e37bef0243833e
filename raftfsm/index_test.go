package raftfsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/durable"
	"chancery/kv"
	"chancery/ledger"
	"chancery/ledger/merkle"
	"chancery/raftfsm"
)

// fill commits n transactions with a signature every few, and returns where the head is.
func (s *service) fill(n int) raftfsm.TxID {
	s.t.Helper()
	var last raftfsm.TxID
	for i := range n {
		last = s.put("public:t", fmt.Sprint(i%50), fmt.Sprint("value ", i))
		if i%25 == 0 {
			s.wait(last)
		}
	}
	s.wait(last)
	return s.replica.Position().Committed
}

func often(c *raftfsm.Config) { c.SignatureInterval = 7 }

// proves asks for the receipt of many transactions and checks each: the path leads to
// the root that the first signature behind it signs. It returns the most reads of the disk
// that one took, those of an index that is being made beside it included.
func (s *service) proves(through raftfsm.TxID) (most int) {
	t := s.t
	t.Helper()
	for seqno := uint64(1); seqno < through.Seqno; seqno += 1 + seqno%61 {
		id := raftfsm.TxID{View: s.replica.Position().ViewOf(seqno), Seqno: seqno}
		s.disk.reads.Store(0)
		p, err := s.replica.Proof(id)
		reads := int(s.disk.reads.Load())
		if err != nil {
			t.Fatalf("%v: %v", id, err)
		}
		most = max(most, reads)
		if ledger.IsSignature(p.Entry.Public) {
			continue
		}
		if p.Entry.ID != id || merkle.Climb(p.Entry.Leaf(), p.Path) != p.Signature.Root {
			t.Fatalf("%v: the path does not lead to the signed root at %v", id, p.Signature.ID)
		}
		for at := seqno + 1; at < p.Signature.ID.Seqno; at++ {
			if e, err := s.replica.Entry(at); err != nil || ledger.IsSignature(e.Public) {
				t.Fatalf("%v: signature %d comes before %v (%v)", id, at, p.Signature.ID, err)
			}
		}
	}
	return most
}

// provesCheaply is proves, in few reads.
func (s *service) provesCheaply(through raftfsm.TxID) {
	s.t.Helper()
	most := s.proves(through)
	if limit := 4 + 2*bits.Len64(through.Seqno); most > limit {
		s.t.Errorf("a receipt took %d reads, of %d transactions; at most %d are allowed", most, through.Seqno, limit)
	}
	s.t.Logf("%d transactions: at most %d reads", through.Seqno, most)
}

// TestIndex keeps most of the tree on disk, and asks for receipts of all ages: while the
// node runs, after a replay, and from a snapshot without a replay.
func TestIndex(t *testing.T) {
	raftfsm.SmallWindows(t, 5)
	s := newService(t)
	captures := make(chan raftfsm.Capture, 1)
	takes := func(c *raftfsm.Config) {
		c.SnapshotDue = func(seqno, last uint64) bool { return seqno-last > 500 }
		c.Snapshot = func(x raftfsm.Capture) {
			select {
			case captures <- x:
			default:
			}
		}
	}
	s.start(often, takes)
	through := s.fill(1100)
	if first, sigs := s.replica.InMemory(); first+3*32 < through.Seqno || sigs > 3*32 {
		t.Fatalf("the tree in memory begins at %d of %d, with %d signatures", first, through.Seqno, sigs)
	}
	s.provesCheaply(through)
	s.stop()

	s.start(often)
	through = s.fill(10)
	s.provesCheaply(through)
	s.stop()

	c := <-captures
	if c.State.TxID().Seqno <= 500 {
		t.Fatalf("a snapshot at %v", c.State.TxID())
	}
	for _, damage := range []string{"", "tree.nodes", "tree.signatures"} {
		if damage != "" {
			if err := os.Truncate(filepath.Join(s.dir, "raft", damage), 64); err != nil {
				t.Fatal(err)
			}
		}
		s.start(often, s.from(c))
		if v := s.get("public:t", "9"); v != "value 9" {
			t.Errorf("from the snapshot: %q", v)
		}
		s.proves(s.fill(10))
		s.stop()
	}
}

// from starts a replica with the captured state.
func (s *service) from(c raftfsm.Capture) func(*raftfsm.Config) {
	return func(cfg *raftfsm.Config) {
		beginFrom(s.t, c, cfg)
		s.store = cfg.Store
	}
}

// beginFrom gives a replica the captured state.
func beginFrom(t *testing.T, c raftfsm.Capture, cfg *raftfsm.Config) {
	t.Helper()
	b := kv.NewBuilder()
	for name := range c.State.Tables() {
		for key, item := range c.State.Range(name, kv.Bounds{}) {
			b.Put(name, key, item.Value, item.Version)
		}
	}
	var err error
	if cfg.Store, err = b.Store(c.State.TxID()); err != nil {
		t.Fatal(err)
	}
	value, _, _ := c.State.Get(ledger.TreeMap, make([]byte, 8))
	tree, err := merkle.Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Base = &raftfsm.Base{ID: c.State.TxID(), Leaf: c.Leaf, Views: c.Views, Tree: tree}
}

// TestIndexDamaged changes the index under a running node: a receipt that needs it is
// not to be had, and then it is again. With the ledger changed too, the error says so.
func TestIndexDamaged(t *testing.T) {
	raftfsm.SmallWindows(t, 5)
	s := newService(t)
	s.start(often)
	through := s.fill(700)
	nodes := filepath.Join(s.dir, "raft", "tree.nodes")
	whole, err := os.ReadFile(nodes)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(name string, part func([]byte) []byte) {
		t.Helper()
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i := range part(data) {
			part(data)[i] ^= 1
		}
		if _, err := f.WriteAt(data, 0); err != nil {
			t.Fatal(err)
		}
	}
	damage(nodes, func(b []byte) []byte { return b[:64*32] })
	id := raftfsm.TxID{View: 2, Seqno: 20}
	if _, err := s.replica.Proof(id); !errors.Is(err, raftfsm.ErrIndexing) {
		t.Fatalf("with the index damaged: %v", err)
	}
	late := time.After(20 * time.Second)
	for err = errors.New("not asked"); err != nil; _, err = s.replica.Proof(id) {
		select {
		case <-late:
			t.Fatalf("the index is not made anew: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	s.proves(through)
	if again, err := os.ReadFile(nodes); err != nil || !bytes.Equal(again, whole) {
		t.Errorf("the index made anew differs (%v)", err)
	}
	chunk := s.ledger.Chunks()[0]
	damage(chunk.Path, func(b []byte) []byte { return b[60:62] })
	if _, err := s.replica.Entry(1); err == nil || errors.Is(err, raftfsm.ErrIndexing) {
		t.Errorf("with an entry damaged: %v", err)
	}
	s.stop()
}

// TestHistory goes through spans of all ages and lengths, while the index grows under it, and
// over an entry that was changed.
func TestHistory(t *testing.T) {
	raftfsm.SmallWindows(t, 5)
	s := newService(t)
	s.start(often)
	defer s.stop()
	through := s.fill(1100).Seqno
	for _, span := range [][2]uint64{{1, through}, {1, 12}, {40, through - 5}, {through - 3, through}, {through, through}} {
		next := span[0]
		for e, err := range s.replica.History(span[0], span[1]) {
			if err != nil {
				t.Fatalf("%v: at %d: %v", span, next, err)
			}
			want, err := s.replica.Entry(next)
			if err != nil || e.ID != want.ID || !bytes.Equal(e.Raw, want.Raw) {
				t.Fatalf("%v: at %d: %v (%v)", span, next, e.ID, err)
			}
			if next%500 == 0 {
				s.fill(70)
			}
			next++
		}
		if next != span[1]+1 {
			t.Errorf("%v: it ends before %d", span, next)
		}
	}
	for range s.replica.History(1, through) {
		break // who has enough
	}
	for e, err := range s.replica.History(through, s.replica.Position().Committed.Seqno+1) {
		if (err == nil) != (e != nil) || err != nil && !errors.Is(err, raftfsm.ErrNotCommitted) {
			t.Errorf("beyond what is committed: %v, %v", e, err)
		}
	}

	chunk := s.ledger.Chunks()[0]
	const changed = 6
	e, err := s.replica.Entry(changed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(chunk.Path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, e.Raw) + len(e.Raw) - 1 // in the value that it wrote
	f, err := os.OpenFile(chunk.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{data[at] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
	for _, last := range []uint64{20, through} {
		next, failed := uint64(1), error(nil)
		for e, err := range s.replica.History(1, last) {
			if failed = err; err == nil {
				next = e.ID.Seqno + 1
			}
		}
		if next != changed || failed == nil || errors.Is(failed, raftfsm.ErrIndexing) {
			t.Errorf("through %d, with entry %d changed: it ends at %d: %v", last, changed, next, failed)
		}
	}
}

// countingDisk counts the reads of its files.
type countingDisk struct {
	durable.FS
	reads atomic.Int64
}

func (d *countingDisk) Open(path string) (durable.File, error) {
	f, err := d.FS.Open(path)
	return countingFile{f, d}, err
}

func (d *countingDisk) OpenFile(path string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := d.FS.OpenFile(path, flag, perm)
	return countingFile{f, d}, err
}

type countingFile struct {
	durable.File
	disk *countingDisk
}

func (f countingFile) ReadAt(p []byte, off int64) (int, error) {
	f.disk.reads.Add(1)
	return f.File.ReadAt(p, off)
}
