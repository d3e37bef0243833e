package node

import (
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/raftfsm"
	"chancery/server"
)

// primaryID returns the id of the node that leads, "" when none is known.
func (n *Node) primaryID() string {
	if r := n.replica(); r != nil {
		return r.Leader()
	}
	return ""
}

// Consensus returns the details of /node/consensus. The configuration shown is the one
// that governance decided; learners are the nodes of it that have no vote yet.
func (n *Node) Consensus() (server.Consensus, bool) {
	r := n.replica()
	if r == nil {
		return server.Consensus{}, false
	}
	p := n.Position()
	c := server.Consensus{
		Acks: map[string]server.ConsensusAck{}, MembershipState: "Active", LeadershipState: "Follower",
		ReconfigurationType: "OneTransaction", CurrentView: p.View, Ticking: true,
	}
	leader := r.Leader()
	switch {
	case p.Primary:
		c.LeadershipState = "Leader"
	case leader == "":
		c.LeadershipState = "Candidate"
	}
	if leader != "" {
		c.PrimaryID = &leader
	}
	m, err := r.Membership()
	if err != nil {
		n.log.Warn("reading the consensus configuration", "err", err)
		return c, true
	}
	n.describeMembers(&c, m, p.Primary)
	return c, true
}

func (n *Node) describeMembers(c *server.Consensus, m *raftfsm.Membership, primary bool) {
	committed := n.store.Committed()
	nodes, err := tables.NodesInfo.All(tables.View(committed))
	if err != nil {
		n.log.Warn("reading the nodes table", "err", err)
		return
	}
	voters := map[string]bool{}
	for _, p := range m.Members {
		voters[p.ID] = p.Voter
		if primary && p.ID != n.keys.id {
			c.Acks[p.ID] = server.ConsensusAck{Seqno: p.Seqno, LastReceivedMS: n.since(p.Ack)}
		}
	}
	peers := map[string]server.ConsensusPeer{}
	for _, row := range nodes {
		switch row.Value.Status {
		case tables.NodeTrusted:
			peers[row.Key] = server.ConsensusPeer{Address: row.Value.NodeToNode.PublishedAddress}
			if !voters[row.Key] {
				if c.Learners == nil {
					c.Learners = map[string]uint64{}
				}
				c.Learners[row.Key] = c.Acks[row.Key].Seqno
			}
		case tables.NodeRetired:
			if row.Key == n.keys.id {
				c.MembershipState, c.RetirementPhase = "Retired", "Completed"
				if row.Value.RetiredCommitted {
					c.RetirementPhase = "RetiredCommitted"
				}
			}
		}
	}
	c.Configs = []server.ConsensusConfig{{Idx: lastReconfiguration(committed), Rid: m.Index, Nodes: peers}}
}

// since returns the milliseconds since a backup answered last.
func (n *Node) since(a raftfsm.Ack) uint64 {
	if a.At.IsZero() {
		return 0
	}
	return uint64(max(n.opts.Now().Sub(a.At).Milliseconds(), 0))
}

// lastReconfiguration is the seqno at which a row of the nodes table was written last.
func lastReconfiguration(s *kv.State) uint64 {
	var last uint64
	for _, row := range s.Range(tables.NameNodesInfo, kv.Bounds{}) {
		last = max(last, row.Version)
	}
	return last
}
