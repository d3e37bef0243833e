package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// TxID is a position in the ledger, view.seqno.
type TxID = writeset.TxID

// Errors that a caller of a Replica branches on.
var (
	// ErrNotPrimary says that this node does not lead; nothing was given a position.
	ErrNotPrimary = errors.New("this node is not the primary")
	// ErrTooManyPending says that consensus.max_uncommitted_tx_count transactions
	// wait for their commit; nothing was given a position.
	ErrTooManyPending = errors.New("too many transactions wait for commit")
	// ErrTooLarge says that a transaction writes more than Config.MaxWriteBytes; nothing was
	// given a position.
	ErrTooLarge = errors.New("the transaction writes too much")
	// ErrStopped says that the node stops or has halted.
	ErrStopped = errors.New("the node is stopping")
	// ErrNotCommitted says that a receipt was asked for a transaction that is not Committed.
	ErrNotCommitted = errors.New("the transaction is not committed")
	// ErrAbsent says that the ledger files of this node begin behind what was asked for.
	ErrAbsent = errors.New("the ledger files of this node begin later")
	// ErrBusy says that a full disk holds up the state machine.
	ErrBusy = errors.New("the ledger's disk is full")
)

// SignFunc makes the writes of a signature transaction at id over root, with the
// serialised tree (ledger.Signer.Sign).
type SignFunc func(id TxID, root ledger.Digest, tree []byte) (writeset.WriteSet, error)

// Config is what a Replica is made of. All fields but those marked optional are required.
type Config struct {
	// ID is the node's Raft id (CCF's node id).
	ID string
	// Dir is the directory of Raft's own files, created when missing.
	Dir string
	FS  durable.FS
	// Ledger is the open ledger directory, Secrets what it is sealed with, Store
	// the maps; Open replays the first into the last.
	Ledger  *ledger.Dir
	Secrets *ledger.Secrets
	Store   *kv.Store
	Sign    SignFunc
	// NextSecret returns the ledger secret that seals everything behind a
	// transaction with these writes, nil when they don't change it.
	NextSecret func(TxID, writeset.WriteSet) (*ledger.Secret, error)
	// Creates says that the first transaction of the node's first view is the create of a
	// recovery, which the caller submits.
	Creates bool
	// PublicOnly takes the public part of entries alone, and of those whose secret is not
	// known, which are of an earlier life of a service that is being recovered; until
	// TakePrivate.
	PublicOnly bool
	// KnownSecrets is the seqno through which Secrets holds what committed history says:
	// a rollback never forgets one that comes into force up to there. A node that joins
	// is given them all beforehand.
	KnownSecrets uint64
	// Transport carries Raft's messages and must have pre-votes; Address is this node's
	// on it. The replica closes it.
	Transport raft.Transport
	Address   raft.ServerAddress
	// ElectionTimeout is CCF's consensus.election_timeout.
	ElectionTimeout time.Duration
	// SignatureInterval and SignatureDelay are CCF's ledger_signatures.tx_count and .delay.
	SignatureInterval int
	SignatureDelay    time.Duration
	// ChunkSize is CCF's ledger.chunk_size in bytes.
	ChunkSize uint64
	// MaxUncommitted is CCF's consensus.max_uncommitted_tx_count; 0 means no bound.
	MaxUncommitted int
	// UnsafeNoFsync gives up durability of acknowledged commits across power loss.
	UnsafeNoFsync bool
	// Now is the clock; it never decides a verdict.
	Now func() time.Time
	// MaxWriteBytes bounds the keys and values that a transaction writes; 0: no bound.
	MaxWriteBytes int
	// SnapshotDue says whether a snapshot falls due at the signature at seqno, when the
	// one before was at last (0: none). It is called for each signature under the
	// replica's lock, and must be quick. Snapshot is called on the apply goroutine when
	// a signature at which one fell due is committed while this node leads; it must
	// only take note. Both or neither are set.
	SnapshotDue func(seqno, last uint64) bool
	Snapshot    func(Capture)
	// Base is the snapshot that Store was built from; nil when Store is empty.
	Base *Base
	// Missing is told of a seqno that was asked for and that lies before the first entry of
	// the ledger files; it must only take note. Optional.
	Missing func(seqno uint64)
	// Reached asks a node how far its committed history reaches. Optional: without it, a
	// node that is far behind is sent the ledger from its beginning.
	Reached func(id, address string) (seqno uint64, err error)
	// Committed is called on the apply goroutine after each signature with the
	// committed state; it must only poke (reconcilers, indexes) and return. Optional.
	Committed func(*kv.State)
	// Led is called when this node begins or ceases to lead a view (0). Optional.
	Led func(view uint64)
	// Stored is told how long each durable write to Raft's log took. Optional.
	Stored func(took time.Duration)
	// Halt stops the node; it is called at most once and may return.
	Halt func(error)
	Log  *slog.Logger
}

