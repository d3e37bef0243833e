package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"chancery/gov"
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
	stateInitialized    = "Initialized"
	statePending        = "Pending"
	statePartOfNetwork  = "PartOfNetwork"
	stateReadingPublic  = "ReadingPublicLedger"
	statePublic         = "PartOfPublicNetwork"
	stateReadingPrivate = "ReadingPrivateLedger"
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

	// current is set once: before anything is served, or when the node has joined.
	current atomic.Pointer[raftfsm.Replica]
	opened  chan struct{} // closed when current is set
	// peers and forwarder are set before current.
	peers     *raftfsm.Peers
	forwarder *forwarder
	files     *raftfsm.Stream // see peerfile.go

	snp snpPlatform

	// identity is the service certificate by which peers are judged while the tables
	// hold none; nil on Resume.
	identity *x509.Certificate
	// known is the seqno from which the last of the ledger secrets that the node began
	// with is in force; later ones are in the ledger.
	known  uint64
	joiner *joiner                // on Join only
	joined atomic.Pointer[joined] // what the service gave; nil on the node that started it

	// genesis is set on Start only; startup is the seqno of the snapshot that the node
	// began with, 0 without one.
	genesis *genesis
	startup uint64
	// initIndex is the seqno before the first that the ledger files held when the node began
	// to take part. Set before current.
	initIndex uint64

	decider  *gov.Decision            // nil where the node takes no part in one
	sealing  *sealing                 // nil where the node seals nothing
	recovery atomic.Pointer[recovery] // of a service that is being recovered, or was by this node

	lives lives // for receipts of transactions under earlier identities

	committed  chan struct{} // capacity 1: raised by every commit
	membership *membership
	refresher  *keyRefresher
	snapshots  *snapshotter
	fetcher    *snapshotFetcher
	history    *historyCache
	scrubber   *scrubber
	backfiller *backfiller
	led        chan struct{} // closed when this node leads for the first time
	leadOnce   sync.Once
	stopNotice atomic.Bool
	state      atomic.Value // string: one of CCF's state names
}

// logged says in each record of the log which node it is and in which view, once there
// is something to say.
func (n *Node) logged() []slog.Attr {
	r := n.replica()
	if r == nil {
		return nil
	}
	return []slog.Attr{slog.String("node", n.keys.id), slog.Uint64("view", max(r.Position().View, r.Term()))}
}

var _ server.Node = (*Node)(nil)

// replica returns the node's copy of the history, nil until the node has joined.
func (n *Node) replica() *raftfsm.Replica { return n.current.Load() }

// Begin returns a transaction over the head.
func (n *Node) Begin() *kv.Tx { return n.store.Begin() }

// Committed returns the state as of the last applied signature.
func (n *Node) Committed() *kv.State { return n.store.Committed() }

// Position returns where the node stands.
func (n *Node) Position() server.Position {
	r := n.replica()
	if r == nil {
		return server.Position{}
	}
	p := r.Position()
	view := p.View
	if view == 0 {
		view = r.Term()
	}
	return server.Position{View: view, Primary: p.View != 0, History: p.History}
}

// Submit gives a transaction the next position.
func (n *Node) Submit(ctx context.Context, tx *kv.Tx, s server.Submission) (server.TxID, error) {
	r := n.replica()
	if r == nil {
		return server.TxID{}, server.ErrNotPrimary
	}
	sub := raftfsm.Submission{Claims: s.Claims, AwaitCommit: s.AwaitCommit, ForceSnapshot: s.Snapshot}
	if e, ok := s.Effects.(*effects); ok {
		sub.ForceChunk = e.chunk
		sub.ForceSnapshot = sub.ForceSnapshot || e.snap
	}
	id, err := r.Submit(ctx, tx, sub)
	return id, translate(err)
}

// Wait blocks until id is Committed or Invalid.
func (n *Node) Wait(ctx context.Context, id server.TxID) (server.Status, error) {
	r := n.replica()
	if r == nil {
		return server.Unknown, server.ErrStopped
	}
	s, err := r.Wait(ctx, id)
	return s, translate(err)
}

// Confirm returns once a majority has confirmed that this node leads.
func (n *Node) Confirm(ctx context.Context) error {
	r := n.replica()
	if r == nil {
		return server.ErrNotPrimary
	}
	return translate(r.Confirm(ctx))
}

// RequestSignature asks that what is ordered so far be signed soon.
func (n *Node) RequestSignature() {
	if r := n.replica(); r != nil {
		r.RequestCommit(r.Position().Head)
	}
}

// Receipt returns the JSON receipt of a committed transaction.
func (n *Node) Receipt(ctx context.Context, id server.TxID) (*ledger.Receipt, error) {
	p, err := n.proof(id)
	if err != nil {
		return nil, err
	}
	return n.jsonReceipt(ctx, p)
}

