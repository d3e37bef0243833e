package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"chancery/ledger"
)

// Run leads when Raft says so, sequences while it leads, and returns when ctx
// ends or the replica halts. Before it returns on ctx it signs and hands over
// what was admitted, so that a clean stop loses nothing.
func (r *Replica) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(context.WithoutCancel(ctx))
	gctx, cancel := context.WithCancel(gctx)
	defer cancel()
	g.Go(func() error { defer cancel(); return r.runSequencer(ctx) })
	g.Go(func() error { return r.runLeadership(gctx) })
	g.Go(func() error { return r.runSettler(gctx) })
	g.Go(func() error { return r.runIndex(gctx) })
	g.Go(func() error {
		select {
		case <-r.halted: // at once: a primary that can do nothing must not hold the lead
			r.shutdown()
		case <-gctx.Done():
		}
		return nil
	})
	err := g.Wait()
	r.stop()
	if r.haltErr != nil {
		return r.haltErr
	}
	return err
}

// stop shuts Raft down and fails whoever still waits. Raft's goroutines have
// ended when it returns.
func (r *Replica) stop() {
	r.stopped.Store(true)
	if err := r.shutdown().Error(); err != nil {
		r.cfg.Log.Warn("stopping Raft", "err", err)
	}
	if err := errors.Join(r.log.Close(), r.index.close()); err != nil {
		r.cfg.Log.Warn("closing Raft's log and the index", "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drained = true
	r.dropWaiters()
}

// runSequencer is the only goroutine that gives batches to Raft.
func (r *Replica) runSequencer(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		again, err := r.pump()
		if err != nil {
			return err
		}
		timer.Reset(again)
		select {
		case <-r.halted:
			return r.haltErr
		case <-ctx.Done():
			return r.drain()
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// drain refuses new transactions, signs the rest and waits until Raft has applied
// it, no longer than two election timeouts.
func (r *Replica) drain() error {
	r.mu.Lock()
	r.drained = true
	leads := r.view != 0
	target := r.head.Seqno
	r.signFor = max(r.signFor, target)
	r.mu.Unlock()
	if !leads {
		return nil
	}
	deadline := time.NewTimer(2 * max(r.cfg.ElectionTimeout, minTimeout))
	defer deadline.Stop()
	for {
		if _, err := r.pump(); err != nil {
			return err
		}
		r.mu.Lock()
		done, leads := r.committed.Seqno >= target, r.view != 0
		r.mu.Unlock()
		if done && leads {
			r.handOver()
		}
		if done || !leads {
			return nil
		}
		select {
		case <-r.halted:
			return r.haltErr
		case <-deadline.C:
			r.cfg.Log.Warn("stopping with transactions that are not committed", "through", target)
			return nil
		case <-r.wake:
		}
	}
}

// handOver makes another voter the primary, where there is one: its election is over
// sooner than one that waits for this node's silence.
func (r *Replica) handOver() {
	m, err := r.Membership()
	if err != nil {
		return
	}
	next := r.successor(m)
	if next == nil {
		return
	}
	r.cfg.Log.Info("handing over the primary's role", "to", next.ID)
	f := r.raft.LeadershipTransferToServer(raft.ServerID(next.ID), raft.ServerAddress(next.Address))
	if err := f.Error(); err != nil {
		r.cfg.Log.Warn("the primary's role was not handed over", "err", err)
	}
}

// pump closes and hands over what is due, and returns how long nothing more will be.
func (r *Replica) pump() (time.Duration, error) {
	for {
		data, again, err := r.nextBatch()
		if err != nil || data == nil {
			return again, err
		}
		// Without a timeout, as invariant 9 demands: a batch that was refused for
		// being late might still be in Raft's queue.
		f := r.raft.Apply(data, 0)
		select {
		case r.futures <- f:
		case <-r.halted:
			return 0, r.haltErr
		}
	}
}

// nextBatch decides under the lock whether a batch goes to Raft now. It returns
// nil data when none does, and the time until a signature falls due.
func (r *Replica) nextBatch() (data []byte, again time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	again = time.Hour
	if r.view == 0 || r.diskFull {
		return nil, again, nil
	}
	pending := r.tail[r.handedTo-r.committed.Seqno:]
	size := 0
	for _, s := range pending {
		size += len(s.entry.Raw)
	}
	full := size >= maxBatchBytes
	if len(r.handed) >= maxInFlight || (len(r.handed) > 0 && !full) {
		return nil, again, nil // the settler wakes us when one is durable
	}
	if r.lastSigned > r.handedTo {
		// The view's first signature was made when it began; a signature ends its batch.
		return r.hand(pending[:r.lastSigned-r.handedTo]), again, nil
	}
	due, wait := r.signatureDue()
	if due {
		if err := r.sign(); err != nil {
			return nil, 0, err
		}
		pending = r.tail[r.handedTo-r.committed.Seqno:]
	} else if wait < again {
		again = wait
	}
	if len(pending) == 0 {
		return nil, again, nil
	}
	return r.hand(pending), again, nil
}

// signatureDue says whether the open batch must be closed by a signature, and if
// not, when the delay will demand one. mu is held.
func (r *Replica) signatureDue() (bool, time.Duration) {
	unsigned := r.head.Seqno - max(r.lastSigned, r.committed.Seqno)
	if unsigned == 0 {
		return r.signIdle, time.Hour
	}
	every := r.cfg.SignatureInterval
	if every <= 0 {
		every = signaturesBig
	}
	wait := r.cfg.SignatureDelay - r.cfg.Now().Sub(r.firstUnsig)
	return r.signFor > r.lastSigned || unsigned >= uint64(every) || wait <= 0, wait
}

// SignForSnapshot has a signature made where a snapshot has fallen due and no transaction
// waits for one: a snapshot is of the state as of a signature. On a backup it does nothing.
func (r *Replica) SignForSnapshot() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.SnapshotDue == nil || r.admits() != nil || r.head.Seqno != r.lastSigned {
		return
	}
	if r.signIdle = r.cfg.SnapshotDue(r.head.Seqno, r.mark().snapshotAt); r.signIdle {
		r.poke()
	}
}

// sign puts a signature transaction at the head. mu is held while the two
// signatures are made: what is admitted meanwhile could only go into the next batch.
func (r *Replica) sign() error {
	id := TxID{View: r.view, Seqno: r.head.Seqno + 1}
	root := r.tree.Root()
	writes, err := r.cfg.Sign(id, root, r.tree.AppendTo(nil, r.committed.Seqno))
	if err != nil {
		err = fmt.Errorf("signing %v: %w", id, err)
		r.halts(err)
		return err
	}
	var flags ledger.Flags
	m := r.mark()
	due := r.cfg.SnapshotDue != nil && (m.forceSnapshot || r.cfg.SnapshotDue(id.Seqno, m.snapshotAt))
	if due || m.forceChunk || m.chunkBytes >= r.cfg.ChunkSize {
		flags = ledger.ForceChunkAfter // a snapshot's seqno is the last of its chunk
	}
	if _, err := r.cfg.Store.Apply(id, writes); err != nil {
		r.halts(err)
		return err
	}
	if err := r.sequence(id, writes, Submission{snapshotDue: due}, flags); err != nil {
		return err
	}
	r.lastSigned, r.firstUnsig, r.signIdle = id.Seqno, time.Time{}, false
	r.counters.signatures.Add(1)
	return nil
}

// hand encodes the pending entries as one batch and notes that Raft has it. mu is held.
func (r *Replica) hand(pending []sealed) []byte {
	b := batch{view: r.view, first: r.handedTo + 1, prev: r.tree.Leaf(r.handedTo), entries: make([]*ledger.Entry, len(pending))}
	for i, s := range pending {
		b.entries[i] = s.entry
	}
	data := b.encode()
	r.handedTo = b.last()
	r.handed = append(r.handed, handedBatch{data: data, last: b.last()})
	r.counters.batches.Add(1)
	return data
}

// runSettler waits for each batch in the order in which it was given to Raft.
func (r *Replica) runSettler(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.halted:
			return nil
		case f := <-r.futures:
			if err := r.settle(f); err != nil {
				r.halts(err)
				return err
			}
			r.poke()
		}
	}
}

// settle judges what Raft said of one batch. A refusal while this node still
// leads would make it seal the same positions twice: it halts. Otherwise the
// leadership goroutine has discarded, or will discard, what was not applied.
func (r *Replica) settle(f raft.ApplyFuture) error {
	err := f.Error()
	if err == nil {
		return nil // Apply has judged the batch by itself
	}
	if r.stopped.Load() || errors.Is(err, raft.ErrRaftShutdown) {
		return nil
	}
	if errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		r.resign("Raft refused a batch: " + err.Error())
		return nil
	}
	return fmt.Errorf("Raft refused a sealed batch: %w", err)
}
