package raftfsm

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// runLeadership follows Raft's opinion of who leads and turns it into the view in
// which this node may sequence.
func (r *Replica) runLeadership(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			r.resign("the node stops")
			return nil
		case <-r.halted:
			r.resign("the node has halted")
			return nil
		case led := <-r.raft.LeaderCh():
			if !led {
				r.resign("leadership lost")
				continue
			}
			if err := r.assume(ctx); err != nil {
				return err
			}
		}
	}
}

// assume begins to lead, if Raft's term is the same, and led, before and after a
// barrier: all that earlier leaders committed is applied then, and nothing of this
// term stands in the log. LeaderCh may have dropped a toggle in between.
func (r *Replica) assume(ctx context.Context) error {
	for ctx.Err() == nil && r.raft.State() == raft.Leader {
		term := r.raft.CurrentTerm()
		if err := r.raft.Barrier(0).Error(); err != nil {
			r.cfg.Log.Info("not leading after all", "term", term, "err", err)
			return nil
		}
		if r.raft.State() == raft.Leader && r.raft.CurrentTerm() == term {
			if err := r.checkTail(); err != nil {
				r.halts(err)
				return err
			}
			r.lead(term)
			return nil
		}
	}
	return nil
}

// checkTail judges what stands in the open chunk behind its last whole span, now that
// Raft's log has refilled what it could. A torn write is overwritten by what comes;
// anything else is damage, which is named and never cut.
func (r *Replica) checkTail() error {
	t := r.cfg.Ledger.Tail()
	if t == nil || t.Torn {
		return nil
	}
	return fmt.Errorf("the open chunk is damaged and Raft's log does not refill it: %w", &t.CorruptError)
}

// lead makes this node the primary of the view. The head becomes the last applied
// signature: the unsigned rest of the old view dies here on the primary, and on
// every replica when the first batch of the new view is applied.
func (r *Replica) lead(view uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if view <= r.burnt || view == r.view {
		return
	}
	// Whatever was applied behind the last signature can't become part of the history
	// any more: every later view begins at the signature too.
	r.discardAfter(r.committed.Seqno)
	r.applied = r.committed
	r.view = view
	r.acks.forget()
	r.leaving = nil
	r.handed, r.handedTo = nil, r.committed.Seqno
	r.lastSigned, r.signFor, r.signIdle = r.committed.Seqno, 0, false
	r.publish()
	// A view begins with a signature, but where the caller begins a life of the service:
	// with its genesis, or with the create of a recovery.
	if r.committed.Seqno > 0 && (!r.cfg.Creates || r.committed.Seqno > r.loaded) {
		if err := r.sign(); err != nil {
			return // halted
		}
	}
	r.cfg.Log.Info("leading", "view", view, "from", r.committed.String())
	if r.cfg.Led != nil {
		r.cfg.Led(view)
	}
	r.poke()
}

// resign ends the view in which this node leads: the head becomes what Apply has
// taken, and nothing is ever sealed again in that view.
func (r *Replica) resign(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view == 0 {
		return
	}
	r.cfg.Log.Info("not leading any more", "view", r.view, "reason", why)
	r.burnt, r.view = r.view, 0
	r.discardAfter(r.applied.Seqno)
	r.handed = nil
	r.publish()
	if r.cfg.Led != nil {
		r.cfg.Led(0)
	}
}

// Confirm returns once a majority has said, after the call, that this node leads: what
// was read at the head before is then nothing that another primary has gone beyond. No
// record is written. Errors: ErrNotPrimary, ctx's.
func (r *Replica) Confirm(ctx context.Context) error {
	view := r.Position().View
	if view == 0 {
		return ErrNotPrimary
	}
	done := make(chan error, 1)
	go func() { done <- r.raft.VerifyLeader().Error() }()
	select {
	case err := <-done:
		if err != nil || r.Position().View != view {
			return ErrNotPrimary
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Leader returns the Raft id of the node that leads, "" when none is known.
func (r *Replica) Leader() string {
	_, id := r.raft.LeaderWithID()
	return string(id)
}

// Term returns Raft's current term.
func (r *Replica) Term() uint64 { return r.raft.CurrentTerm() }

// Elect makes the only voter of a configuration stand for election at once instead of
// after a timeout: nobody else could be the primary. It does nothing elsewhere.
func (r *Replica) Elect() {
	f := r.raft.GetConfiguration()
	if f.Error() != nil {
		return
	}
	servers := f.Configuration().Servers
	if len(servers) != 1 || string(servers[0].ID) != r.cfg.ID || r.raft.State() != raft.Follower {
		return
	}
	// A message to itself, as from a primary that hands over; where it fails the timeout
	// does the same a little later.
	req := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(r.cfg.ID), Addr: []byte(r.cfg.Address)}}
	if err := r.acks.TimeoutNow(servers[0].ID, r.cfg.Address, req, &raft.TimeoutNowResponse{}); err != nil {
		r.cfg.Log.Debug("standing for election after the timeout", "err", err)
	}
}
