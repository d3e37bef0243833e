package node

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/node/config"
)

// errProduction says that production mode refuses what is for development.
var errProduction = errors.New("chancery.production is set")

// prepareResume takes up the keys of an earlier process on this machine.
func (n *Node) prepareResume() error {
	if n.cfg.Chancery.Production {
		return fmt.Errorf("command %s: %w", config.CommandResume, errProduction)
	}
	if n.cfg.Chancery.KeyFile == "" {
		return errors.New("command Resume: chancery.key_file must name the key file that the node wrote when it was started")
	}
	unfinished, err := n.ledger.UnfinishedRecovery()
	if err != nil {
		return err
	}
	if len(unfinished) > 0 {
		return fmt.Errorf("command Resume: %s in %s is of a recovery that was cut off; begin it again with command Recover", unfinished[0], n.cfg.Ledger.Directory)
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

// checkAlone refuses to resume a service of which another node still runs: two nodes
// would lead it.
func (n *Node) checkAlone(ctx context.Context) error {
	service, nodes, err := n.lastRows()
	if err != nil || service == nil {
		return err
	}
	if n.identity, err = identity.ParseCertificate([]byte(service.Cert)); err != nil {
		return fmt.Errorf("the ledger in %s: %w", n.cfg.Ledger.Directory, err)
	}
	for id, row := range nodes {
		if id == n.keys.id || row.Status != tables.NodeTrusted {
			continue
		}
		if address := row.NodeToNode.PublishedAddress; n.peers.Reachable(ctx, address, id) {
			return fmt.Errorf("command Resume: node %s of the service still runs at %s; a service is resumed when all its nodes have stopped", id, address)
		}
	}
	return nil
}

// lastRows returns the service's row and those of its nodes as of the ledger files' end; nil
// without a service. What the store holds already, from a snapshot, is not read again.
func (n *Node) lastRows() (service *tables.Service, nodes map[string]tables.Node, err error) {
	head := tables.View(n.store.Head())
	if s, ok, err := tables.ServiceInfo.Get(head); err != nil {
		return nil, nil, err
	} else if ok {
		service = &s
	}
	rows, err := tables.NodesInfo.All(head)
	if err != nil {
		return nil, nil, err
	}
	nodes = map[string]tables.Node{}
	for _, r := range rows {
		nodes[r.Key] = r.Value
	}
	for e, err := range n.ledger.Entries(max(n.store.Head().TxID().Seqno+1, n.ledger.First())) {
		if err != nil {
			return nil, nil, fmt.Errorf("reading the ledger in %s: %w", n.cfg.Ledger.Directory, err)
		}
		var s tables.Service
		if ok, err := written(e.Public, tables.NameServiceInfo, &s); err != nil {
			return nil, nil, fmt.Errorf("entry %v: %w", e.ID, err)
		} else if ok {
			service = &s
		}
		m := e.Public.Map(tables.NameNodesInfo)
		if m == nil {
			continue
		}
		for _, key := range m.Removes {
			delete(nodes, string(key))
		}
		for _, w := range m.Writes {
			var row tables.Node
			if err := tables.Unmarshal(w.Value, &row); err != nil {
				return nil, nil, fmt.Errorf("entry %v: %w", e.ID, err)
			}
			nodes[string(w.Key)] = row
		}
	}
	return service, nodes, nil
}
