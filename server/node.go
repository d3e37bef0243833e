package server

import (
	"context"
	"errors"
	"io"

	"chancery/gov"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/server/api"
)

// TxID is a position in the ledger, view.seqno.
type TxID = writeset.TxID

// Errors of a Node that the server branches on. An implementation returns these
// (or errors that wrap them) and kv.ErrConflict.
var (
	// ErrNotPrimary says that this node does not lead; nothing was given a position.
	ErrNotPrimary = errors.New("this node is not the primary")
	// ErrTooManyPending says that too many transactions wait for their commit;
	// nothing was given a position.
	ErrTooManyPending = errors.New("too many transactions wait for commit")
	// ErrTooLarge says that a transaction writes more than memory.max_msg_size; nothing was
	// given a position.
	ErrTooLarge = errors.New("the transaction writes too much")
	// ErrBusy says that the node cannot take writes for now (its disk is full).
	ErrBusy = errors.New("the node cannot take writes now")
	// ErrStopped says that the node stops; the outcome of a wait is not known.
	ErrStopped = errors.New("the node is stopping")
	// ErrNotCommitted says that a receipt or a historical transaction was asked for
	// that is not Committed on this node.
	ErrNotCommitted = errors.New("the transaction is not committed")
	// ErrNoReceipt says that a committed transaction has no receipt of the kind asked
	// for: a COSE receipt of a signature transaction, a JSON receipt of one that is
	// covered by a COSE signature only.
	ErrNoReceipt = errors.New("no receipt of this kind for the transaction")
	// ErrUnreachable says that no connection to the primary came about.
	ErrUnreachable = errors.New("the primary cannot be reached")
	// ErrFetching says that ledger entries needed for the answer are on their way;
	// the client is told to ask again.
	ErrFetching = errors.New("the transaction is being fetched")
	// ErrEarlierLife says that a transaction is of the service's life before the recovery
	// that is under way, whose secrets are not there yet.
	ErrEarlierLife = errors.New("the transaction is of the service's earlier life, which is still being recovered")
)

// Node is what the server needs of the node that it fronts. All methods are safe
// for concurrent use and none but Wait and those that read the
// ledger (Receipt to Transaction) may block for long.
type Node interface {
	// Begin returns a transaction over the head, the state of the last position
	// given out, committed or not.
	Begin() *kv.Tx
	// Committed returns the state as of the last applied signature.
	Committed() *kv.State
	// Position returns where this node stands, as one consistent value.
	Position() Position
	// Submit validates tx against the head and gives it the next position. It returns
	// when the transaction is ordered, before it is durable.
	// Errors: kv.ErrConflict, ErrNotPrimary, ErrTooManyPending, ErrBusy, ErrStopped; after
	// each of them nothing was given a position and tx may be discarded.
	Submit(ctx context.Context, tx *kv.Tx, s Submission) (TxID, error)
	// Wait blocks until id is Committed or Invalid. It must be woken by the commit
	// itself, and must ask for a signature when id is not yet covered by one.
	// With ctx done it returns the status as of then and ctx's error; when the node
	// stops, the status as of then and ErrStopped.
	Wait(ctx context.Context, id TxID) (Status, error)
	// Confirm returns once a majority of the nodes has confirmed, after the call, that
	// this node leads: what it read before was nobody's past. Errors: ErrNotPrimary, ctx's.
	Confirm(ctx context.Context) error
	// RequestSignature asks that what is ordered so far be signed soon, without waiting.
	// A poll of a Pending transaction's status calls it.
	RequestSignature()
	// Receipt returns the JSON receipt of a committed transaction.
	// Errors: ErrNotCommitted, ErrNoReceipt, ErrFetching, ErrEarlierLife.
	Receipt(ctx context.Context, id TxID) (*ledger.Receipt, error)
	// COSEReceipt returns the COSE receipt of a committed transaction. Errors as Receipt.
	COSEReceipt(ctx context.Context, id TxID) ([]byte, error)
	// COSESignature returns the service's COSE signature that covers a committed
	// transaction, its own of a signature transaction. Errors as Receipt.
	COSESignature(ctx context.Context, id TxID) ([]byte, error)
	// COSESignatures returns what the service's COSE signatures say of themselves.
	COSESignatures() COSESignatures
	// Endorsements returns the committed statements of the service identities about those
	// before them, oldest first; none before the service was opened. Errors: ErrFetching,
	// ErrEarlierLife.
	Endorsements(ctx context.Context) ([]*ledger.IdentityEndorsement, error)
	// Transaction returns the writes of a committed transaction, private maps
	// decrypted, checked against a signed root. Errors as Receipt.
	Transaction(ctx context.Context, id TxID) (writeset.WriteSet, error)
	// Scan gives the committed transactions from seqno first on to each, in their order,
	// until it returns false or there are no more. Errors as Transaction's, of the next one.
	Scan(ctx context.Context, first uint64, each func(TxID, writeset.WriteSet) bool) error
	// Effects returns a fresh carrier for what a governance action does beside its
	// writes. The server passes it to package gov and then to Submit in the
	// Submission of the same attempt; an attempt that is not submitted has no effect.
	Effects(tx *kv.Tx) gov.Effects
	// Info returns what the node says of itself; it is cheap.
	Info() Info
	// Consensus returns the details shown by /node/consensus; false while the node takes
	// no part in consensus.
	Consensus() (Consensus, bool)
	// Forward sends a request to the primary with the given node id and returns its
	// answer. Errors: ErrNotPrimary, ErrUnreachable (both: nothing was executed there),
	// and whatever else leaves the outcome open.
	Forward(ctx context.Context, primary string, f *Forwarded) (*ForwardedAnswer, error)
	// NetworkInfo returns what a trusted node is given to take part, without its
	// endorsed certificate: the service's key and the ledger secrets of the committed history.
	// It is nil while the service, in the last steps of a recovery, gives nothing.
	NetworkInfo() (*api.NetworkInfo, error)
	// SignStatement signs a payload with the node's own key, as a COSE_Sign1 under the
	// given content type, and returns with it the public key in PEM.
	SignStatement(contentType string, payload []byte) (statement []byte, public string, err error)
	// Files returns the ledger chunks and snapshots that may be downloaded.
	Files() Files
}

