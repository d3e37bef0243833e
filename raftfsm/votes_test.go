package raftfsm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestVoteKept: a node that has voted in a term does not vote for another candidate in it,
// also after an append of that term that it could not match: two would lead the term.
func TestVoteKept(t *testing.T) {
	c := newCluster(t, 3)
	old := c.leader()
	old.commit(old.put("k", "v"))
	c.agree()
	var voter, one, other *replica
	for _, n := range c.nodes {
		switch {
		case n == old:
			other = n
		case voter == nil:
			voter = n
		default:
			one = n
		}
	}
	c.cut(voter.id)
	header := func(n *replica) raft.RPCHeader {
		return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.id), Addr: []byte(n.id)}
	}
	term := voter.Term() + 10
	ask := func(candidate *replica) bool {
		t.Helper()
		_, stranger := raft.NewInmemTransport("")
		stranger.Connect(raft.ServerAddress(voter.id), voter.transport)
		var resp raft.RequestVoteResponse
		err := stranger.RequestVote(raft.ServerID(voter.id), raft.ServerAddress(voter.id), &raft.RequestVoteRequest{
			RPCHeader: header(candidate), Term: term, LastLogIndex: 1 << 40, LastLogTerm: term, LeadershipTransfer: true,
		}, &resp)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Granted
	}
	if !ask(one) {
		t.Fatal("the first candidate is refused")
	}
	if ask(other) {
		t.Error("a second candidate of the term is given the vote")
	}
	_, stranger := raft.NewInmemTransport("")
	stranger.Connect(raft.ServerAddress(voter.id), voter.transport)
	var appended raft.AppendEntriesResponse
	err := stranger.AppendEntries(raft.ServerID(voter.id), raft.ServerAddress(voter.id), &raft.AppendEntriesRequest{
		RPCHeader: header(one), Term: term, PrevLogEntry: 1 << 40, PrevLogTerm: term,
	}, &appended)
	if err != nil || appended.Success {
		t.Fatalf("an append that does not match: %+v %v", appended, err)
	}
	if ask(other) {
		t.Error("after an append that did not match, a second candidate of the term is given the vote")
	}
	c.heal(voter.id)
	c.agree()
}

// TestForkedLedger: a node brings ledger files that are signed by the service's key and
// contradict what the others have committed. It halts, and the service goes on without it.
func TestForkedLedger(t *testing.T) {
	c := newCluster(t, 1)
	fork := &cluster{t: t, one: c.one, nodes: map[string]*replica{}}
	forked := fork.add("f0", true)
	for _, side := range []*cluster{c, fork} {
		for i := range 5 {
			lead := side.leader()
			lead.commit(lead.put(fmt.Sprint(i), side.leader().id))
		}
	}
	fork.stop()
	if err := os.CopyFS(filepath.Join(c.one.dir, "n1", "ledger"), os.DirFS(filepath.Join(forked.dir, "ledger"))); err != nil {
		t.Fatal(err)
	}
	c.doomed.Store("n1")
	n := c.add("n1", false)
	lead := c.leader()
	go func() {
		for range 20 {
			_, _ = lead.Reconcile(t.Context(), c.wanted()) // it never catches up
		}
	}()
	select {
	case err := <-n.ended:
		if err == nil {
			t.Error("the node with the forked ledger ended well")
		}
		t.Logf("it says: %v", err)
		n.ended <- nil
	case <-time.After(20 * time.Second):
		t.Fatalf("the node with the forked ledger goes on; it has committed %v", n.Position().Committed)
	}
	lead.commit(lead.put("after", "1"))
	if got := lead.Position().Committed; got.Seqno == 0 {
		t.Errorf("committed: %v", got)
	}
}