// handedBatch is a batch that was given to Raft and is not applied yet.
type handedBatch struct {
	data []byte // the very bytes given to Raft
	last uint64
}

// sealed is one entry that is not yet in a chunk file, with what must be put back
// when everything after it is rolled back.
type sealed struct {
	entry      *ledger.Entry
	chunkBytes uint64 // bytes since the last forced chunk end, this entry included
	forceChunk bool   // a chunk end was asked for and not yet given, after this entry
	// A snapshot was asked for and has not fallen due, after this entry.
	forceSnapshot bool
	// The newest signature at which a snapshot fell due, through this entry. On a
	// backup it is known from the snapshot's evidence.
	snapshotAt uint64
}

// Replica is one node's copy of the service's history.
type Replica struct {
	cfg  Config
	raft *raft.Raft
	// shutdown begins to stop Raft, once: whoever waits for it is answered. The future
	// is there when its goroutines have ended.
	shutdown func() raft.Future
	log      *logStore
	stored   *snapshotStore
	acks     *ackTransport

	wake    chan struct{} // capacity 1: the sequencer has something to look at
	futures chan raft.ApplyFuture
	halted  chan struct{}
	halt    sync.Once
	haltErr error // set before halted is closed
	stopped atomic.Bool

	// mu guards everything below. It is held while a position is given out, while
	// a signature is made, and while a batch is applied, so that head, tree and
	// tail always tell the same story.
	mu        sync.Mutex
	view      uint64 // view in which this node leads, 0 otherwise
	head      TxID   // last position given out
	applied   TxID   // last position that Apply took
	committed TxID   // last applied signature
	views     []uint64
	tree      *merkle.Tree
	tail      []sealed // positions committed+1 … head
	sigs      []uint64 // seqnos of applied signatures, ascending
	// publicOnly is Config.PublicOnly until TakePrivate.
	publicOnly bool
	base       sealed // chunk accounting as of committed
	// What is older than the tree in memory; trim could not write it.
	index       *index
	indexFailed bool
	loaded      uint64 // last seqno that was read from the ledger files at start
	// The subtrees before the first entry of the ledger files, large ones first, once they
	// are known to be right; see origin.
	beginning []merkle.Hash

	// Owned by the primary's view.
	handed     []handedBatch // given to Raft, not yet applied
	handedTo   uint64        // last seqno given to Raft
	lastSigned uint64        // last signature given a position
	signFor    uint64        // a signature at or after this seqno is wanted
	signIdle   bool          // a signature is wanted, though nothing is unsigned
	firstUnsig time.Time     // when the oldest unsigned transaction was admitted
	waiters    []*waiter
	burnt      uint64 // last view in which this node led and ceased to
	diskFull   bool
	drained    bool // no admission: the node stops

	leaving      map[string]uint64 // Raft's commit index when a node was first seen to be leaving
	transferring bool              // no admission: the primary's role is being handed over
	records      []recordMark      // which position each of the last Raft records reached

	position atomic.Pointer[Position]
	counters counters
}

// Position is a consistent view of where the replica stands. Values are never changed.
type Position struct {
	View uint64 // view in which this node leads, 0 when it does not
	ledger.History
}

// publish makes the current position visible to readers. mu is held.
func (r *Replica) publish() {
	r.position.Store(&Position{View: r.view, History: ledger.History{Head: r.head, Committed: r.committed, Views: r.views}})
}

// Position returns where the replica stands.
func (r *Replica) Position() *Position { return r.position.Load() }

// enterView records that view begins at seqno. A view in which nothing was
// sequenced begins where the next one does. mu is held. The slice is replaced,
// never changed, since published positions share it.
func (r *Replica) enterView(view, seqno uint64) {
	if uint64(len(r.views)) >= view {
		return
	}
	next := append(make([]uint64, 0, view), r.views...)
	for uint64(len(next)) < view {
		next = append(next, seqno)
	}
	r.views = next
}

