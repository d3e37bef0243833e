package gov

import (
	"crypto/rand"
	"errors"
	"fmt"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/ledger"
)

// rekey makes a new ledger secret that is in force from the next transaction on: it is
// shared among the members, the present one is sealed under it, and it is wrapped for
// every node that may know it. The nodes, this one too, take it from there, so that all
// of them switch at the same seqno.
func rekey(tx *kv.Tx, fx Effects) error {
	s, err := service(tx)
	if err != nil {
		return err
	}
	// Before it is open, nobody holds a share of the present secret; in a recovery the
	// chain to the secrets before it is not complete.
	if s.Status != tables.ServiceOpen || fx.PublicOnly() {
		return errors.New("Could not rekey ledger")
	}
	current, _, err := fx.LedgerSecrets()
	if err != nil {
		return err
	}
	next, err := newSecret()
	if err != nil {
		return err
	}
	if err := issueShares(tx, next, &current, nil); err != nil {
		return err
	}
	return broadcast(tx, next)
}

func newSecret() (*ledger.Secret, error) {
	raw := make([]byte, ledger.SecretSize)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("drawing a ledger secret: %w", err)
	}
	return ledger.NewSecret(raw)
}

// broadcast wraps the secret of the next transaction for each node.
func broadcast(tx *kv.Tx, secret *ledger.Secret) error {
	nodes, err := trustedNodes(tx)
	if err != nil {
		return err
	}
	out := map[string][]tables.EncryptedSecret{}
	for _, n := range nodes {
		wrapped, err := wrapForNode(n, secret)
		if err != nil {
			return err
		}
		out[n.Key] = []tables.EncryptedSecret{{EncryptedSecret: wrapped}}
	}
	return tables.EncryptedSecrets.Put(tx, out)
}

func wrapForNode(n tables.Entry[tables.Node], secret *ledger.Secret) ([]byte, error) {
	key, err := identity.ParseRSAPublicKey([]byte(n.Value.EncryptionKey))
	if err != nil {
		return nil, fmt.Errorf("wrapping the ledger secret for node %s: %w", n.Key, err)
	}
	wrapped, err := identity.WrapFor(key, secret.Key())
	if err != nil {
		return nil, fmt.Errorf("wrapping the ledger secret for node %s: %w", n.Key, err)
	}
	return wrapped, nil
}
