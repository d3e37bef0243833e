package node

import (
	"crypto/ecdsa"
	"errors"
	"fmt"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/ledger"
	"chancery/ledger/merkle"
	"chancery/raftfsm"
)

// takeUpSnapshot builds the store from the newest snapshot that is valid and that the
// ledger files reach. It returns nil when there is none: the ledger is then read from
// its beginning. A snapshot that is not valid is set aside, with a warning.
func (n *Node) takeUpSnapshot() (*raftfsm.Base, error) {
	dirs := []string{n.cfg.Snapshots.Directory}
	if d := n.cfg.Snapshots.ReadOnlyDirectory; d != "" {
		dirs = append(dirs, d)
	}
	found, err := ledger.ListSnapshots(n.fs, dirs...)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if f.Seqno > n.ledger.Last().Seqno {
			n.log.Warn("a snapshot is of a transaction that the ledger files do not reach; it is not used", "file", f.String(), "ledger", n.ledger.Last().String())
			continue
		}
		base, store, err := n.openSnapshot(f)
		if err == nil {
			n.store, n.startup = store, f.Seqno
			n.log.Info("starting from a snapshot", "file", f.String(), "transaction", base.ID.String())
			return base, nil
		}
		if !errors.Is(err, ledger.ErrSnapshot) {
			n.log.Warn("a snapshot cannot be used; an older one is, or the whole ledger", "file", f.String(), "err", err)
			continue
		}
		n.log.Warn("a snapshot is not valid; an older one is used, or the whole ledger", "file", f.String(), "err", err)
		if err := ledger.IgnoreSnapshot(n.fs, f.Path); err != nil {
			n.log.Warn("the snapshot stays where it is", "file", f.String(), "err", err)
		}
	}
	return nil, nil
}

// openSnapshot verifies a snapshot, by the service's key and against the ledger files,
// and builds a store from it.
func (n *Node) openSnapshot(f ledger.SnapshotFile) (*raftfsm.Base, *kv.Store, error) {
	s, err := ledger.ReadSnapshot(n.fs, f)
	if err != nil {
		return nil, nil, err
	}
	if err := n.checkSnapshot(s, f); err != nil {
		return nil, nil, err
	}
	value, ok := s.Single(ledger.TreeMap)
	if !ok {
		return nil, nil, fmt.Errorf("%w: it has no tree", ledger.ErrSnapshot)
	}
	tree, err := merkle.Parse(value)
	if err != nil {
		return nil, nil, err
	}
	if tree.Size() != s.Seqno {
		return nil, nil, fmt.Errorf("%w: its tree has %d leaves", ledger.ErrSnapshot, tree.Size())
	}
	if err := n.secretsOf(s); err != nil {
		return nil, nil, err
	}
	secret, err := n.secrets.At(s.Seqno)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Open(secret); err != nil {
		return nil, nil, err
	}
	b := kv.NewBuilder()
	for _, maps := range [][]ledger.SnapshotMap{s.Public, s.Private} {
		for _, m := range maps {
			for _, e := range m.Entries {
				b.Put(m.Name, e.Key, e.Value, e.Version)
			}
		}
	}
	store, err := b.Store(s.ID())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ledger.ErrSnapshot, err)
	}
	return &raftfsm.Base{ID: s.ID(), Leaf: s.Leaf, Tree: tree, Views: s.Views}, store, nil
}

// checkSnapshot checks that this service committed to the snapshot, and that the ledger
// files hold the transaction that it is of.
func (n *Node) checkSnapshot(s *ledger.Snapshot, f ledger.SnapshotFile) error {
	service, err := s.Service()
	if err != nil {
		return err
	}
	if key, ok := service.PublicKey.(*ecdsa.PublicKey); !ok || !n.keys.service.PublicKey.Equal(key) {
		return errors.New("it is of another service")
	}
	id, err := s.VerifyReceipt(service)
	if err != nil {
		return err
	}
	if id.Seqno != f.Evidence {
		return fmt.Errorf("its receipt is of transaction %v", id)
	}
	e, err := n.ledger.Read(s.Seqno)
	if err != nil {
		return err
	}
	if e.ID != s.ID() || e.Leaf() != s.Leaf {
		return fmt.Errorf("it is of another transaction %v than the one in the ledger files", s.ID())
	}
	return nil
}

// secretsOf adds the ledger secrets that came into force before the snapshot and are not
// known yet: those that its tables hold for this node, and each earlier one from the row
// of the table of past secrets that the one behind it encrypts.
func (n *Node) secretsOf(s *ledger.Snapshot) error {
	if m := s.Map(tables.NameEncryptedSecrets); m != nil && len(m.Entries) > 0 {
		row := m.Entries[0]
		var all map[string][]tables.EncryptedSecret
		if err := tables.Unmarshal(row.Value, &all); err != nil {
			return fmt.Errorf("%s: %w", tables.NameEncryptedSecrets, err)
		}
		for _, e := range all[n.keys.id] {
			from := row.Version + 1 // a rekey
			if e.Version != nil {
				from = *e.Version // restored by a recovery
			}
			secret, err := n.unwrapSecret(e)
			if err != nil {
				return fmt.Errorf("the ledger secret from seqno %d: %w", from, err)
			}
			if err := n.secrets.Add(from, secret); err != nil {
				return err
			}
		}
	}
	m := s.Map(tables.NameSecretHistory)
	if m == nil || len(m.Entries) == 0 {
		return nil
	}
	if err := n.pastSecrets(m.Entries[0].Version); err != nil {
		// The state is not less valid for it; what was sealed with them stays closed.
		n.log.Warn("earlier ledger secrets are not to be had: receipts of that time are not available", "err", err)
	}
	return nil
}

// pastSecrets follows the chain of past secrets backwards from the row written at seqno.
// What the rows hold is authenticated when it is decrypted.
func (n *Node) pastSecrets(seqno uint64) error {
	for {
		e, err := n.ledger.Read(seqno)
		if err != nil {
			return err
		}
		var row tables.SecretHistoryEntry
		ok, err := written(e.Public, tables.NameSecretHistory, &row)
		if err != nil {
			return fmt.Errorf("entry %v: %w", e.ID, err)
		}
		if !ok {
			return fmt.Errorf("transaction %v writes no past secret", e.ID)
		}
		if row.Previous == nil {
			return nil
		}
		current := seqno + 1
		if row.NextVersion != nil {
			current = *row.NextVersion
		}
		secret, err := n.secrets.At(current)
		if err != nil {
			return err
		}
		raw, err := identity.Unwrap(secret.Key(), row.Previous.EncryptedData)
		if err != nil {
			return fmt.Errorf("the ledger secret from seqno %d: %w", row.Previous.Version, err)
		}
		if secret, err = ledger.NewSecret(raw); err != nil {
			return fmt.Errorf("the ledger secret from seqno %d: %w", row.Previous.Version, err)
		}
		if err := n.secrets.Add(row.Previous.Version, secret); err != nil {
			return err
		}
		stored := row.Previous.PreviousStoredVersion
		if stored == nil || *stored >= seqno {
			return nil
		}
		seqno = *stored
	}
}
