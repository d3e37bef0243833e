// Package raftfsm is the one place where a set of writes becomes a ledger entry
// with a position. It runs hashicorp/raft over sealed batches of entries, keeps
// the speculative head of the primary and the applied history of every node,
// and decides what "committed" means.
//
// # Positions
//
// A transaction's id is view.seqno. The view is Raft's term, the seqno is our
// own counter: Raft's indexes also number its no-ops and configurations, the
// ledger's are dense. hashicorp/raft begins in term 1 and wins its first
// election in term 2, so the first view is 2, as in CCF.
//
// # The sequencer
//
// On the primary, [Replica.Submit] checks a transaction against the head, gives
// it the next position, seals it and extends the Merkle tree in one step under
// one lock. The caller has its TxID at once. One goroutine, [Replica.Run], then
// collects what was admitted into a batch and gives it to Raft when the batch
// before it is durable, or when it is full: group commit without a timer.
//
// A batch is closed by a signature transaction when somebody waits for commit
// ([Replica.Wait], [Replica.RequestCommit]), when the configured number of
// transactions or the configured delay has passed, or when the view is new. A
// signature is always the last entry of its batch.
//
// # The state machine
//
// [fsm.Apply] is the only authority on what happened. Its verdicts depend on the
// Raft log and on what it applied before, on nothing else:
//
//   - a batch whose view is not the term of its Raft entry is dropped: a deposed
//     primary sealed it;
//   - a batch that is already held (same positions, same digests) is skipped;
//   - the first batch of a higher view rolls back to the last applied signature,
//     at s, and must begin at s+1: the unsigned rest of the old view is Invalid;
//   - the next batch is taken whole;
//   - anything else (a gap, a wrong predecessor, a failed tag, another root than
//     the one that was signed) halts the node.
//
// A TxID is Committed once a signature at or after it, in its view, is applied.
// At that moment the whole signed span is in the chunk file (written, not yet
// fsynced: Raft's log holds it durably until it is compacted, which happens only
// behind fsynced chunks).
//
// # Several nodes
//
// [Peers] carries Raft's messages over mutual TLS 1.3, each side's certificate judged
// by the service. [Replica.Reconcile] leads Raft's configuration to the wanted set of
// nodes, one safe step at a time; a new node has no vote before it has caught up. One
// whose missing records are gone from the primary's log is sent the ledger's signed
// entries behind its own, and believes each of them only after checking it as at start: the tag with
// the ledger secret, each signature's root against its own tree. [Replica.Transfer]
// hands the primary's role over with nothing in flight.
//
// # Stores
//
// The host may change a file under a running node, so nothing that was written
// is believed when it is read back. The stable store is written through and
// answers from memory. The log store keeps a SHA-256 digest of each record in
// memory and compares it with what bolt returns. The snapshot store keeps its one
// snapshot in memory. A mismatch, or any error of a store, halts the node.
//
// # Index
//
// The tree in memory reaches back two windows of 2^15 leaves. Older nodes, and the
// seqnos of older signatures, are moved to two files beside Raft's, so that memory does
// not grow with the ledger and a receipt of any age takes O(log n) reads. They are
// derived from the ledger files and not synced. An old entry counts only if it leads,
// through them, to a subtree whose root is in memory; where it does not, the files are
// made anew and the question may be asked again. A replica that begins with a snapshot
// ([Base]) takes its tree from them if they lead to the snapshot's root. Where the ledger
// files begin behind the snapshot, tree and index do too: they know the subtrees before, and
// nothing in them. [Replica.Extend] takes in earlier chunks that lead there.
//
// # Nonces
//
// An entry's AES-GCM IV is its view.seqno. Within a term one process seals each
// seqno at most once: a position is given out under the lock, and the head never
// moves back while the term lasts. If Raft refuses a batch while the node still
// leads, the node halts rather than seal those positions again.
//
// # Goroutines
//
//	name        started by   ends when        owns
//	sequencer   Run          ctx or halt      the open batch; the only caller of raft.Apply
//	index       Run          ctx or halt      the index, while it is made anew
//	settler     Run          sequencer ended  futures of batches handed to Raft
//	leadership  Run          ctx or halt      the view in which this node leads
//	halt        Run          ctx or halt      the stopping of Raft when the node halts
//	raft's own  Open         Close            Apply, Snapshot, Restore run on its FSM goroutine
package raftfsm
