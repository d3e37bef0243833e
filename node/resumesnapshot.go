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
	"chancery/node/config"
	"chancery/raftfsm"
)

// takeUpSnapshot builds the store from the newest snapshot that is valid and that the
// ledger files reach. It returns nil when there is none: the ledger is then read from
// its beginning.
func (n *Node) takeUpSnapshot() (base *raftfsm.Base, err error) {
	err = n.eachSnapshot(func(f ledger.SnapshotFile) error {
		if err := n.withinLedger(f); err != nil {
			return err
		}
		b, store, err := n.openSnapshot(f, &n.keys.service.PublicKey)
		if err != nil {
			return err
		}
		base, n.store, n.startup = b, store, f.Seqno
		n.log.Info("starting from a snapshot", "file", f.String(), "transaction", b.ID.String())
		return nil
	})
	return base, err
}

// withinLedger says why a snapshot is of no use with the ledger files, if it is not.
func (n *Node) withinLedger(f ledger.SnapshotFile) error {
	if last := n.ledger.Last(); f.Seqno > last.Seqno {
		return fmt.Errorf("it is of a transaction that the ledger files, through %v, do not reach", last)
	}
	if first := n.ledger.First(); f.Seqno+1 < first {
		return fmt.Errorf("the ledger files begin at seqno %d, behind it", first)
	}
	return nil
}

// eachSnapshot offers the snapshots that are there to use, the newest first, until one is
// taken. One that is not valid is set aside, with a warning.
func (n *Node) eachSnapshot(use func(ledger.SnapshotFile) error) error {
	dirs := []string{n.cfg.Snapshots.Directory}
	if d := n.cfg.Snapshots.ReadOnlyDirectory; d != "" {
		dirs = append(dirs, d)
	}
	found, err := ledger.ListSnapshots(n.fs, dirs...)
	if err != nil {
		return err
	}
	for _, f := range found {
		if info, err := n.fs.Stat(f.Path); err == nil && info.Size() == 0 {
			n.log.Info("Ignoring empty snapshot file " + f.String()) // CCF's line
			continue
		}
		err := use(f)
		if err == nil {
			return nil
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
	return nil
}

// openSnapshot verifies a snapshot, by the service's key and against the ledger files,
// and builds a store from it.
func (n *Node) openSnapshot(f ledger.SnapshotFile, service *ecdsa.PublicKey) (*raftfsm.Base, *kv.Store, error) {
	s, err := ledger.ReadSnapshot(n.fs, f)
	if err != nil {
		return nil, nil, err
	}
	if err := n.checkSnapshot(s, f, service); err != nil {
		return nil, nil, err
	}
	base, err := baseOf(s)
	if err != nil {
		return nil, nil, err
	}
	if n.cfg.Command.Type == config.CommandResume {
		if err := n.secretsOf(s); err != nil {
			return nil, nil, err
		}
	}
	secret, err := n.secrets.At(s.Seqno)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Open(secret); err != nil {
		return nil, nil, err
	}
	store, err := storeOf(s.ID(), s.Public, s.Private)
	return base, store, err
}

// baseOf is where a replica stands that begins with a snapshot.
func baseOf(s *ledger.Snapshot) (*raftfsm.Base, error) {
	value, ok := s.Single(ledger.TreeMap)
	if !ok {
		return nil, fmt.Errorf("%w: it has no tree", ledger.ErrSnapshot)
	}
	tree, err := merkle.Parse(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrSnapshot, err)
	}
	if tree.Size() != s.Seqno {
		return nil, fmt.Errorf("%w: its tree has %d leaves", ledger.ErrSnapshot, tree.Size())
	}
	return &raftfsm.Base{ID: s.ID(), Leaf: s.Leaf, Tree: tree, Views: s.Views}, nil
}

// storeOf builds a store from the maps of a snapshot of the state at id.
func storeOf(id raftfsm.TxID, parts ...[]ledger.SnapshotMap) (*kv.Store, error) {
	b := kv.NewBuilder()
	for _, maps := range parts {
		for _, m := range maps {
			for _, e := range m.Entries {
				b.Put(m.Name, e.Key, e.Value, e.Version)
			}
		}
	}
	store, err := b.Store(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrSnapshot, err)
	}
	return store, nil
}

// checkSnapshot checks that the service with the given key committed to the snapshot, and
// that the ledger files, where they reach it, hold the transaction that it is of.
func (n *Node) checkSnapshot(s *ledger.Snapshot, f ledger.SnapshotFile, want *ecdsa.PublicKey) error {
	service, err := s.Service()
	if err != nil {
		return err
	}
	if key, ok := service.PublicKey.(*ecdsa.PublicKey); !ok || !want.Equal(key) {
		return errors.New("it is of another service")
	}
	id, err := s.VerifyReceipt(service)
	if err != nil {
		return err
	}
	if id.Seqno != f.Evidence {
		return fmt.Errorf("its receipt is of transaction %v", id)
	}
	if s.Seqno < n.ledger.First() || s.Seqno > n.ledger.Last().Seqno {
		return nil
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
		row, err := n.secretHistoryAt(seqno)
		if err != nil {
			return err
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