// leaveViews forgets views that begin after seqno. mu is held.
func (r *Replica) leaveViews(seqno uint64) {
	n := len(r.views)
	for n > 0 && r.views[n-1] > seqno {
		n--
	}
	r.views = r.views[:n:n]
}

// halts stops the replica for good: an invariant is broken and going on could
// make it worse. It is safe to call from any goroutine, with mu held or not.
func (r *Replica) halts(err error) {
	r.halt.Do(func() {
		r.haltErr = err
		close(r.halted)
		r.cfg.Log.Error("the node halts", "err", err)
		if r.cfg.Halt != nil {
			go r.cfg.Halt(err)
		}
	})
}

// poke wakes the sequencer.
func (r *Replica) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Bootstrap makes this node the only voter of a new service. It is called once,
// before Open, on an empty Raft directory.
func Bootstrap(cfg Config) error {
	stores, err := openStores(cfg)
	if err != nil {
		return fmt.Errorf("opening Raft's stores: %w", err)
	}
	defer stores.close()
	voters := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(cfg.ID), Address: cfg.Address}}}
	if err := raft.BootstrapCluster(raftConfig(cfg), stores.log, stores.stable, stores.snapshots, cfg.Transport, voters); err != nil {
		return fmt.Errorf("bootstrapping Raft: %w", err)
	}
	return nil
}

// Open replays the ledger files into the store and starts Raft. Run must follow.
func Open(ctx context.Context, cfg Config) (_ *Replica, err error) {
	r := &Replica{
		cfg: cfg, publicOnly: cfg.PublicOnly, tree: merkle.New(), wake: make(chan struct{}, 1), acks: newAckTransport(cfg.Transport, cfg.Now),
		futures: make(chan raft.ApplyFuture, maxInFlight), halted: make(chan struct{}),
	}
	r.tree.Append(merkle.Hash{}) // leaf 0
	r.acks.reached = cfg.Reached
	if r.index, err = openIndex(cfg.FS, cfg.Dir, indexLevel); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.index.close())
		}
	}()
	if err := r.replay(ctx); err != nil {
		return nil, fmt.Errorf("replaying the ledger: %w", err)
	}
	r.publish()
	stores, err := openStores(cfg)
	if err != nil {
		return nil, fmt.Errorf("opening Raft's stores: %w", err)
	}
	r.log, r.stored = stores.log, stores.snapshots
	stores.log.halt, stores.stable.halt = r.halts, r.halts
	if cfg.Stored != nil {
		stores.log.stored, stores.log.now = cfg.Stored, cfg.Now
	}
	if err := r.recall(); err != nil {
		return nil, errors.Join(err, stores.close())
	}
	stores.snapshots.export = r.export
	rf, err := raft.NewRaft(raftConfig(cfg), (*fsm)(r), stores.log, stores.stable, stores.snapshots, r.acks)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting Raft: %w", err), stores.close())
	}
	r.raft, r.shutdown = rf, sync.OnceValue(rf.Shutdown)
	return r, nil
}

// raftConfig translates CCF's keys (architecture.md, section 4).
func raftConfig(cfg Config) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.ID)
	half := max(cfg.ElectionTimeout/2, minTimeout)
	c.HeartbeatTimeout, c.ElectionTimeout = half, half
	c.LeaderLeaseTimeout = half // a primary that was frozen for less goes on
	c.CommitTimeout = commitTimeout
	c.MaxAppendEntries = 64
	c.SnapshotThreshold = compactAfter
	c.SnapshotInterval = compactEvery
	c.TrailingLogs = trailingLogs
	c.NoSnapshotRestoreOnStart = true // see recall
	c.ShutdownOnRemove = false        // the node decides when it ends
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLogger(cfg.Log)
	return c
}

const (
	minTimeout    = 10 * time.Millisecond
	commitTimeout = 5 * time.Millisecond
	compactAfter  = 4096 // Raft records between two compactions of its log
	compactEvery  = 30 * time.Second
	trailingLogs  = 256
	maxInFlight   = 4         // full batches given to Raft and not yet durable
	maxBatchBytes = 256 << 10 // a batch of this size does not wait for the one before it
	signaturesBig = 5000      // SignatureInterval when none is set
)
