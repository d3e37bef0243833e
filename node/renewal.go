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
	return every(ctx, renewalCheck, func() error {
		if !n.leadsService() {
			return nil
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
		return nil
	})
}
