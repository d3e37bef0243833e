package node

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/node/config"
)

// errProduction says that production mode refuses what is for development.
var errProduction = errors.New("chancery.production is set")

// prepareResume takes up the keys of an earlier process on this machine.
func (n *Node) prepareResume() (err error) {
	if n.cfg.Chancery.Production {
		return fmt.Errorf("command %s: %w", config.CommandResume, errProduction)
	}
	if n.cfg.Chancery.KeyFile == "" {
		return errors.New("command Resume: chancery.key_file must name the key file that the node wrote when it was started")
	}
	var nodePEM string
	if n.keys, n.secrets, nodePEM, err = loadKeys(n.fs, n.cfg.Chancery.KeyFile); err != nil {
		return err
	}
	n.known, _ = n.secrets.Last()
	now := n.opts.Now().UTC().Truncate(time.Second)
	if n.certs, err = newCertificates(n.cfg, n.keys, n.listeners.publishedRPC(), now); err != nil {
		return err
	}
	n.log.Info("resuming with keys from an insecure key file, which the virtual platform alone allows", "file", n.cfg.Chancery.KeyFile)
	// The replay of the ledger may bring a newer certificate; the reconciler uses it.
	return n.use(nodePEM)
}

// announce corrects the addresses in the node's own row: those of a resumed node may be
// others than before. A resumed service is one node; others join it and must find it.
func (n *Node) announce(ctx context.Context) error {
	now, err := n.row(tables.QuoteInfo{})
	if err != nil {
		return err
	}
	return n.transact(ctx, func(tx *kv.Tx) error {
		row, ok, err := tables.NodesInfo.Get(tx, n.keys.id)
		if err != nil || !ok || reflect.DeepEqual(row.NodeToNode, now.NodeToNode) && reflect.DeepEqual(row.RPC, now.RPC) {
			return err
		}
		row.NodeToNode, row.RPC = now.NodeToNode, now.RPC
		return tables.NodesInfo.Put(tx, n.keys.id, row)
	})
}
