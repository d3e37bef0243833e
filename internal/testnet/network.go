package testnet

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// network is what connects the replicas. What a link does is set for each direction.
type network struct {
	mu     sync.Mutex
	chance *rand.Rand
	links  map[[2]string]link
	nodes  map[string]*raft.InmemTransport
}

// link is what happens to messages from one node to another.
type link struct {
	cut   bool
	loss  float64       // of messages
	delay time.Duration // at most
}

var errLost = errors.New("lost on the way")

func newNetwork(seed uint64) *network {
	return &network{chance: rand.New(rand.NewPCG(seed, 1)), links: map[[2]string]link{}, nodes: map[string]*raft.InmemTransport{}}
}

// join connects a node with all others.
func (n *network) join(id string) *transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, t := raft.NewInmemTransport(raft.ServerAddress(id))
	for other, o := range n.nodes {
		o.Connect(raft.ServerAddress(id), t)
		t.Connect(raft.ServerAddress(other), o)
	}
	n.nodes[id] = t
	return &transport{InmemTransport: t, net: n, id: id}
}

// leave disconnects a node for ever.
func (n *network) leave(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, o := range n.nodes {
		if other != id {
			o.Disconnect(raft.ServerAddress(id))
		}
	}
	n.nodes[id].DisconnectAll()
	delete(n.nodes, id)
}

func (n *network) set(from, to string, l link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[[2]string{from, to}] = l
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
}

// way takes a message from one node to another: it arrives late, or not at all.
func (n *network) way(from, to string) error {
	n.mu.Lock()
	l := n.links[[2]string{from, to}]
	lost := l.cut || n.chance.Float64() < l.loss
	var delay time.Duration
	if l.delay > 0 {
		delay = time.Duration(n.chance.Int64N(int64(l.delay)))
	}
	n.mu.Unlock()
	if delay > 0 {
		<-time.After(delay)
	}
	if lost {
		return errLost
	}
	return nil
}

// transport is a node's end: each request and each answer takes its way.
type transport struct {
	*raft.InmemTransport
	net *network
	id  string
}

var _ raft.WithPreVote = (*transport)(nil)

// call sends a request; an answer that is lost leaves what the request did.
func (t *transport) call(to raft.ServerAddress, send func() error) error {
	if err := t.net.way(t.id, string(to)); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	return t.net.way(string(to), t.id)
}

func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.call(to, func() error { return t.InmemTransport.AppendEntries(id, to, args, resp) })
}

func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.call(to, func() error { return t.InmemTransport.RequestVote(id, to, args, resp) })
}

func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.call(to, func() error { return t.InmemTransport.RequestPreVote(id, to, args, resp) })
}

func (t *transport) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.call(to, func() error { return t.InmemTransport.InstallSnapshot(id, to, args, resp, data) })
}

func (t *transport) TimeoutNow(id raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.call(to, func() error { return t.InmemTransport.TimeoutNow(id, to, args, resp) })
}
