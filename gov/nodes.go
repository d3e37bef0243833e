package gov

import (
	"time"

	"chancery/gov/tables"
	"chancery/kv"
)

// takingPart counts the nodes that take part in the service.
func takingPart(r tables.Reader) (int, error) {
	nodes, err := tables.NodesInfo.All(r)
	n := 0
	for _, row := range nodes {
		if row.Value.Status == tables.NodeTrusted {
			n++
		}
	}
	return n, err
}

// SeenPending records that a Pending node has asked again to join. So that a node that
// waits does not fill the ledger, that is written once in half the timeout at most.
func SeenPending(tx *kv.Tx, id string, row tables.Node, now time.Time, timeout time.Duration) error {
	if !PendingStale(row, now, timeout) {
		return nil
	}
	at := now.UnixMilli()
	row.PendingLastSeen = &at
	return tables.NodesInfo.Put(tx, id, row)
}

// PendingStale says whether a Pending node's row should learn that the node is still
// there. A timeout of 0 says that nodes may be Pending for ever.
func PendingStale(row tables.Node, now time.Time, timeout time.Duration) bool {
	if timeout <= 0 {
		return false
	}
	seen, ok := pendingSeen(row, now)
	return !ok || now.Sub(seen) >= timeout/2
}

// pendingSeen is when a Pending node asked last; ok is false where its row holds no time,
// or none that can be.
func pendingSeen(row tables.Node, now time.Time) (at time.Time, ok bool) {
	if row.PendingLastSeen == nil || *row.PendingLastSeen < 0 || *row.PendingLastSeen > now.UnixMilli() {
		return time.Time{}, false
	}
	return time.UnixMilli(*row.PendingLastSeen), true
}

// RemoveExpiredPending forgets Pending nodes that have not asked for longer than the
// timeout, and returns their ids. One whose row has no time that can be begins to wait
// now. A timeout of 0 removes none.
func RemoveExpiredPending(tx *kv.Tx, now time.Time, timeout time.Duration) (removed []string, err error) {
	if timeout <= 0 {
		return nil, nil
	}
	nodes, err := tables.NodesInfo.All(tx)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if n.Value.Status != tables.NodePending {
			continue
		}
		seen, ok := pendingSeen(n.Value, now)
		switch {
		case !ok:
			if err := SeenPending(tx, n.Key, n.Value, now, timeout); err != nil {
				return nil, err
			}
		case now.Sub(seen) > timeout:
			if err := ForgetNode(tx, n.Key); err != nil {
				return nil, err
			}
			removed = append(removed, n.Key)
		}
	}
	return removed, nil
}
