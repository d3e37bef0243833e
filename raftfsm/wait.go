package raftfsm

import (
	"context"
	"slices"
	"sync/atomic"

	"chancery/ledger"
)

// Status says what this node knows about id.
func (r *Replica) Status(id TxID) ledger.Status { return r.Position().Status(id) }

// RequestCommit asks the primary for a signature over id soon, without waiting.
func (r *Replica) RequestCommit(id TxID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wantSignature(id)
}

// wantSignature notes that id waits for a signature. mu is held.
func (r *Replica) wantSignature(id TxID) {
	if r.view != 0 && id.Seqno > r.lastSigned && id.Seqno <= r.head.Seqno {
		r.signFor = max(r.signFor, id.Seqno)
		r.poke()
	}
}

// waiter is somebody who waits for a TxID to become terminal.
type waiter struct {
	id   TxID
	done chan struct{} // closed when there is something new to look at
}

// Wait blocks until id is Committed or Invalid, and returns that, or what is
// known when ctx ends or the node stops, with the reason as the error. On the
// primary it asks for a signature.
func (r *Replica) Wait(ctx context.Context, id TxID) (ledger.Status, error) {
	for {
		r.mu.Lock()
		s := r.Position().Status(id)
		if s.Final() {
			r.mu.Unlock()
			return s, nil
		}
		if r.drained && r.stopped.Load() {
			r.mu.Unlock()
			return s, ErrStopped
		}
		r.wantSignature(id)
		w := &waiter{id: id, done: make(chan struct{})}
		r.waiters = append(r.waiters, w)
		r.mu.Unlock()
		select {
		case <-w.done:
		case <-ctx.Done():
			r.forget(w)
			return r.Status(id), context.Cause(ctx)
		case <-r.halted:
			r.forget(w)
			return r.Status(id), ErrStopped
		}
	}
}

// wakeWaiters wakes those whose transaction is decided. mu is held.
func (r *Replica) wakeWaiters() {
	p := r.Position()
	r.waiters = slices.DeleteFunc(r.waiters, func(w *waiter) bool {
		if !p.Status(w.id).Final() {
			return false
		}
		close(w.done)
		return true
	})
}

// dropWaiters wakes everybody: nothing will be decided here any more. mu is held.
func (r *Replica) dropWaiters() {
	for _, w := range r.waiters {
		close(w.done)
	}
	r.waiters = nil
}

func (r *Replica) forget(w *waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiters = slices.DeleteFunc(r.waiters, func(x *waiter) bool { return x == w })
}

// counters are what the metrics report; they only grow.
type counters struct {
	submitted, signatures, batches, committed atomic.Uint64
}

// Metrics is a reading of the replica's counters and gauges.
type Metrics struct {
	Submitted  uint64 // transactions given a position here
	Signatures uint64 // signature transactions made here
	Batches    uint64 // batches given to Raft
	Committed  uint64 // entries committed since start
	Unsigned   uint64 // entries behind the last applied signature
	InFlight   int    // batches given to Raft and not yet applied
	Waiting    int    // requests that wait for commit
}

// Metrics reads the counters.
func (r *Replica) Metrics() Metrics {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Metrics{
		Submitted: r.counters.submitted.Load(), Signatures: r.counters.signatures.Load(),
		Batches: r.counters.batches.Load(), Committed: r.counters.committed.Load(),
		Unsigned: r.head.Seqno - r.committed.Seqno, InFlight: len(r.handed), Waiting: len(r.waiters),
	}
}
