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
	// Trusted begins with the snapshot without reading the ledger files before it.
	Trusted bool
}

// foundOn takes up the snapshot that the store was built from, and returns the seqno
// behind it: 1 without one. The tree comes from the index; where that does not lead to the
// root that the snapshot knows, the ledger files before the snapshot are read for their
// digests alone. Where the ledger files begin behind the snapshot, the tree is the snapshot's
// own. mu is held.
func (r *Replica) foundOn(ctx context.Context) (next uint64, err error) {
	b, first := r.cfg.Base, r.cfg.Ledger.First()
	switch {
	case b == nil && first > 1:
		return 0, fmt.Errorf("the ledger files begin at seqno %d: a snapshot of the state before it is needed, and there is none", first)
	case b == nil:
		return 1, nil
	case first > b.ID.Seqno+1:
		return 0, fmt.Errorf("the ledger files begin at seqno %d, behind the snapshot at %v", first, b.ID)
	case first > b.ID.Seqno, b.Trusted:
		return b.ID.Seqno + 1, r.beginWith(b)
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
	return b.ID.Seqno + 1, r.readBefore(ctx, b, want)
}

// beginWith begins with the snapshot's own tree. The index of what the ledger files hold
// before it is made later. mu is held.
func (r *Replica) beginWith(b *Base) error {
	var err error
	if r.tree, err = merkle.Restore(b.Tree); err != nil {
		return fmt.Errorf("the snapshot's tree: %w", err)
	}
	r.tree.Append(b.Leaf)
	if err := r.index.putEdge(r.tree.First(), r.tree.EdgeAt(r.tree.First())); err != nil {
		return err
	}
	r.sigs, r.views = []uint64{b.ID.Seqno}, b.Views
	if r.cfg.Ledger.First() > b.ID.Seqno {
		r.beginning = r.tree.EdgeAt(b.ID.Seqno + 1)
	} else {
		r.index.want()
	}
	r.standOn(b)
	return nil
}

// readBefore reads the ledger files before the snapshot, for tree, index and views, which
// must be the snapshot's. mu is held.
func (r *Replica) readBefore(ctx context.Context, b *Base, want merkle.Hash) error {
	if b.ID.Seqno > 2*r.index.window() {
		r.cfg.Log.Info("making the index of the ledger", "through", b.ID.String())
	}
	first := r.cfg.Ledger.First()
	edge, err := beginning(r.cfg.Ledger)
	if err != nil {
		return err
	}
	if err := r.index.putEdge(first, edge); err != nil {
		return err
	}
	if first > 1 {
		r.views = b.Views
		r.leaveViews(first - 1)
	}
	next := first
	var last *ledger.Entry
	for e, err := range r.cfg.Ledger.Entries(first) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && e.ID.Seqno != next {
			err = fmt.Errorf("entry %v follows %d", e.ID, next-1)
		}
		if err == nil && next == first {
			r.tree, err = grow(first, edge, e.Leaf())
		} else if err == nil {
			r.tree.Append(e.Leaf())
		}
		if err != nil {
			return err
		}
		next++
		r.enterView(e.ID.View, e.ID.Seqno)
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
		return fmt.Errorf("the ledger files do not hold signature %v, of which the snapshot is", b.ID)
	case r.tree.RootAt(b.ID.Seqno) != want:
		return errors.New("the ledger files before the snapshot have another root than the snapshot")
	case !slices.Equal(r.views, b.Views):
		return errors.New("the ledger files before the snapshot have other views than the snapshot")
	}
	r.beginning = edge
	r.standOn(b)
	return nil
}

// standOn makes the snapshot's position the replica's. mu is held.
func (r *Replica) standOn(b *Base) {
	r.head, r.applied, r.committed = b.ID, b.ID, b.ID
	r.loaded = b.ID.Seqno
	// A snapshot's signature ends its chunk.
	r.base = sealed{snapshotAt: b.ID.Seqno}
}