// COSEReceipt returns the COSE receipt of a committed transaction.
func (n *Node) COSEReceipt(_ context.Context, id server.TxID) ([]byte, error) {
	p, err := n.proof(id)
	if err != nil {
		return nil, err
	}
	return n.coseReceipt(p)
}

func (n *Node) proof(id server.TxID) (*raftfsm.Proof, error) {
	r := n.replica()
	if r == nil {
		return nil, server.ErrNotCommitted
	}
	if r.Status(id) != ledger.StatusCommitted {
		return nil, fmt.Errorf("receipt of %v: %w", id, server.ErrNotCommitted)
	}
	if n.ofEarlierLife(id.Seqno) {
		return nil, fmt.Errorf("receipt of %v: %w", id, server.ErrEarlierLife)
	}
	p, err := n.pastProof(r, id)
	return p, translate(err)
}

// Transaction returns the writes of a committed transaction.
func (n *Node) Transaction(_ context.Context, id server.TxID) (writeset.WriteSet, error) {
	r := n.replica()
	if r == nil || r.Status(id) != ledger.StatusCommitted {
		return nil, fmt.Errorf("transaction %v: %w", id, server.ErrNotCommitted)
	}
	if n.ofEarlierLife(id.Seqno) {
		return nil, fmt.Errorf("transaction %v: %w", id, server.ErrEarlierLife)
	}
	ws, err := n.pastWrites(r, id)
	return ws, translate(err)
}

// Scan gives committed transactions to each, past the cache: who goes through all history
// must not drive out of it what others ask for.
func (n *Node) Scan(ctx context.Context, first uint64, each func(server.TxID, writeset.WriteSet) bool) error {
	r := n.replica()
	if r == nil {
		return fmt.Errorf("transaction %d: %w", first, server.ErrNotCommitted)
	}
	if n.ofEarlierLife(first) {
		return fmt.Errorf("transaction %d: %w", first, server.ErrEarlierLife)
	}
	for e, err := range r.History(first, r.Position().Committed.Seqno) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return translate(err)
		}
		writes, err := r.Writes(e)
		if err != nil {
			return translate(err)
		}
		if !each(e.ID, writes) {
			return nil
		}
	}
	return nil
}

// translate turns raftfsm's sentinels into those that the server branches on.
func translate(err error) error {
	for _, s := range []struct{ from, to error }{
		{raftfsm.ErrNotPrimary, server.ErrNotPrimary},
		{raftfsm.ErrTooManyPending, server.ErrTooManyPending},
		{raftfsm.ErrTooLarge, server.ErrTooLarge},
		{raftfsm.ErrBusy, server.ErrBusy},
		{raftfsm.ErrStopped, server.ErrStopped},
		{raftfsm.ErrNotCommitted, server.ErrNotCommitted},
		{raftfsm.ErrIndexing, server.ErrFetching},
		{raftfsm.ErrAbsent, server.ErrFetching},
	} {
		if errors.Is(err, s.from) {
			return fmt.Errorf("%w: %w", s.to, err)
		}
	}
	return err
}

// Info returns what the node says of itself.
func (n *Node) Info() server.Info {
	init := uint64(math.MaxUint64) // it may have no chunk at all
	if n.replica() != nil {
		init = n.initIndex
	}
	target, recovered := n.recoveryFigures()
	return server.Info{
		LedgerScrub: n.scrubber.report(),
		InitIndex:   init, RecoveryTarget: target, LastRecovered: recovered,
		ID: n.keys.id, State: n.state.Load().(string), StopNotice: n.stopNotice.Load(),
		StartupSeqno: n.startup, HistoricalCache: uint64(n.history.bytes()), PrimaryID: n.primaryID(), SelfSignedCert: n.certs.selfSigned(),
		RefreshAttempts: n.refresher.attempts.Load(), RefreshSuccesses: n.refresher.successes.Load(), RefreshFailures: n.refresher.failures.Load(),
	}
}

// raise wakes the reconcilers; it never blocks.
func (n *Node) raise(*kv.State) {
	poke(n.committed)
	poke(n.refresher.committed)
	poke(n.fetcher.wake)
	poke(n.membership.wake)
	if r := n.recovery.Load(); r != nil {
		poke(r.work)
	}
}

// leads is told by the replica when it begins (or, with 0, ceases) to lead.
func (n *Node) leads(view uint64) {
	if view != 0 {
		n.leadOnce.Do(func() { close(n.led) })
		poke(n.membership.wake)
	}
}

// poke wakes whoever waits on c, or will; it never blocks.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
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

	snp snpPlatform // nil functions and roots stand for the real ones
}
