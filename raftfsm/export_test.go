package raftfsm

import (
	"testing"

	"github.com/hashicorp/raft"
)

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

// InMemory returns the first leaf that the tree in memory holds, and the signatures there.
func (r *Replica) InMemory() (first uint64, sigs int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tree.First(), len(r.sigs)
}

// SmallWindows makes the windows of the index 2^level leaves for a test.
func SmallWindows(t *testing.T, level int) {
	before := indexLevel
	indexLevel = level
	t.Cleanup(func() { indexLevel = before })
}

// SpillAt sets from how many bytes on a snapshot that comes in is collected in a file.
func (r *Replica) SpillAt(n int) { r.stored.spillAt = n }

// ForgeLog changes every batch in Raft's log, behind the back of the store that answers.
func (r *Replica) ForgeLog() error {
	first, err := r.log.bolt.FirstIndex()
	if err != nil {
		return err
	}
	last, err := r.log.bolt.LastIndex()
	for i := first; err == nil && i <= last; i++ {
		var l raft.Log
		if err = r.log.bolt.GetLog(i, &l); err == nil && l.Type == raft.LogCommand {
			l.Data[0] ^= 1
			err = r.log.bolt.StoreLog(&l)
		}
	}
	return err
}
