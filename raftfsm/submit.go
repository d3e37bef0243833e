package raftfsm

import (
	"context"
	"fmt"

	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// Submission is what goes with a transaction besides its writes.
type Submission struct {
	// Claims is the application's claims digest, zero when it set none.
	Claims ledger.Digest
	// ForceChunk asks for the end of the chunk at the next signature.
	ForceChunk bool
	// ForceSnapshot asks for a snapshot at the next signature.
	ForceSnapshot bool
	// Create marks the create of a recovery (Config.Creates): its entry begins a chunk, and
	// nothing else is ordered before it.
	Create bool
	// AwaitCommit closes the transaction's batch with a signature at once, since
	// somebody waits for the commit.
	AwaitCommit bool

	snapshotDue bool // of a signature: a snapshot falls due at it
}

// Submit checks tx against the head, gives it the next position and seals it. It
// returns the TxID at once: the transaction is executed and ordered, not durable.
//
// Errors: kv.ErrConflict (run the handler again), ErrNotPrimary, ErrTooManyPending, ErrTooLarge,
// ErrBusy, ErrStopped. On each of them nothing was given a position.
func (r *Replica) Submit(ctx context.Context, tx *kv.Tx, s Submission) (TxID, error) {
	if err := ctx.Err(); err != nil {
		return TxID{}, err
	}
	if !tx.Dirty() {
		return tx.ReadTxID(), nil // nothing to order
	}
	if limit := r.cfg.MaxWriteBytes; limit > 0 && tx.Exceeds(limit) {
		return TxID{}, ErrTooLarge
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.admits(); err != nil {
		return TxID{}, err
	}
	if r.cfg.Creates && r.head.Seqno <= r.loaded && !s.Create {
		return TxID{}, ErrNotPrimary // of the earlier life there is none any more
	}
	id := TxID{View: r.view, Seqno: r.head.Seqno + 1}
	ws, err := r.cfg.Store.Commit(tx, id)
	if err != nil {
		return TxID{}, err
	}
	var flags ledger.Flags
	if s.Create {
		flags = ledger.ForceChunkBefore
	}
	if err := r.sequence(id, ws, s, flags); err != nil {
		return TxID{}, err
	}
	if r.firstUnsig.IsZero() {
		r.firstUnsig = r.cfg.Now()
	}
	if s.AwaitCommit {
		r.signFor = id.Seqno
	}
	r.counters.submitted.Add(1)
	r.poke()
	return id, nil
}

// admits says whether a transaction can be given a position now. mu is held.
func (r *Replica) admits() error {
	select {
	case <-r.halted:
		return ErrStopped
	default:
	}
	switch {
	case r.drained:
		return ErrStopped
	case r.view == 0, r.transferring:
		return ErrNotPrimary
	case r.diskFull:
		return ErrBusy
	case r.cfg.MaxUncommitted > 0 && r.head.Seqno-r.committed.Seqno >= uint64(r.cfg.MaxUncommitted):
		r.signFor = r.head.Seqno
		r.poke()
		return ErrTooManyPending
	}
	return nil
}

// sequence seals ws at id and moves the head there. The store's head is at id
// already. Any failure here would leave a hole, so it halts. mu is held.
func (r *Replica) sequence(id TxID, ws writeset.WriteSet, s Submission, flags ledger.Flags) error {
	secret, err := r.cfg.Secrets.At(id.Seqno)
	if err == nil {
		var e *ledger.Entry
		if e, err = ledger.Seal(secret, id, ws, s.Claims, flags); err == nil {
			r.enterView(id.View, id.Seqno)
			r.extend(e, s)
			r.head = id
			err = r.rekey(id, ws)
			r.publish()
		}
	}
	if err != nil {
		err = fmt.Errorf("sealing %v: %w", id, err)
		r.halts(err)
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return nil
}

// rekey switches to a new ledger secret at the exact seqno: a write to the table of
// encrypted ledger secrets seals everything behind it. mu is held.
func (r *Replica) rekey(id TxID, ws writeset.WriteSet) error {
	secret, err := r.cfg.NextSecret(id, ws)
	if err != nil || secret == nil {
		return err
	}
	return r.cfg.Secrets.Add(id.Seqno+1, secret)
}

// extend appends e to the tree and to the tail. mu is held.
func (r *Replica) extend(e *ledger.Entry, s Submission) {
	r.tree.Append(e.Leaf())
	next := r.mark()
	next.entry = e
	next.chunkBytes += uint64(len(e.Raw))
	next.forceChunk = next.forceChunk || s.ForceChunk
	next.forceSnapshot = next.forceSnapshot || s.ForceSnapshot
	if e.Flags&ledger.ForceChunkAfter != 0 {
		next.chunkBytes, next.forceChunk = 0, false
	}
	// What is no evidence of a snapshot, or none that can be read, changes nothing.
	if ev, err := ledger.ParseSnapshotEvidence(e.Public); err == nil && ev != nil {
		next.snapshotAt = max(next.snapshotAt, ev.Seqno)
	}
	if s.snapshotDue {
		next.snapshotAt, next.forceSnapshot = e.ID.Seqno, false
	}
	r.tail = append(r.tail, next)
}

// mark returns the chunk accounting as of the head. mu is held.
func (r *Replica) mark() sealed {
	if n := len(r.tail); n > 0 {
		return r.tail[n-1]
	}
	return r.base
}

// discardAfter forgets every position above seqno, which must not lie below the
// last applied signature. mu is held.
func (r *Replica) discardAfter(seqno uint64) {
	if r.head.Seqno <= seqno {
		return
	}
	if err := r.cfg.Store.Rollback(seqno); err != nil {
		r.halts(fmt.Errorf("rolling back to %d: %w", seqno, err))
		return
	}
	r.tree.Truncate(seqno + 1)
	r.cfg.Secrets.Truncate(max(seqno+1, r.cfg.KnownSecrets))
	clear(r.tail[seqno-r.committed.Seqno:])
	r.tail = r.tail[:seqno-r.committed.Seqno]
	r.leaveViews(seqno)
	r.head = TxID{View: uint64(len(r.views)), Seqno: seqno}
	r.lastSigned = min(r.lastSigned, r.committed.Seqno)
	r.firstUnsig = r.cfg.Now()
	r.publish()
}
