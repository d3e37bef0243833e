package raftfsm

import "github.com/hashicorp/raft"

// CompactNow makes Raft take a snapshot and compact its log, for tests.
func (r *Replica) CompactNow() error { return r.raft.Snapshot().Error() }

// Resign makes the node cease to lead, for tests.
func (r *Replica) Resign(why string) { r.resign(why) }

// KeepNoLog makes later compactions leave nothing of Raft's log behind.
func (r *Replica) KeepNoLog() error {
	c := r.raft.ReloadableConfig()
	c.TrailingLogs = 0
	return r.raft.ReloadConfig(c)
}

// State returns Raft's state, for tests.
func (r *Replica) State() raft.RaftState { return r.raft.State() }
