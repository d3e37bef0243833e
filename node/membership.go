package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/raftfsm"
)

const (
	// membershipRetry is the pause after a step of the consensus configuration that could
	// not be taken yet, or was one of several.
	membershipRetry = 50 * time.Millisecond
	// failureRetry is the pause after one that went wrong: a hand-over that nobody takes
	// stops the admission of requests for a moment each time.
	failureRetry = time.Second
	// probeEvery is the pause between two attempts to reach a node that is trusted and
	// not there, probeWithin the time that one may take.
	probeEvery  = 500 * time.Millisecond
	probeWithin = 500 * time.Millisecond
)

// membership makes the consensus configuration match the nodes table, on the primary.
type membership struct {
	n     *Node
	wake  chan struct{} // capacity 1: raised by every commit and when this node begins to lead
	tried map[string]time.Time
	zone  string // of which the log has been warned
}

func newMembership(n *Node) *membership {
	return &membership{n: n, wake: make(chan struct{}, 1), tried: map[string]time.Time{}}
}

// run works until ctx ends. A step that fails is tried again.
func (m *membership) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var done version // of the nodes table that the configuration matches
	var view uint64
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-timer.C:
		}
		p := m.n.Position()
		if !p.Primary || m.n.uncreated(m.n.store.Committed()) {
			view = 0
			continue
		}
		now := versionOf(m.n.store.Committed())
		if p.View == view && now == done {
			continue
		}
		more, err := m.reconcile(ctx)
		switch {
		case err != nil:
			if err.Error() != said && ctx.Err() == nil {
				said = err.Error()
				m.n.log.Info("the consensus configuration does not match the nodes table yet", "err", err)
			}
			timer.Reset(failureRetry)
		case more:
			timer.Reset(membershipRetry)
		default:
			view, done, said = p.View, now, ""
			if err := m.remarkZones(); err != nil {
				m.n.log.Warn("looking at the zones of the nodes", "err", err)
			}
		}
	}
}

// remarkZones warns when the loss of one zone would stop the service.
func (m *membership) remarkZones() error {
	members, err := m.n.replica().Membership()
	if err != nil {
		return err
	}
	var zones []string
	for _, p := range members.Members {
		if !p.Voter {
			continue
		}
		row, _, err := tables.NodesInfo.Get(tables.View(m.n.store.Committed()), p.ID)
		if err != nil {
			return err
		}
		zones = append(zones, gov.Zone(json.RawMessage(row.Data)))
	}
	zone := gov.MajorityZone(zones)
	if zone != "" && zone != m.zone {
		m.n.log.Warn("without this zone no majority of the votes would be left: spread the nodes over at least three zones", "zone", zone, "votes", len(zones))
	}
	m.zone = zone
	return nil
}

// version tells two states of the nodes table apart.
type version struct {
	rows int
	last uint64
}

func versionOf(s *kv.State) version {
	return version{rows: s.Len(tables.NameNodesInfo), last: lastReconfiguration(s)}
}

// there says whether a node answers. One that did not is not tried at every turn.
func (m *membership) there(ctx context.Context, p raftfsm.Peer) bool {
	now := m.n.opts.Now()
	if now.Sub(m.tried[p.ID]) < probeEvery {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	if m.n.peers.Reachable(ctx, p.Address, p.ID) {
		return true
	}
	m.tried[p.ID] = now
	return false
}

// reconcile takes one step: a retired primary hands over, a node that is not
// trusted any more leaves, one that is comes in, and a retirement that is complete is
// recorded.
func (m *membership) reconcile(ctx context.Context) (more bool, err error) {
	n := m.n
	nodes, err := tables.NodesInfo.All(tables.View(n.store.Committed()))
	if err != nil {
		return false, err
	}
	now, err := n.replica().Membership()
	if err != nil {
		return false, err
	}
	var wanted []raftfsm.Peer
	for _, row := range nodes {
		p := raftfsm.Peer{ID: row.Key, Address: row.Value.NodeToNode.PublishedAddress}
		switch {
		case row.Value.Status == tables.NodeRetired && p.ID == n.keys.id:
			limited, cancel := context.WithTimeout(ctx, 2*n.cfg.Consensus.ElectionTimeout)
			defer cancel()
			return true, n.replica().Transfer(limited)
		case row.Value.Status != tables.NodeTrusted:
		case p.ID != n.keys.id && !now.Has(p.ID) && !m.there(ctx, p):
			more = true // it comes in once it is there: it may only be starting
		default:
			wanted = append(wanted, p)
		}
	}
	step, err := n.replica().Reconcile(ctx, wanted)
	if more = more || step; err != nil {
		return more, err
	}
	left, err := n.recordRetirements(ctx, nodes)
	return more || left, err
}

// recordRetirements writes of each retired node that nothing depends on it any more:
// its retirement is committed, and so is a consensus configuration without it. left says
// that one still waits for that.
func (n *Node) recordRetirements(ctx context.Context, committed []tables.Entry[tables.Node]) (left bool, err error) {
	m, err := n.replica().Membership()
	if err != nil {
		return false, err
	}
	var done []string
	for _, row := range committed {
		switch {
		case row.Value.Status != tables.NodeRetired || row.Value.RetiredCommitted:
		case m.Committed && !m.Has(row.Key):
			done = append(done, row.Key)
		default:
			left = true
		}
	}
	if len(done) == 0 {
		return left, nil
	}
	return left, n.transact(ctx, func(tx *kv.Tx) error {
		for _, id := range done {
			row, ok, err := tables.NodesInfo.Get(tx, id)
			if err != nil {
				return err
			}
			if !ok || row.Status != tables.NodeRetired || row.RetiredCommitted {
				continue
			}
			row.RetiredCommitted = true
			if err := tables.NodesInfo.Put(tx, id, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// transactAttempts bounds how often a transaction is begun anew because others were faster.
const transactAttempts = 10

// transact makes a transaction of the node's own. What write leaves unchanged is not ordered.
func (n *Node) transact(ctx context.Context, write func(*kv.Tx) error) error {
	for range transactAttempts {
		tx := n.Begin()
		if err := write(tx); err != nil {
			return err
		}
		if !tx.Dirty() {
			return nil
		}
		_, err := n.replica().Submit(ctx, tx, raftfsm.Submission{})
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%w, %d times in a row", kv.ErrConflict, transactAttempts)
}

// errRetired ends a node that the service has retired; it is a clean end.
var errRetired = errors.New("the service has retired this node")

// retirementGrace is for how many election timeouts a retired node goes on answering,
// so that its clients learn of it from the nodes table.
const retirementGrace = 3

// reconcilePeers cuts the connections of nodes that are gone, and says whether this
// node itself is.
func (n *Node) reconcilePeers() (retired bool, err error) {
	nodes, err := tables.NodesInfo.All(tables.View(n.store.Committed()))
	if err != nil {
		return false, err
	}
	cut := map[string]bool{}
	for _, row := range nodes {
		if row.Key == n.keys.id && row.Value.Status == tables.NodeRetired {
			return true, nil
		}
		if gone(row.Value) {
			cut[row.Key] = true
		}
	}
	if len(cut) > 0 && n.replica() != nil {
		n.peers.Cut(func(id string) bool { return cut[id] })
	}
	return false, nil
}
