package raftfsm

import "time"

// RaftFigures is a reading of what Raft says of itself.
type RaftFigures struct {
	// State is Follower, Candidate, Leader or Shutdown.
	State string
	// Term is Raft's term, which is the view.
	Term uint64
	// LastIndex, CommitIndex and AppliedIndex are positions in Raft's own log; they also
	// count what is no ledger entry.
	LastIndex, CommitIndex, AppliedIndex uint64
	// Contact is the time since a follower heard of the primary; 0 on the primary, and
	// where it never did.
	Contact time.Duration
	// MaxInFlight bounds Metrics.InFlight.
	MaxInFlight int
}

// RaftFigures reads what Raft says of itself.
func (r *Replica) RaftFigures() RaftFigures {
	f := RaftFigures{
		State: r.raft.State().String(), Term: r.raft.CurrentTerm(),
		LastIndex: r.raft.LastIndex(), CommitIndex: r.raft.CommitIndex(), AppliedIndex: r.raft.AppliedIndex(),
		MaxInFlight: maxInFlight,
	}
	if last := r.raft.LastContact(); !last.IsZero() && f.State != "Leader" {
		f.Contact = r.cfg.Now().Sub(last)
	}
	return f
}

// RaftStates lists the values of RaftFigures.State.
func RaftStates() []string { return []string{"Follower", "Candidate", "Leader", "Shutdown"} }
