package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Peer is a node that should take part in consensus.
type Peer struct {
	ID      string
	Address string // node-to-node, host:port
}

// Member is a node of Raft's latest configuration as the primary sees it.
type Member struct {
	Peer
	Voter bool
	// Ack is the zero value where nothing was heard in this view, and of this node itself.
	Ack Ack
	// Seqno is the last position that the node is known to hold; of this node, its head.
	Seqno uint64
}

// Membership is Raft's latest configuration.
type Membership struct {
	Members []Member
	// Index is the Raft index of the configuration. Committed says that a later record
	// was applied here, so that the configuration can't be lost any more.
	Index     uint64
	Committed bool
}

// Has says whether a node is in the configuration.
func (m *Membership) Has(id string) bool {
	return slices.ContainsFunc(m.Members, func(p Member) bool { return p.ID == id })
}

// Membership returns Raft's latest configuration.
func (r *Replica) Membership() (*Membership, error) {
	latest := latestConfig(r.log, r.stored)
	acks := r.acks.all()
	m := &Membership{Index: latest.index, Committed: r.raft.CommitIndex() >= latest.index}
	for _, s := range latest.Servers {
		p := Member{Peer: Peer{ID: string(s.ID), Address: string(s.Address)}, Voter: s.Suffrage == raft.Voter, Ack: acks[s.ID]}
		if p.ID == r.cfg.ID {
			p.Seqno = r.Position().Head.Seqno
		} else {
			p.Seqno = r.seqnoAt(p.Ack.Index)
		}
		m.Members = append(m.Members, p)
	}
	return m, nil
}

// errUnsafe says that a step would leave a configuration whose reachable, caught-up
// voters are no majority.
var errUnsafe = errors.New("too few of the nodes that would vote are up and caught up")

// Reconcile takes at most one step from Raft's configuration towards the wanted set of
// nodes, and says whether there is more to do. The order is: nodes that are not wanted
// any more go, except this one (which hands over instead); new ones come as non-voters;
// a non-voter that has caught up gets its vote. A step whose outcome would not have a
// reachable, caught-up majority of voters is not taken: the next call tries again.
// Every step waits until its configuration is committed. Only the primary may call it.
func (r *Replica) Reconcile(ctx context.Context, wanted []Peer) (more bool, err error) {
	m, err := r.Membership()
	if err != nil {
		return false, err
	}
	isWanted := func(id string) bool { return slices.ContainsFunc(wanted, func(p Peer) bool { return p.ID == id }) }
	for _, p := range m.Members {
		if isWanted(p.ID) || p.ID == r.cfg.ID {
			continue
		}
		if !r.knows(p) {
			more = true // what ends its part in the service must reach it
			continue
		}
		if p.Voter && !r.safe(m, p.ID, "") {
			return true, fmt.Errorf("removing %s: %w", p.ID, errUnsafe)
		}
		r.cfg.Log.Info("removing a node from consensus", "node", p.ID)
		return true, r.changed(ctx, "removing "+p.ID, r.raft.RemoveServer(raft.ServerID(p.ID), m.Index, 0))
	}
	for _, w := range wanted {
		if m.Has(w.ID) {
			continue
		}
		r.cfg.Log.Info("adding a node to consensus, without a vote until it has caught up", "node", w.ID, "address", w.Address)
		return true, r.changed(ctx, "adding "+w.ID, r.raft.AddNonvoter(raft.ServerID(w.ID), raft.ServerAddress(w.Address), m.Index, 0))
	}
	for _, p := range m.Members {
		if p.Voter || !isWanted(p.ID) {
			continue
		}
		if !r.caughtUp(p) || p.ID != r.cfg.ID && p.Ack.Index < m.Index { // a heartbeat's answer says nothing of records
			more = true
			continue
		}
		if !r.safe(m, "", p.ID) {
			return true, fmt.Errorf("giving %s a vote: %w", p.ID, errUnsafe)
		}
		r.cfg.Log.Info("giving a node its vote", "node", p.ID)
		return true, r.changed(ctx, "giving a vote to "+p.ID, r.raft.AddVoter(raft.ServerID(p.ID), raft.ServerAddress(p.Address), m.Index, 0))
	}
	return more, nil
}

