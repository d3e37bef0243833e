package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/raftfsm"
)

// runReconcilers makes the node match the committed tables, after every commit and
// once at the start. Each reconciler compares and acts; none remembers.
func (n *Node) runReconcilers(ctx context.Context) error {
	var grace <-chan time.Time
	var seen version // of the nodes table
	for {
		if err := n.reconcileCertificate(); err != nil {
			return fmt.Errorf("following the tables: %w", err)
		}
		var retired bool
		if now := versionOf(n.store.Committed()); now != seen {
			var err error
			if retired, err = n.reconcilePeers(); err != nil {
				return fmt.Errorf("following the tables: %w", err)
			}
			seen = now
		}
		if retired && grace == nil {
			wait := retirementGrace * n.cfg.Consensus.ElectionTimeout
			n.log.Info("the service has retired this node; it stops by itself", "in", wait)
			grace = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-grace:
			if !n.Position().Primary {
				return errRetired
			}
			grace = time.After(n.cfg.Consensus.ElectionTimeout) // nobody has taken over yet
		case <-n.committed:
		}
	}
}

// reconcileCertificate puts the node certificate in force that governance issued last.
func (n *Node) reconcileCertificate() error {
	pem, ok, err := tables.NodesEndorsedCertificates.Get(tables.View(n.store.Committed()), n.keys.id)
	if err != nil || !ok {
		return err
	}
	return n.use(pem)
}

// sign makes a signature transaction with the certificate in force.
func (n *Node) sign(id raftfsm.TxID, root ledger.Digest, tree []byte) (writeset.WriteSet, error) {
	return n.certs.signer.Load().Sign(id, root, tree)
}

// nextSecret takes a new ledger secret out of the transaction that announces it: it
// stands there encrypted for each trusted node.
func (n *Node) nextSecret(id raftfsm.TxID, ws writeset.WriteSet) (*ledger.Secret, error) {
	if id.Seqno < n.known {
		return nil, nil // the node began with it
	}
	secret, err := n.announced(ws)
	if err != nil {
		return nil, fmt.Errorf("ledger secrets of %v: %w", id, err)
	}
	return secret, nil
}

func (n *Node) announced(ws writeset.WriteSet) (*ledger.Secret, error) {
	var all map[string][]tables.EncryptedSecret
	if ok, err := written(ws, tables.NameEncryptedSecrets, &all); !ok || restores(all) {
		return nil, err // what a recovery restored: see restoredSecrets
	}
	return n.newestSecret(all[n.keys.id])
}

// written reads what a transaction wrote to a table that holds one JSON value; ok is false
// where it wrote none.
func written(ws writeset.WriteSet, table string, to any) (ok bool, err error) {
	m := ws.Map(table)
	if m == nil || len(m.Writes) == 0 {
		return false, nil
	}
	if err := tables.Unmarshal(m.Writes[len(m.Writes)-1].Value, to); err != nil {
		return false, fmt.Errorf("%s: %w", table, err)
	}
	return true, nil
}

// newestSecret takes the newest ledger secret out of those that encrypted_ledger_secrets
// holds for this node.
func (n *Node) newestSecret(mine []tables.EncryptedSecret) (*ledger.Secret, error) {
	if len(mine) == 0 {
		return nil, errors.New("none is for this node")
	}
	for _, s := range mine {
		if s.Version == nil {
			return n.unwrapSecret(s)
		}
	}
	return nil, errors.New("none of those for this node comes into force here")
}

// unwrapSecret opens a ledger secret that was wrapped for this node.
func (n *Node) unwrapSecret(s tables.EncryptedSecret) (*ledger.Secret, error) {
	raw, err := identity.UnwrapWith(n.keys.encryption, s.EncryptedSecret)
	if err != nil {
		return nil, err
	}
	return ledger.NewSecret(raw)
}