// Submission is what goes with a transaction besides its writes.
type Submission struct {
	// Claims is the application's claims digest, zero when it set none.
	Claims ledger.Digest
	// Effects is the carrier that the governance functions of this attempt ran with,
	// nil where there was none.
	Effects gov.Effects
	// Snapshot asks for a snapshot at the next signature.
	Snapshot bool
	// AwaitCommit says that somebody waits for the commit: the transaction's batch is
	// closed by a signature at once, which saves a round of Raft.
	AwaitCommit bool
}

// COSESignatures are the CWT claims in the service's COSE signatures; the JSON names are
// CCF's.
type COSESignatures struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// Position is a consistent view of where a node stands.
type Position struct {
	// View is the consensus term that this node is in, whether it leads or follows.
	View uint64
	// Primary says that this node leads View.
	Primary bool
	ledger.History
}

// Status is what a node can say of a TxID.
type Status = ledger.Status

// The four statuses.
const (
	Unknown   = ledger.StatusUnknown
	Pending   = ledger.StatusPending
	Committed = ledger.StatusCommitted
	Invalid   = ledger.StatusInvalid
)

// Info is what a node says of itself outside the KV.
type Info struct {
	// ID is the node id: 64 hex digits, SHA-256 of the node's public key (SPKI).
	ID string
	// State is CCF's name of the node's state, e.g. "PartOfNetwork".
	State string
	// StartupSeqno is the seqno the node started from: 0 at genesis, else its snapshot's.
	StartupSeqno uint64
	// RecoveryTarget and LastRecovered are set only while a recovery runs.
	RecoveryTarget, LastRecovered *uint64
	// StopNotice says that the operator announced the node's end.
	StopNotice bool
	// PrimaryID is the node id of the primary, "" when unknown.
	PrimaryID string
	// SelfSignedCert is the node's own certificate, PEM.
	SelfSignedCert string
	// RefreshAttempts, RefreshSuccesses and RefreshFailures count JWT key refreshes.
	RefreshAttempts, RefreshSuccesses, RefreshFailures uint64
	// HistoricalCache is the size in bytes of what is cached for historical queries.
	HistoricalCache uint64
	// LedgerScrub is what the reading again of closed chunks found; nil where that is off.
	LedgerScrub *api.LedgerScrub
	// InitIndex is the first seqno of which this node may have ledger chunks.
	InitIndex uint64
}

// Consensus is the body of /node/consensus under "details"; the JSON names are CCF's.
type Consensus struct {
	Configs             []ConsensusConfig       `json:"configs"`
	Acks                map[string]ConsensusAck `json:"acks"`
	MembershipState     string                  `json:"membership_state"`
	LeadershipState     string                  `json:"leadership_state,omitempty"`
	RetirementPhase     string                  `json:"retirement_phase,omitempty"`
	Learners            map[string]uint64       `json:"learners,omitempty"`
	ReconfigurationType string                  `json:"reconfiguration_type,omitempty"`
	PrimaryID           *string                 `json:"primary_id"`
	CurrentView         uint64                  `json:"current_view"`
	Ticking             bool                    `json:"ticking"`
}

// ConsensusConfig is one configuration of the consensus: who votes, from seqno Idx on.
type ConsensusConfig struct {
	Idx   uint64                   `json:"idx"`
	Nodes map[string]ConsensusPeer `json:"nodes"`
	Rid   uint64                   `json:"rid"`
}

// ConsensusPeer is a node's node-to-node address, host:port.
type ConsensusPeer struct {
	Address string `json:"address"`
}

// ConsensusAck is what the primary last heard of a backup.
type ConsensusAck struct {
	Seqno          uint64 `json:"seqno"`
	LastReceivedMS uint64 `json:"last_received_ms"`
}

// Files gives access to the files of a node that an operator may download.
type Files interface {
	// ChunkWith returns the file name of the committed ledger chunk that holds seqno.
	ChunkWith(seqno uint64) (name string, ok bool)
	// OpenChunk opens a committed ledger chunk by its file name. An error that wraps
	// fs.ErrNotExist says that there is none; names that are not a committed chunk's
	// must give that too.
	OpenChunk(name string) (File, error)
	// SnapshotSince returns the newest committed snapshot at or after seqno.
	SnapshotSince(seqno uint64) (name string, ok bool)
	// OpenSnapshot opens a committed snapshot by its file name. Errors as OpenChunk.
	OpenSnapshot(name string) (File, error)
}

// File is an open file whose size does not change.
type File interface {
	io.ReaderAt
	io.Closer
	// Size is the length in bytes.
	Size() int64
}