// knows says whether a node that is to leave has been told of the commit of everything
// that was committed when that was first noticed, or does not answer.
func (r *Replica) knows(p Member) bool {
	r.mu.Lock()
	at, noticed := r.leaving[p.ID]
	if !noticed {
		at = r.raft.CommitIndex()
		if r.leaving == nil {
			r.leaving = map[string]uint64{}
		}
		r.leaving[p.ID] = at
	}
	r.mu.Unlock()
	return p.Ack.Commit >= at || !r.fresh(p)
}

// changed waits until a change of the configuration is committed.
func (r *Replica) changed(ctx context.Context, what string, f raft.IndexFuture) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// catchUpSlack is by how many Raft records a node may lag and count as caught up: what
// comes in while the answer to the last append is on its way.
const catchUpSlack = 64

func (r *Replica) caughtUp(p Member) bool {
	if p.ID == r.cfg.ID {
		return true
	}
	return r.fresh(p) && p.Ack.Index+catchUpSlack >= r.raft.CommitIndex()
}

// fresh says whether a node has answered lately.
func (r *Replica) fresh(p Member) bool { return r.cfg.Now().Sub(p.Ack.At) <= r.contactWithin() }

// contactWithin is how old the last answer of a node that is up can be.
func (r *Replica) contactWithin() time.Duration { return max(r.cfg.ElectionTimeout, minTimeout) }

// safe says whether the configuration without one node and with a vote for another has
// a majority of voters that are up and caught up.
func (r *Replica) safe(m *Membership, without, with string) bool {
	voters, good := 0, 0
	for _, p := range m.Members {
		if p.ID == without || !p.Voter && p.ID != with {
			continue
		}
		voters++
		if r.caughtUp(p) {
			good++
		}
	}
	return good > voters/2
}

// ErrNoSuccessor says that no other voter is up and caught up.
var ErrNoSuccessor = errors.New("no other node can take over")

// Transfer hands the primary's role to the voter that is furthest ahead. Before that it
// stops admitting and waits until everything that was admitted is committed, so that
// no position is ever given out twice. When it fails, this node goes on as it was.
func (r *Replica) Transfer(ctx context.Context) error {
	r.mu.Lock()
	if r.view == 0 {
		r.mu.Unlock()
		return ErrNotPrimary
	}
	r.transferring = true
	r.signFor = max(r.signFor, r.head.Seqno)
	target := r.head
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.transferring = false
		r.mu.Unlock()
	}()
	r.poke()
	if status, err := r.Wait(ctx, target); err != nil || !status.Final() {
		return fmt.Errorf("waiting for the commit of %v before a hand-over: %w", target, err)
	}
	m, err := r.Membership()
	if err != nil {
		return err
	}
	best := r.successor(m)
	if best == nil {
		return ErrNoSuccessor
	}
	r.cfg.Log.Info("handing over the primary's role", "to", best.ID)
	f := r.raft.LeadershipTransferToServer(raft.ServerID(best.ID), raft.ServerAddress(best.Address))
	if err := f.Error(); err != nil {
		return fmt.Errorf("handing over to %s: %w", best.ID, err)
	}
	return nil
}

// successor returns the other voter that is furthest ahead of those that are up and
// caught up, nil when there is none.
func (r *Replica) successor(m *Membership) *Member {
	var best *Member
	for i, p := range m.Members {
		if p.Voter && p.ID != r.cfg.ID && r.caughtUp(p) && (best == nil || p.Ack.Index > best.Ack.Index) {
			best = &m.Members[i]
		}
	}
	return best
}

// LastContact is when this node last heard of the primary, the zero time when never or
// when it leads itself.
func (r *Replica) LastContact() time.Time { return r.raft.LastContact() }
