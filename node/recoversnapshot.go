package node

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/ledger"
	"chancery/raftfsm"
)

// snapshotToRecover finds the newest snapshot that the service of the given certificate
// committed to and that the ledger files reach, unless it stands alone, and what it says of
// the ledger through it; nil without one.
func (n *Node) snapshotToRecover(previous *x509.Certificate, alone bool) (from *ledger.SnapshotFile, verified *ledger.Checkpoint, err error) {
	key, err := identity.CertificateKey(previous)
	if err != nil {
		return nil, nil, fmt.Errorf("command.recover.previous_service_identity_file: the key is of another kind than a service's: %w", err)
	}
	err = n.eachSnapshot(func(f ledger.SnapshotFile) error {
		if !alone {
			if err := n.withinLedger(f); err != nil {
				return err
			}
		}
		s, err := ledger.ReadSnapshot(n.fs, f)
		if err != nil {
			return err
		}
		if err := n.checkSnapshot(s, f, key); err != nil {
			return err
		}
		if _, err := baseOf(s); err != nil {
			return err
		}
		c, err := ledger.SnapshotCheckpoint(s)
		if err != nil {
			return err
		}
		from, verified = &f, c
		n.log.Info("recovering from a snapshot", "file", f.String(), "transaction", s.ID().String())
		return nil
	})
	if err == nil && from == nil && n.ledger.First() > 1 {
		err = fmt.Errorf("command Recover: the ledger files in %s begin at seqno %d, and no snapshot of the state before it is valid", n.cfg.Ledger.Directory, n.ledger.First())
	}
	return from, verified, err
}

// beginRecovered builds the store of a node that recovers the service from its snapshot:
// the public state alone. It returns nil without one.
func (n *Node) beginRecovered() (*raftfsm.Base, error) {
	from := n.recovery.Load().from
	if from == nil {
		return nil, nil
	}
	s, err := ledger.ReadSnapshot(n.fs, *from)
	if err != nil {
		return nil, err
	}
	base, err := baseOf(s)
	if err != nil {
		return nil, err
	}
	base.Trusted = true
	if n.store, err = storeOf(s.ID(), s.Public); err != nil {
		return nil, err
	}
	n.startup = s.Seqno
	return base, nil
}

// privateBefore is the private state from which the earlier life's entries are read: that
// of the snapshot, once its secret is restored, or none.
func (n *Node) privateBefore() (*kv.Store, error) {
	from := n.recovery.Load().from
	if from == nil {
		return kv.NewStore(), nil
	}
	s, err := ledger.ReadSnapshot(n.fs, *from)
	if err != nil {
		return nil, err
	}
	secret, err := n.secrets.At(s.Seqno)
	if err != nil {
		return nil, err
	}
	if err := s.Open(secret); err != nil {
		return nil, err
	}
	return storeOf(s.ID(), s.Private)
}

// SecretHistory implements gov.Recovery: the rows that led to the latest ledger secret, each
// of which says where the one before it stands. Ledgers whose rows do not say it are read
// for all of them.
func (e *effects) SecretHistory() ([]gov.SecretLink, error) {
	row, ok, err := tables.SecretHistory.Get(e.tx)
	if err != nil {
		return nil, err
	}
	at, wrote := e.tx.VersionOfPreviousWrite(tables.NameSecretHistory, tables.SingletonKey)
	if !ok || !wrote {
		return e.n.allSecretHistory()
	}
	links := []gov.SecretLink{{Seqno: at, Entry: row}}
	for row.Previous != nil {
		before := row.Previous.PreviousStoredVersion
		if before == nil || *before >= at {
			return e.n.allSecretHistory()
		}
		at = *before
		row, err = e.n.secretHistoryAt(at)
		if errors.Is(err, ledger.ErrNotFound) {
			// What was sealed with those is not here either.
			e.n.log.Info("the ledger files do not reach back to the row of an earlier ledger secret", "seqno", at)
			break
		}
		if err != nil {
			return nil, err
		}
		links = append(links, gov.SecretLink{Seqno: at, Entry: row})
	}
	slices.Reverse(links)
	return links, nil
}

// secretHistoryAt reads the row that a transaction wrote to the table of past secrets.
func (n *Node) secretHistoryAt(seqno uint64) (row tables.SecretHistoryEntry, err error) {
	e, err := n.ledger.Read(seqno)
	if err != nil {
		return row, err
	}
	ok, err := written(e.Public, tables.NameSecretHistory, &row)
	if err != nil {
		return row, fmt.Errorf("entry %v: %w", e.ID, err)
	}
	if !ok {
		return row, fmt.Errorf("transaction %v writes no past secret", e.ID)
	}
	return row, nil
}

// allSecretHistory reads the ledger for every row of the table of past secrets.
func (n *Node) allSecretHistory() ([]gov.SecretLink, error) {
	var out []gov.SecretLink
	for entry, err := range n.ledger.Entries(n.ledger.First()) {
		if err != nil {
			return nil, fmt.Errorf("reading the chain of ledger secrets: %w", err)
		}
		link := gov.SecretLink{Seqno: entry.ID.Seqno}
		ok, err := written(entry.Public, tables.NameSecretHistory, &link.Entry)
		if err != nil {
			return nil, fmt.Errorf("entry %v: %w", entry.ID, err)
		}
		if ok {
			out = append(out, link)
		}
	}
	return out, nil
}
