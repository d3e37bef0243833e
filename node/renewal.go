package node

import (
	"context"
	"time"

	"chancery/gov"
	"chancery/kv"
)

// renewalCheck is the time between two looks at the certificates' ends.
const renewalCheck = 5 * time.Second

// runRenewal renews certificates in time, on the primary. What goes wrong is logged, and
// tried again.
func (n *Node) runRenewal(ctx context.Context) error {
	within := n.cfg.Chancery.RenewCertificatesWithin
	if within == 0 {
		return nil
	}
	tick := time.NewTicker(renewalCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !n.Position().Primary || n.uncreated(n.store.Committed()) {
			continue
		}
		renewed := 0
		err := n.transact(ctx, func(tx *kv.Tx) (err error) {
			renewed, err = gov.RenewCertificates(tx, n.Effects(tx), within)
			return err
		})
		switch {
		case ctx.Err() != nil:
		case err != nil:
			n.log.Warn("certificates that end soon were not renewed", "err", err)
		case renewed > 0:
			n.log.Info("certificates that ended soon were renewed", "certificates", renewed)
		}
	}
}
