package raftfsm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// author writes batches as a primary would, over a tree of its own.
type author struct {
	t       *testing.T
	signer  *ledger.Signer
	secrets *ledger.Secrets
	tree    *merkle.Tree
	seqno   uint64
}

func newAuthor(t *testing.T) *author {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ledger.NewSecret(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	a := &author{t: t, tree: merkle.New(), secrets: new(ledger.Secrets),
		signer: &ledger.Signer{NodeID: strings.Repeat("ab", 32), Node: key, Service: key, Now: time.Now}}
	if err := a.secrets.Add(1, secret); err != nil {
		t.Fatal(err)
	}
	a.tree.Append(merkle.Hash{})
	return a
}

func (a *author) seal(view uint64, ws writeset.WriteSet) *ledger.Entry {
	a.t.Helper()
	a.seqno++
	secret, err := a.secrets.At(a.seqno)
	if err != nil {
		a.t.Fatal(err)
	}
	e, err := ledger.Seal(secret, TxID{View: view, Seqno: a.seqno}, ws, ledger.Digest{}, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	a.tree.Append(e.Leaf())
	return e
}

// write returns n entries, and with signed a signature behind them, as one batch.
func (a *author) batch(view uint64, n int, signed bool) *batch {
	a.t.Helper()
	b := &batch{view: view, first: a.seqno + 1, prev: a.tree.Leaf(a.seqno)}
	for range n {
		value := fmt.Appendf(nil, "%d.%d", view, a.seqno+1)
		b.entries = append(b.entries, a.seal(view, writeset.WriteSet{{Name: "t", Writes: []writeset.Write{{Key: []byte("k"), Value: value}}}}))
	}
	if signed {
		ws, err := a.signer.Sign(TxID{View: view, Seqno: a.seqno + 1}, a.tree.Root(), a.tree.AppendTo(nil, 0))
		if err != nil {
			a.t.Fatal(err)
		}
		b.entries = append(b.entries, a.seal(view, ws))
	}
	return b
}

// rewind makes the author forget everything above seqno.
func (a *author) rewind(seqno uint64) {
	a.tree.Truncate(seqno + 1)
	a.seqno = seqno
}

// follower returns a replica that is fed by hand, and what it halted with.
func follower(t *testing.T, a *author) (*Replica, *error) {
	t.Helper()
	l, err := ledger.OpenDir(durable.OS(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	halted := new(error)
	x, err := openIndex(durable.OS(), t.TempDir(), indexLevel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.close(); err != nil {
			t.Error(err)
		}
	})
	r := &Replica{
		index: x,
		tree:  merkle.New(), wake: make(chan struct{}, 1), halted: make(chan struct{}),
		cfg: Config{
			Ledger: l, Secrets: a.secrets, Store: kv.NewStore(), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			NextSecret: func(TxID, writeset.WriteSet) (*ledger.Secret, error) { return nil, nil },
		},
	}
	r.tree.Append(merkle.Hash{})
	r.publish()
	t.Cleanup(func() {
		select {
		case <-r.halted:
		default:
			if *halted != nil {
				t.Error("halted without the channel")
			}
		}
	})
	return r, halted
}

// TestApplyVerdicts feeds the state machine what a Raft log may hold, and what it
// must never hold.
func TestApplyVerdicts(t *testing.T) {
	type step struct {
		name    string
		make    func(a *author) *batch
		term    uint64 // 0: the batch's own view
		drop    bool   // dropped: errSuperseded
		halt    string // halts, and says this
		head    string
		commits string
	}
	good := func(view uint64, n int, signed bool) func(*author) *batch {
		return func(a *author) *batch { return a.batch(view, n, signed) }
	}
	for name, steps := range map[string][]step{
		"a history": {
			{name: "unsigned", make: good(2, 2, false), head: "2.2", commits: "0.0"},
			{name: "signed", make: good(2, 1, true), head: "2.4", commits: "2.4"},
		},
		"a deposed primary's batch": {
			{name: "signed", make: good(2, 1, true), head: "2.2", commits: "2.2"},
			{name: "late", make: good(2, 1, true), term: 3, drop: true, head: "2.2", commits: "2.2"},
		},
		"a new view drops the unsigned rest": {
			{name: "signed", make: good(2, 1, true), head: "2.2", commits: "2.2"},
			{name: "unsigned", make: good(2, 3, false), head: "2.5", commits: "2.2"},
			{name: "new view", make: func(a *author) *batch { a.rewind(2); return a.batch(4, 0, true) }, head: "4.3", commits: "4.3"},
		},
		"a new view that does not begin at the signature": {
			{name: "signed", make: good(2, 1, true), head: "2.2", commits: "2.2"},
			{name: "unsigned", make: good(2, 3, false), head: "2.5", commits: "2.2"},
			{name: "new view", make: good(4, 0, true), halt: "does not follow"},
		},
		"the same batch again": {
			{name: "signed", make: good(2, 1, true), head: "2.2", commits: "2.2"},
			{name: "again", make: func(a *author) *batch { a.rewind(0); return a.batch(2, 1, true) }, halt: "differs"},
		},
		"a gap": {
			{name: "signed", make: good(2, 1, true), head: "2.2", commits: "2.2"},
			{name: "gap", make: func(a *author) *batch { a.batch(2, 1, false); return a.batch(2, 1, false) }, halt: "does not follow"},
		},
		"a lower view": {
			{name: "signed", make: good(3, 1, true), head: "3.2", commits: "3.2"},
			{name: "lower", make: good(2, 1, true), halt: "does not follow"},
		},
		"another predecessor": {
			{name: "signed", make: good(2, 1, true), head: "2.2", commits: "2.2"},
			{name: "wrong", make: func(a *author) *batch { b := a.batch(2, 1, false); b.prev[0] ^= 1; return b }, halt: "does not follow from"},
		},
		"a failed tag": {
			{name: "flipped", make: func(a *author) *batch {
				b := a.batch(2, 1, false)
				b.entries[0].Raw[len(b.entries[0].Raw)-1] ^= 1
				return b
			}, halt: "2.1"},
		},
		"another root": {
			{name: "signed", make: func(a *author) *batch {
				b := a.batch(2, 1, false)
				a.tree.Truncate(1)
				a.tree.Append(merkle.Hash{1})
				b.entries = append(b.entries, a.batch(2, 0, true).entries...)
				return b
			}, halt: "another root"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthor(t)
			r, _ := follower(t, a)
			for i, s := range steps {
				b := s.make(a)
				term := s.term
				if term == 0 {
					term = b.view
				}
				got := (*fsm)(r).Apply(&raft.Log{Index: uint64(i + 1), Term: term, Data: b.encode()})
				err, _ := got.(error)
				switch {
				case s.halt != "":
					if err == nil || !strings.Contains(err.Error(), s.halt) || r.haltErr == nil {
						t.Fatalf("%s: got %v, want a halt that says %q", s.name, err, s.halt)
					}
					return
				case s.drop && !errors.Is(err, errSuperseded), !s.drop && err != nil:
					t.Fatalf("%s: got %v", s.name, err)
				}
				if p := r.Position(); p.Head.String() != s.head || p.Committed.String() != s.commits {
					t.Errorf("%s: head %v, committed %v; want %s, %s", s.name, p.Head, p.Committed, s.head, s.commits)
				}
			}
		})
	}
}

// TestApplySkipsWhatItHolds replays a whole Raft log behind ledger files that hold it.
func TestApplySkipsWhatItHolds(t *testing.T) {
	a := newAuthor(t)
	r, _ := follower(t, a)
	var log []*raft.Log
	add := func(b *batch) {
		log = append(log, &raft.Log{Index: uint64(len(log) + 1), Term: b.view, Data: b.encode()})
	}
	add(a.batch(2, 2, false))
	add(a.batch(2, 0, true))
	add(a.batch(2, 2, false)) // dies with its view
	a.rewind(3)
	add(a.batch(5, 0, true))
	add(a.batch(5, 3, true))
	for _, l := range log {
		if got := (*fsm)(r).Apply(l); got != nil {
			t.Fatalf("record %d: %v", l.Index, got)
		}
	}
	want := *r.Position()
	r.loaded = want.Head.Seqno
	for _, l := range log {
		if got := (*fsm)(r).Apply(l); got != nil {
			t.Fatalf("record %d again: %v", l.Index, got)
		}
	}
	if got := r.Position(); got.Head != want.Head || got.Committed != want.Committed {
		t.Errorf("after the replay: head %v, committed %v; want %v, %v", got.Head, got.Committed, want.Head, want.Committed)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	a := newAuthor(&testing.T{})
	f.Add(a.batch(2, 2, true).encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decodeBatch(data)
		if err != nil {
			if !errors.Is(err, errMalformedBatch) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if got := b.encode(); string(got) != string(data) {
			t.Fatalf("decoded and encoded again: %d bytes, want %d", len(got), len(data))
		}
	})
}
