package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/raftfsm"
)

// membershipRetry is the pause after a step of the consensus configuration that could
// not be taken yet, or was one of several.
const membershipRetry = 50 * time.Millisecond

// runMembership makes the consensus configuration match the nodes table, on the primary.
func (n *Node) runMembership(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.membership:
		case <-timer.C:
		}
		if !n.Position().Primary {
			continue
		}
		more, err := n.reconcileMembers(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Info("the consensus configuration does not match the nodes table yet", "err", err)
		}
		if more || err != nil {
			timer.Reset(membershipRetry)
		}
	}
}

// reconcileMembers takes one step: a retired primary hands over, a node that is not
// trusted any more leaves, one that is comes in, and a retirement that is complete is
// recorded.
func (n *Node) reconcileMembers(ctx context.Context) (more bool, err error) {
	nodes, err := tables.NodesInfo.All(tables.View(n.store.Committed()))
	if err != nil {
		return false, err
	}
	m, err := n.replica().Membership()
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
		case p.ID != n.keys.id && !m.Has(p.ID) && !n.peers.Reachable(ctx, p.Address, p.ID):
			more = true // it comes in once it is there: it may only be starting
		default:
			wanted = append(wanted, p)
		}
	}
	step, err := n.replica().Reconcile(ctx, wanted)
	if more = more || step; err != nil {
		return more, err
	}
	return more, n.recordRetirements(ctx, nodes)
}

// recordRetirements writes of each retired node that nothing depends on it any more:
// its retirement is committed, and so is a consensus configuration without it.
func (n *Node) recordRetirements(ctx context.Context, committed []tables.Entry[tables.Node]) error {
	m, err := n.replica().Membership()
	if err != nil {
		return err
	}
	if !m.Committed {
		return nil
	}
	var done []string
	for _, row := range committed {
		if row.Value.Status == tables.NodeRetired && !row.Value.RetiredCommitted && !m.Has(row.Key) {
			done = append(done, row.Key)
		}
	}
	if len(done) == 0 {
		return nil
	}
	return n.transact(ctx, func(tx *kv.Tx) error {
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
