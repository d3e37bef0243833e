package raftfsm

// CompactNow makes Raft take a snapshot and compact its log, for tests.
func (r *Replica) CompactNow() error { return r.raft.Snapshot().Error() }

// Resign makes the node cease to lead, for tests.
func (r *Replica) Resign(why string) { r.resign(why) }
