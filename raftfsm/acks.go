package raftfsm

import (
	"fmt"
	"io"
	"maps"
	"sort"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Ack is what the primary last heard of a backup.
type Ack struct {
	// Index is the last Raft record that the backup is known to hold as we do.
	Index uint64
	// Commit is the last commit index that it was told and answered to.
	Commit uint64
	// At is when it last answered.
	At time.Time
}

// ackTransport is a Raft transport that notes what each follower has acknowledged,
// which hashicorp/raft keeps to itself. It has no pipeline: see [Peers.NewTransport].
type ackTransport struct {
	raft.Transport
	now     func() time.Time
	reached func(id, address string) (uint64, error) // see Config.Reached

	mu   sync.Mutex
	acks map[raft.ServerID]Ack
}

var (
	_ raft.WithPreVote = (*ackTransport)(nil)
	_ raft.WithClose   = (*ackTransport)(nil)
)

func newAckTransport(t raft.Transport, now func() time.Time) *ackTransport {
	return &ackTransport{Transport: t, now: now, acks: map[raft.ServerID]Ack{}}
}

// AppendEntries sends records, or a heartbeat, and notes the answer.
func (t *ackTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.Transport.AppendEntries(id, target, args, resp)
	if err == nil && resp.Term <= args.Term {
		t.note(id, resp.Success, args.PrevLogEntry+uint64(len(args.Entries)), args.LeaderCommitIndex)
	}
	return err
}

// InstallSnapshot sends the entries behind those that the follower has. The answer is an
// acknowledgement of everything that the snapshot holds.
func (t *ackTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	x, ok := data.(*exported)
	if !ok {
		return fmt.Errorf("sending %T as a snapshot to node %s", data, id)
	}
	var has uint64
	var err error
	if t.reached != nil {
		if has, err = t.reached(string(id), string(target)); err != nil {
			return fmt.Errorf("asking node %s how far its history reaches: %w", id, err)
		}
	}
	if args.Size, err = x.begin(has + 1); err != nil {
		return err
	}
	err = t.Transport.InstallSnapshot(id, target, args, resp, data)
	if err == nil {
		t.note(id, resp.Success, args.LastLogIndex, 0)
	}
	return err
}

// AppendEntriesPipeline is refused: acknowledgements of a pipeline can't be seen.
func (t *ackTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// RequestPreVote is part of Raft's transport only where the inner one has it; ours has.
func (t *ackTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.Transport.(raft.WithPreVote).RequestPreVote(id, target, args, resp)
}

// Close closes the inner transport.
func (t *ackTransport) Close() error {
	if c, ok := t.Transport.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}

func (t *ackTransport) note(id raft.ServerID, success bool, index, commit uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.acks[id]
	a.At = t.now()
	if success {
		a.Index, a.Commit = max(a.Index, index), max(a.Commit, min(index, commit))
	}
	t.acks[id] = a
}

// forget begins anew: a new leader knows nothing of its followers.
func (t *ackTransport) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.acks)
}

func (t *ackTransport) all() map[raft.ServerID]Ack {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.acks)
}

// recordMark says which position was reached when a Raft record was applied.
type recordMark struct{ index, seqno uint64 }

// maxMarks bounds how far back the marks reach; a follower that lags further is said to
// hold what the oldest one says, or nothing.
const maxMarks = 4096

// reached notes the position that a Raft record led to. mu is held.
func (r *Replica) reached(index uint64) {
	if len(r.records) == maxMarks {
		r.records = append(r.records[:0], r.records[maxMarks/2:]...)
	}
	r.records = append(r.records, recordMark{index, r.applied.Seqno})
}

// seqnoAt returns the position that a node has which holds Raft's records through
// index, 0 when that is not known any more.
func (r *Replica) seqnoAt(index uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := sort.Search(len(r.records), func(i int) bool { return r.records[i].index > index })
	if i == 0 {
		return 0
	}
	return r.records[i-1].seqno
}
