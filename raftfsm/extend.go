package raftfsm

import (
	"context"
	"fmt"
	"slices"

	"chancery/ledger"
	"chancery/ledger/merkle"
)

// Extend takes in the closed chunk that ends right before the ledger's first entry, from a
// file, wherever it came from. Its entries must lead to the tree that this node holds: what
// the chunk itself says of the tree before it is believed for that alone. keep is called
// when that is so, and may move the file; it returns where it is then. One call runs at a
// time. Errors: what is wrong with the file, keep's.
func (r *Replica) Extend(ctx context.Context, path string, first, last uint64, keep func() (string, error)) error {
	held := r.cfg.Ledger.First()
	if last+1 != held {
		return fmt.Errorf("a chunk of entries %d to %d does not end before seqno %d", first, last, held)
	}
	after, err := r.origin(ctx)
	if err != nil {
		return err
	}
	edge := []merkle.Hash{{}} // leaf 0
	if first > 1 {
		if edge, err = ledger.Beginning(r.cfg.FS, path, first, last); err != nil {
			return err
		}
	}
	if err := r.leads(ctx, path, first, last, edge, after); err != nil {
		return err
	}
	if path, err = keep(); err != nil {
		return err
	}
	sigs, err := r.indexChunk(ctx, path, first, last, edge)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.cfg.Ledger.Prepend(path, first, last); err != nil {
		return err
	}
	r.beginning = edge
	return r.addSignatures(sigs)
}

// origin returns the subtrees before the ledger's first entry, checked against the tree.
func (r *Replica) origin(ctx context.Context) ([]merkle.Hash, error) {
	r.mu.Lock()
	edge, first := r.beginning, r.cfg.Ledger.First()
	if edge == nil && r.tree.First() <= first {
		edge = r.tree.EdgeAt(first)
	}
	known := edgesOf(r.tree)
	r.mu.Unlock()
	if edge != nil {
		return edge, nil
	}
	edge, err := beginning(r.cfg.Ledger)
	if err != nil {
		return nil, err
	}
	// It begins with these, and fails unless they lead to the tree.
	return edge, r.index.rederive(ctx, r.cfg.Ledger, known)
}

// leads checks that a chunk's entries lead from the subtrees before it to those behind it.
func (r *Replica) leads(ctx context.Context, path string, first, last uint64, before, after []merkle.Hash) error {
	f, err := merkle.NewFrontier(first, before)
	if err != nil {
		return err
	}
	for e, err := range ledger.ReadChunk(r.cfg.FS, path, first, last) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		f.Append(e.Leaf())
	}
	if f.Size() != last+1 || !slices.Equal(f.Edge(), after) {
		return fmt.Errorf("the chunk of entries %d to %d is not this service's: %w", first, last, errTampered)
	}
	return nil
}

// indexChunk writes the index of a chunk's entries and returns the signatures among them.
func (r *Replica) indexChunk(ctx context.Context, path string, first, last uint64, edge []merkle.Hash) ([]uint64, error) {
	r.index.repair.Lock()
	defer r.index.repair.Unlock()
	b := &indexing{x: r.index, from: first, edge: edge}
	for e, err := range ledger.ReadChunk(r.cfg.FS, path, first, last) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = b.add(e)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.sigs, r.index.putNodes(b.t, b.t.Size())
}

// addSignatures adds those of a chunk before the others, in the index or in memory. mu is held.
func (r *Replica) addSignatures(sigs []uint64) error {
	i, _ := slices.BinarySearch(sigs, r.tree.First())
	recent := append(slices.Clone(sigs[i:]), r.sigs...)
	slices.Sort(recent)
	r.sigs = slices.Compact(recent) // the last one may be the snapshot's own
	if i == 0 {
		return nil
	}
	return r.index.putSignatures(slices.Clone(sigs[:i]), sigs[i-1]+1)
}
