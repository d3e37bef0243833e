package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"chancery/kv"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// Capture is the state as of a signature transaction at which a snapshot fell due.
type Capture struct {
	State *kv.State
	// Leaf is the signature transaction's own, Views the first seqnos of the views
	// through its own.
	Leaf  ledger.Digest
	Views []uint64
}

// Base is the snapshot that a replica begins with.
type Base struct {
	// ID is the signature transaction that the snapshot is of, Leaf its leaf.
	ID   TxID
	Leaf ledger.Digest
	// Tree is the tree over the leaves before it, from the snapshot's own tables.
	Tree  *merkle.Partial
	Views []uint64
}

// foundOn takes up the snapshot that the store was built from, and returns the seqno
// behind it: 1 without one. The tree comes from the index; where that does not lead to the
// root that the snapshot knows, the ledger files before the snapshot are read for their
// digests alone. mu is held.
func (r *Replica) foundOn(ctx context.Context) (next uint64, err error) {
	b := r.cfg.Base
	if b == nil {
		return 1, nil
	}
	want, err := b.Tree.Root()
	if err != nil {
		return 0, fmt.Errorf("the snapshot's tree: %w", err)
	}
	tree, sigs, err := r.resumeIndex(ctx, b, want)
	if err != nil {
		return 0, err
	}
	if tree != nil {
		r.tree, r.sigs, r.views = tree, sigs, b.Views
		r.standOn(b)
		return b.ID.Seqno + 1, nil
	}
	if b.ID.Seqno > 2*r.index.window() {
		r.cfg.Log.Info("making the index of the ledger", "through", b.ID.String())
	}
	var last *ledger.Entry
	for e, err := range r.cfg.Ledger.Entries(1) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && e.ID.Seqno != r.tree.Size() {
			err = fmt.Errorf("entry %v follows %d", e.ID, r.tree.Size()-1)
		}
		if err != nil {
			return 0, err
		}
		r.enterView(e.ID.View, e.ID.Seqno)
		r.tree.Append(e.Leaf())
		if ledger.IsSignature(e.Public) {
			r.sigs = append(r.sigs, e.ID.Seqno)
		}
		if last = e; e.ID.Seqno == b.ID.Seqno {
			break
		}
		r.committed.Seqno = e.ID.Seqno // what is before the snapshot is signed
		r.trim()
	}
	switch {
	case last == nil || last.ID != b.ID || last.Leaf() != b.Leaf || !ledger.IsSignature(last.Public):
		return 0, fmt.Errorf("the ledger files do not hold signature %v, of which the snapshot is", b.ID)
	case r.tree.RootAt(b.ID.Seqno) != want:
		return 0, errors.New("the ledger files before the snapshot have another root than the snapshot")
	case !slices.Equal(r.views, b.Views):
		return 0, errors.New("the ledger files before the snapshot have other views than the snapshot")
	}
	r.standOn(b)
	return b.ID.Seqno + 1, nil
}

// standOn makes the snapshot's position the replica's. mu is held.
func (r *Replica) standOn(b *Base) {
	r.head, r.applied, r.committed = b.ID, b.ID, b.ID
	r.loaded = b.ID.Seqno
	// A snapshot's signature ends its chunk.
	r.base = sealed{snapshotAt: b.ID.Seqno}
}
