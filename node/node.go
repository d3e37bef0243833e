package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"chancery/internal/durable"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/raftfsm"
	"chancery/server"
)

// CCF's names of a node's states, as far as this node can be in them.
const (
	stateInitialized   = "Initialized"
	statePartOfNetwork = "PartOfNetwork"
)

// Node is a running node. It implements server.Node.
type Node struct {
	// Immutable after construction.
	cfg       *config.Config
	opts      Options
	log       *slog.Logger
	fs        durable.FS // watched by disk
	disk      *disk
	keys      *keys
	store     *kv.Store
	ledger    *ledger.Dir
	secrets   *ledger.Secrets
	certs     *certificates
	listeners *listeners

	// replica is set once, before anything is served.
	replica *raftfsm.Replica

	// genesis is set on Start only.
	genesis *genesis

	committed  chan struct{} // capacity 1: raised by every commit
	refresher  *keyRefresher
	led        chan struct{} // closed when this node leads for the first time
	leadOnce   sync.Once
	stopNotice atomic.Bool
	state      atomic.Value // string: one of CCF's state names
}

var _ server.Node = (*Node)(nil)

// Begin returns a transaction over the head.
func (n *Node) Begin() *kv.Tx { return n.store.Begin() }

// Committed returns the state as of the last applied signature.
func (n *Node) Committed() *kv.State { return n.store.Committed() }

// Position returns where the node stands.
func (n *Node) Position() server.Position {
	p := n.replica.Position()
	view := p.View
	if view == 0 {
		view = n.replica.Term()
	}
	return server.Position{View: view, Primary: p.View != 0, History: p.History}
}

// Submit gives a transaction the next position.
func (n *Node) Submit(ctx context.Context, tx *kv.Tx, s server.Submission) (server.TxID, error) {
	sub := raftfsm.Submission{Claims: s.Claims, AwaitCommit: s.AwaitCommit}
	if e, ok := s.Effects.(*effects); ok {
		sub.ForceChunk = e.chunk
	}
	id, err := n.replica.Submit(ctx, tx, sub)
	return id, translate(err)
}

// Wait blocks until id is Committed or Invalid.
func (n *Node) Wait(ctx context.Context, id server.TxID) (server.Status, error) {
	s, err := n.replica.Wait(ctx, id)
	return s, translate(err)
}

// RequestSignature asks that what is ordered so far be signed soon.
func (n *Node) RequestSignature() { n.replica.RequestCommit(n.replica.Position().Head) }

// Receipt returns the JSON receipt of a committed transaction.
func (n *Node) Receipt(_ context.Context, id server.TxID) (*ledger.Receipt, error) {
	p, err := n.replica.Proof(id)
	if err != nil {
		return nil, translate(err)
	}
	return n.jsonReceipt(p)
}

// COSEReceipt returns the COSE receipt of a committed transaction.
func (n *Node) COSEReceipt(_ context.Context, id server.TxID) ([]byte, error) {
	p, err := n.replica.Proof(id)
	if err != nil {
		return nil, translate(err)
	}
	return n.coseReceipt(p)
}

// Transaction returns the writes of a committed transaction.
func (n *Node) Transaction(_ context.Context, id server.TxID) (writeset.WriteSet, error) {
	if n.replica.Status(id) != ledger.StatusCommitted {
		return nil, fmt.Errorf("transaction %v: %w", id, server.ErrNotCommitted)
	}
	e, err := n.replica.Entry(id.Seqno)
	if err != nil {
		return nil, translate(err)
	}
	return n.replica.Writes(e)
}

// translate turns raftfsm's sentinels into those that the server branches on.
func translate(err error) error {
	for _, s := range []struct{ from, to error }{
		{raftfsm.ErrNotPrimary, server.ErrNotPrimary},
		{raftfsm.ErrTooManyPending, server.ErrTooManyPending},
		{raftfsm.ErrBusy, server.ErrBusy},
		{raftfsm.ErrStopped, server.ErrStopped},
		{raftfsm.ErrNotCommitted, server.ErrNotCommitted},
	} {
		if errors.Is(err, s.from) {
			return fmt.Errorf("%w: %w", s.to, err)
		}
	}
	return err
}

// Info returns what the node says of itself.
func (n *Node) Info() server.Info {
	return server.Info{
		ID: n.keys.id, State: n.state.Load().(string), StopNotice: n.stopNotice.Load(),
		PrimaryID: n.replica.Leader(), SelfSignedCert: n.certs.selfSigned(),
		RefreshAttempts: n.refresher.attempts.Load(), RefreshSuccesses: n.refresher.successes.Load(), RefreshFailures: n.refresher.failures.Load(),
	}
}

// Consensus returns the details of /node/consensus.
func (n *Node) Consensus() server.Consensus {
	p := n.Position()
	c := server.Consensus{
		Acks: map[string]server.ConsensusAck{}, MembershipState: "Active", LeadershipState: "Follower",
		ReconfigurationType: "OneTransaction", CurrentView: p.View, Ticking: true,
	}
	if p.Primary {
		c.LeadershipState = "Leader"
	}
	if leader := n.replica.Leader(); leader != "" {
		c.PrimaryID = &leader
	}
	servers, _, err := n.replica.Members()
	if err != nil {
		n.log.Warn("reading the consensus configuration", "err", err)
		return c
	}
	peers := make(map[string]server.ConsensusPeer, len(servers))
	for _, s := range servers {
		peers[string(s.ID)] = server.ConsensusPeer{Address: string(s.Address)}
	}
	c.Configs = []server.ConsensusConfig{{Idx: n.firstConfiguration(), Rid: firstRid, Nodes: peers}}
	return c
}

// firstRid numbers the reconfigurations of a service whose set of nodes never changed.
const firstRid = 1

// firstConfiguration is the seqno of the transaction that made the present set of
// nodes: with one node, the one that recorded it.
func (n *Node) firstConfiguration() uint64 {
	_, version, _ := n.store.Committed().Get(nodesInfo, []byte(n.keys.id))
	return version
}

// raise wakes the reconcilers; it never blocks.
func (n *Node) raise(*kv.State) {
	for _, c := range []chan struct{}{n.committed, n.refresher.committed} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// leads is told by the replica when it begins (or, with 0, ceases) to lead.
func (n *Node) leads(view uint64) {
	if view != 0 {
		n.leadOnce.Do(func() { close(n.led) })
	}
}

// Options are what a program gives to Run beside the configuration file.
type Options struct {
	Log *slog.Logger
	// Version is the release, shown by /node/version and the log.
	Version string
	// App is an application compiled into the program; nil for none.
	App *server.App
	// StopNotice is closed when the operator announces the node's end (the first
	// SIGTERM under ignore_first_sigterm). Nil for never.
	StopNotice <-chan struct{}
	// FS is the disk, Now the clock; nil for the real ones.
	FS  durable.FS
	Now func() time.Time
}
