package node

import (
	"context"
	"errors"
	"fmt"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/raftfsm"
)

// runRecovery waits for the ledger secrets that the members' shares open, reads the
// private state of the earlier life, and opens the service where this node leads.
func (n *Node) runRecovery(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.opened: // one that joins knows by then whether it joins a recovery
	}
	r := n.recovery.Load()
	if r == nil {
		return nil
	}
	poke(r.work)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.work:
		}
		if err := n.endRecovery(); err != nil {
			return err
		}
		if !r.done.Load() {
			secrets, err := n.restoredSecrets()
			if err != nil {
				return err
			}
			if len(secrets) == 0 {
				continue
			}
			if err := n.readPrivate(ctx, secrets); err != nil {
				return fmt.Errorf("reading the private state of the earlier service: %w", err)
			}
		}
		open, err := n.openRecovered(ctx)
		if err != nil {
			return err
		}
		if open {
			return nil
		}
	}
}

// restoredSecrets returns the ledger secrets of earlier lives that the service gave to
// this node, none as long as there are not shares enough.
func (n *Node) restoredSecrets() ([]gov.LedgerSecret, error) {
	all, err := n.restoredRows()
	if err != nil {
		return nil, err
	}
	var out []gov.LedgerSecret
	for _, e := range all[n.keys.id] {
		if e.Version == nil {
			continue
		}
		secret, err := n.unwrapSecret(e)
		if err != nil {
			return nil, fmt.Errorf("the restored ledger secret from seqno %d: %w", *e.Version, err)
		}
		out = append(out, gov.LedgerSecret{From: *e.Version, Secret: secret})
	}
	return out, nil
}

// restoredRows returns the row with the restored secrets, wrapped for each node; nil when
// there is none yet. A node that was behind finds it in the ledger, when the open service
// has put new secrets in its place.
func (n *Node) restoredRows() (map[string][]tables.EncryptedSecret, error) {
	at := n.store.Committed()
	s, _, err := tables.ServiceInfo.Get(tables.View(at))
	if err != nil || n.uncreated(at) {
		return nil, err
	}
	switch s.Status {
	case tables.ServiceWaiting:
		return restoredIn(at, n.recovery.Load().target)
	case tables.ServiceOpen:
	default:
		return nil, nil
	}
	for e, err := range n.ledger.Entries(n.recovery.Load().target + 1) {
		if err != nil {
			return nil, err
		}
		var row map[string][]tables.EncryptedSecret
		if _, err := written(e.Public, tables.NameEncryptedSecrets, &row); err != nil {
			return nil, fmt.Errorf("entry %v: %w", e.ID, err)
		}
		if restores(row) {
			return row, nil
		}
	}
	return nil, errors.New("the service is open, and its ledger holds no restored secrets")
}

// restoredIn returns the row with the restored secrets of a state, nil when there is none
// behind target: the life before may have left the row of its own recovery.
func restoredIn(at *kv.State, target uint64) (map[string][]tables.EncryptedSecret, error) {
	row, _, err := tables.EncryptedSecrets.Get(tables.View(at))
	_, version, _ := at.Get(tables.NameEncryptedSecrets, tables.SingletonKey)
	if err != nil || version <= target || !restores(row) {
		return nil, err
	}
	return row, nil
}

// restores says whether a row of encrypted_ledger_secrets gives back secrets of earlier
// lives; otherwise it announces one that comes into force behind it.
func restores(row map[string][]tables.EncryptedSecret) bool {
	for _, secrets := range row {
		return len(secrets) > 0 && secrets[0].Version != nil
	}
	return false
}

// readPrivate replays the private writes of the earlier life, whose entries were verified
// when the node began, and puts them beside the public state.
func (n *Node) readPrivate(ctx context.Context, secrets []gov.LedgerSecret) error {
	r := n.recovery.Load()
	r.reading.Store(true)
	n.state.Store(stateReadingPrivate)
	n.log.Info("the ledger secrets are restored; reading the private state", "secrets", len(secrets), "through", r.target)
	for _, s := range secrets {
		if err := n.secrets.Add(s.From, s.Secret); err != nil {
			return err
		}
	}
	private, err := n.privateBefore()
	if err != nil {
		return err
	}
	// Before the service opens: a node that is resumed afterwards needs the secrets.
	if err := n.saveKeys(); err != nil {
		return err
	}
	if err := n.replica().TakePrivate(ctx, private, func(seqno uint64) { r.reached.Store(min(seqno, r.target)) }); err != nil {
		return err
	}
	r.done.Store(true)
	n.log.Info("the private state is there", "through", r.target)
	return nil
}

// openRecovered opens the service where this node leads, and says whether it is open.
func (n *Node) openRecovered(ctx context.Context) (open bool, err error) {
	status := func() (tables.ServiceStatus, error) {
		s, _, err := tables.ServiceInfo.Get(tables.View(n.store.Committed()))
		return s.Status, err
	}
	now, err := status()
	if err != nil {
		return false, err
	}
	if now != tables.ServiceOpen && n.Position().Primary {
		if err := n.submitOpening(ctx); err != nil {
			return false, err
		}
		if now, err = status(); err != nil {
			return false, err
		}
	}
	if now != tables.ServiceOpen {
		return false, nil
	}
	if err := n.endRecovery(); err != nil {
		return false, err
	}
	n.state.Store(statePartOfNetwork)
	n.log.Info("the service is recovered and open")
	return true, nil
}

// endRecovery gives the ledger's files their own names once the service is open, on a node
// that reads its private state after others too: what is acknowledged from now on must not
// be in files that a restart sets aside.
func (n *Node) endRecovery() error {
	at := n.store.Committed()
	s, _, err := tables.ServiceInfo.Get(tables.View(at))
	if err != nil || s.Status != tables.ServiceOpen || n.uncreated(at) {
		return err
	}
	return n.ledger.EndRecovery()
}

// submitOpening commits the transaction that opens a recovered service.
func (n *Node) submitOpening(ctx context.Context) error {
	for range transactAttempts {
		tx := n.store.Begin()
		fx := &effects{n: n, tx: tx}
		if s, _, err := tables.ServiceInfo.Get(tx); err != nil || s.Status != tables.ServiceWaiting {
			tx.Discard()
			return err
		}
		if err := gov.OpenRecovered(tx, fx); err != nil {
			return err
		}
		id, err := n.replica().Submit(ctx, tx, raftfsm.Submission{ForceChunk: fx.chunk, ForceSnapshot: fx.snap, AwaitCommit: true})
		switch {
		case errors.Is(err, kv.ErrConflict):
			continue
		case errors.Is(err, raftfsm.ErrNotPrimary):
			return nil // the next primary opens it
		case err != nil:
			return fmt.Errorf("opening the recovered service: %w", err)
		}
		_, err = n.replica().Wait(ctx, id) // whatever became of it, the tables say
		return ignoreStop(ctx, err)
	}
	return fmt.Errorf("opening the recovered service: %w, %d times in a row", kv.ErrConflict, transactAttempts)
}

// ReadingPrivate implements gov.Recovery.
func (e *effects) ReadingPrivate() bool {
	r := e.n.recovery.Load()
	return r != nil && (r.reading.Load() || r.done.Load())
}
