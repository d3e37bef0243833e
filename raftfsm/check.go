package raftfsm

import (
	"context"
	"fmt"

	"chancery/internal/durable"
	"chancery/ledger"
)

// CheckSpan reads the committed entries from first to last from the ledger files and
// compares each with the tree. each is called with the size of every entry; its error
// ends the reading. Errors: ErrIndexing, and what is wrong with the files.
func (r *Replica) CheckSpan(ctx context.Context, first, last uint64, each func(bytes int) error) error {
	for e, err := range r.stream(first, last) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = each(e.Size())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckFile reads a closed chunk's file, from wherever it came, and compares each entry
// with the tree. Errors as CheckSpan's.
func (r *Replica) CheckFile(ctx context.Context, fsys durable.FS, path string, first, last uint64) error {
	pages, next := r.index.pages(), first
	for e, err := range ledger.ReadChunk(fsys, path, first, last) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = r.checkEntry(e, pages)
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", next, err)
		}
		next++
	}
	return nil
}

// checkEntry compares an entry with the tree: in memory, or through the index.
func (r *Replica) checkEntry(e *ledger.Entry, p *pages) error {
	r.mu.Lock()
	if e.ID.Seqno > r.committed.Seqno {
		r.mu.Unlock()
		return ErrNotCommitted
	}
	if e.ID.Seqno >= r.tree.First() {
		want := r.tree.Leaf(e.ID.Seqno)
		r.mu.Unlock()
		if e.Leaf() != want {
			return errTampered
		}
		return nil
	}
	level, i, root := r.tree.Cover(e.ID.Seqno)
	r.mu.Unlock()
	return r.judge(e, p.covers(e.ID.Seqno, e.Leaf(), level, i, root))
}
