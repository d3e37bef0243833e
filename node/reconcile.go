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
	for _, m := range ws {
		if m.Name != tables.NameEncryptedSecrets || len(m.Writes) == 0 {
			continue
		}
		var all map[string][]tables.EncryptedSecret
		if err := tables.Unmarshal(m.Writes[0].Value, &all); err != nil {
			return nil, fmt.Errorf("ledger secrets of %v: %w", id, err)
		}
		secret, err := n.unwrapSecret(all)
		if err != nil {
			return nil, fmt.Errorf("ledger secrets of %v: %w", id, err)
		}
		return secret, nil
	}
	return nil, nil
}

// unwrapSecret takes the newest ledger secret for this node out of a row of
// encrypted_ledger_secrets; nil where there are earlier ones alone.
func (n *Node) unwrapSecret(all map[string][]tables.EncryptedSecret) (*ledger.Secret, error) {
	for _, s := range all[n.keys.id] {
		if s.Version != nil {
			continue // an older one, for a node that recovers
		}
		raw, err := identity.UnwrapWith(n.keys.encryption, s.EncryptedSecret)
		if err != nil {
			return nil, err
		}
		return ledger.NewSecret(raw)
	}
	if len(all[n.keys.id]) > 0 {
		return nil, nil // the restored ones of a recovery: see restoredSecrets
	}
	return nil, errors.New("none is for this node")
}
