package node

import (
	"context"
	"time"

	"chancery/gov"
	"chancery/kv"
)

// maxPendingCheck is the longest time between two looks at nodes that are Pending.
const maxPendingCheck = time.Minute

// runPending has the service forget nodes that asked to join and have ceased to ask for
// pending_node_timeout, on the primary.
func (n *Node) runPending(ctx context.Context) error {
	timeout := n.cfg.PendingNodeTimeout
	if timeout <= 0 {
		return nil
	}
	return every(ctx, min(timeout, maxPendingCheck), func() error {
		if !n.leadsService() {
			return nil
		}
		var removed []string
		err := n.transact(ctx, func(tx *kv.Tx) (err error) {
			removed, err = gov.RemoveExpiredPending(tx, n.opts.Now(), timeout)
			return err
		})
		switch {
		case ctx.Err() != nil:
		case err != nil:
			n.log.Warn("forgetting Pending nodes that have ceased to ask", "err", err)
		case len(removed) > 0:
			n.log.Info("Pending nodes that ceased to ask are forgotten", "nodes", removed)
		}
		return nil
	})
}
