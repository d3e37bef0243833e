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
// known yet: the newest from its tables, each earlier one from the row of the table of
// secrets that the one behind it encrypts.
func (n *Node) secretsOf(s *ledger.Snapshot) error {
	m := s.Map(tables.NameEncryptedSecrets)
	if m == nil || len(m.Entries) == 0 {
		return nil // never a rekey
	}
	row := m.Entries[0]
	var all map[string][]tables.EncryptedSecret
	if err := tables.Unmarshal(row.Value, &all); err != nil {
		return fmt.Errorf("%s: %w", tables.NameEncryptedSecrets, err)
	}
	secret, err := n.unwrapSecret(all)
	if err != nil {
		return err
	}
	from := row.Version + 1
	for {
		known, err := n.secrets.At(from)
		if err == nil && known.Equal(secret) {
			return nil
		}
		if err := n.secrets.Add(from, secret); err != nil {
			return err
		}
		link, err := n.secretLink(from - 1)
		if err != nil || link.Previous == nil {
			return err
		}
		raw, err := identity.Unwrap(secret.Key(), link.Previous.EncryptedData)
		if err != nil {
			return fmt.Errorf("the ledger secret before seqno %d: %w", from, err)
		}
		if secret, err = ledger.NewSecret(raw); err != nil {
			return err
		}
		if link.Previous.Version >= from {
			return fmt.Errorf("the ledger secret before seqno %d comes into force at %d", from, link.Previous.Version)
		}
		from = link.Previous.Version
	}
}

// secretLink reads the row that the rekey at seqno left in the table of ledger secrets;
// what it holds is authenticated when it is decrypted.
func (n *Node) secretLink(seqno uint64) (row tables.SecretHistoryEntry, err error) {
	if seqno == 0 {
		return row, nil
	}
	e, err := n.ledger.Read(seqno)
	if err != nil {
		return row, err
	}
	m := e.Public.Map(tables.NameSecretHistory)
	if m == nil || len(m.Writes) == 0 {
		return row, nil
	}
	if err := tables.Unmarshal(m.Writes[0].Value, &row); err != nil {
		return row, fmt.Errorf("%s of %v: %w", tables.NameSecretHistory, e.ID, err)
	}
	return row, nil
}
