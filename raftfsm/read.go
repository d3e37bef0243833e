package raftfsm

import (
	"fmt"
	"sort"

	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// Proof is what a receipt is made of: a committed entry, its commit evidence, and
// the path from its leaf to the root that Signature signs. For a signature
// transaction Path is empty and Signature is the entry's own.
type Proof struct {
	Entry     *ledger.Entry
	Evidence  string
	Path      []merkle.Step
	Signature *ledger.Signature
}

// Entry reads a committed entry from the chunk files and checks it against the
// tree: the host may have changed the file.
func (r *Replica) Entry(seqno uint64) (*ledger.Entry, error) {
	r.mu.Lock()
	if seqno == 0 || seqno > r.committed.Seqno {
		r.mu.Unlock()
		return nil, fmt.Errorf("entry %d: %w", seqno, ErrNotCommitted)
	}
	want := r.tree.Leaf(seqno)
	r.mu.Unlock()
	e, err := r.cfg.Ledger.Read(seqno)
	if err != nil {
		return nil, fmt.Errorf("reading entry %d: %w", seqno, err)
	}
	if e.Leaf() != want {
		return nil, fmt.Errorf("reading entry %d: %w", seqno, errTampered)
	}
	return e, nil
}

// Proof collects what a receipt for id needs. The error is ErrNotCommitted when id
// is not Committed on this node.
func (r *Replica) Proof(id TxID) (*Proof, error) {
	if r.Status(id) != ledger.StatusCommitted {
		return nil, fmt.Errorf("receipt of %v: %w", id, ErrNotCommitted)
	}
	e, err := r.Entry(id.Seqno)
	if err != nil {
		return nil, err
	}
	secret, err := r.cfg.Secrets.At(id.Seqno)
	if err != nil {
		return nil, fmt.Errorf("commit evidence of %v: %w", id, err)
	}
	p := &Proof{Entry: e, Evidence: ledger.CommitEvidence(secret, id)}
	if ledger.IsSignature(e.Public) {
		p.Signature, err = ledger.ParseSignature(e)
		return p, err
	}
	r.mu.Lock()
	// The first signature behind the entry; there is one, since it is committed.
	sig := r.sigs[sort.Search(len(r.sigs), func(i int) bool { return r.sigs[i] > id.Seqno })]
	p.Path = r.tree.Path(id.Seqno, sig)
	r.mu.Unlock()
	s, err := r.Entry(sig)
	if err != nil {
		return nil, err
	}
	p.Signature, err = ledger.ParseSignature(s)
	return p, err
}

// Writes decrypts a committed entry.
func (r *Replica) Writes(e *ledger.Entry) (writeset.WriteSet, error) {
	secret, err := r.cfg.Secrets.At(e.ID.Seqno)
	if err != nil {
		return nil, fmt.Errorf("entry %v: %w", e.ID, err)
	}
	return e.Open(secret)
}

// RootAt returns the root of the tree over leaves 0 … seqno.
func (r *Replica) RootAt(seqno uint64) (ledger.Digest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seqno > r.head.Seqno {
		return ledger.Digest{}, fmt.Errorf("root at %d: the history ends at %v", seqno, r.head)
	}
	return r.tree.RootAt(seqno + 1), nil
}
