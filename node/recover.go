package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/raftfsm"
)

// recovery is the state of a node of a service that is recovered from its ledger: its
// public state is there, its private state waits for the members' shares.
type recovery struct {
	from    *ledger.SnapshotFile // that the node began with; nil without one
	target  uint64               // last seqno of the earlier life
	work    chan struct{}        // capacity 1: raised by every commit
	reading atomic.Bool          // the secrets are there, the private state is being read
	reached atomic.Uint64        // through which seqno
	done    atomic.Bool          // it has been read
}

func newRecovery(target uint64) *recovery {
	return &recovery{target: target, work: make(chan struct{}, 1)}
}

// publicOnly says that the private state of the service's earlier life is not there yet.
func (n *Node) publicOnly() bool {
	r := n.recovery.Load()
	return r != nil && !r.done.Load()
}

// ofEarlierLife says that a transaction is of the life whose secrets are still missing.
func (n *Node) ofEarlierLife(seqno uint64) bool {
	r := n.recovery.Load()
	return r != nil && !r.done.Load() && seqno <= r.target
}

// uncreated says that a state is still the earlier life's: this one has no create transaction
// there yet.
func (n *Node) uncreated(at *kv.State) bool {
	r := n.recovery.Load()
	return r != nil && at.TxID().Seqno <= r.target
}

// recoveryFigures are how far the private state is to be read, and has been; nil unless a
// recovery is under way. It ends when the files have the names of the service's own: what
// the application is told to be committed must not be in files that a restart sets aside.
func (n *Node) recoveryFigures() (target, reached *uint64) {
	r := n.recovery.Load()
	if r == nil || n.state.Load() == statePartOfNetwork {
		return nil, nil
	}
	at := r.reached.Load()
	return &r.target, &at
}

// prepareRecover verifies the ledger that is there against the identity that signed it,
// and makes the identities of the service's next life.
func (n *Node) prepareRecover(ctx context.Context) error {
	previous, err := n.previousIdentity()
	if err != nil {
		return err
	}
	if n.ledger.Last().Seqno == 0 {
		return fmt.Errorf("command Recover: the ledger directory %s holds no signed transaction; a new service begins with Start", n.cfg.Ledger.Directory)
	}
	from, verified, err := n.snapshotToRecover(previous)
	if err != nil {
		return err
	}
	report, err := n.verifyEarlierLife(ctx, previous, verified)
	if err != nil {
		return err
	}
	if err := n.salvage(ctx, previous, report.Checkpoint); err != nil {
		return err
	}
	last := n.ledger.Last()
	if err := n.ledger.BeginRecovery(last.Seqno + 1); err != nil {
		return err
	}
	if err := n.setAside(raftDir(n.cfg)); err != nil {
		return err
	}
	r := newRecovery(last.Seqno)
	r.from = from
	n.recovery.Store(r)
	n.state.Store(stateReadingPublic)

	n.known = last.Seqno + 1 // what the ledger says of earlier secrets is for earlier nodes
	if err := n.beginLife(ctx, n.known, previous.RawSubject, n.cfg.Command.Recover.InitialServiceCertificateValidityDays); err != nil {
		return err
	}
	if n.cfg.Chancery.KeyFile != "" {
		if err := n.setAside(n.cfg.Chancery.KeyFile); err != nil {
			return err
		}
	}
	return n.saveKeys()
}

// setAside renames what an earlier node left at path, if anything, so that it stays: what
// it holds may be wanted when a recovery fails.
func (n *Node) setAside(path string) error {
	if _, err := n.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("setting aside what an earlier node left: %w", err)
	}
	to := path + ".ignored"
	for i := 2; ; i++ {
		if _, err := n.fs.Stat(to); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return fmt.Errorf("setting aside what an earlier node left: %w", err)
		}
		to = fmt.Sprintf("%s.ignored-%d", path, i)
	}
	n.log.Info("set aside what an earlier node left", "from", path, "to", to)
	if err := n.fs.Rename(path, to); err != nil {
		return fmt.Errorf("setting aside what an earlier node left: %w", err)
	}
	return n.fs.SyncDir(filepath.Dir(path))
}

// previousIdentity reads the certificate of the service that is to be recovered.
func (n *Node) previousIdentity() (*x509.Certificate, error) {
	const key = "command.recover.previous_service_identity_file"
	path := n.cfg.Command.Recover.PreviousServiceIdentityFile
	text, err := n.fs.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	cert, err := identity.ParseCertificate(text)
	if err != nil {
		return nil, &config.InvalidError{Problems: []config.Problem{{Path: key, Text: fmt.Sprintf("%s: %v", path, err)}}}
	}
	return cert, nil
}

// verifyEarlierLife audits the ledger: nothing of it is believed that the earlier service
// did not sign. What is behind its last signature is not looked at; BeginRecovery cuts it.
// With a snapshot the audit begins behind it.
func (n *Node) verifyEarlierLife(ctx context.Context, previous *x509.Certificate, from *ledger.Checkpoint) (*ledger.Report, error) {
	begun := time.Now()
	r, err := ledger.Verify(ctx, n.fs, n.ledgerDirs(), ledger.VerifyOptions{Service: previous, Checkpoint: from})
	if err != nil {
		return nil, fmt.Errorf("command Recover: the ledger does not verify: %w", err)
	}
	n.log.Info("the ledger of the earlier service verifies", "through", r.LastSigned.String(), "entries", r.Entries, "took", time.Since(begun).Round(time.Millisecond).String())
	if r.LastSigned != n.ledger.Last() {
		return nil, fmt.Errorf("command Recover: the ledger is signed through %v, and its files end at %v", r.LastSigned, n.ledger.Last())
	}
	if r.Unsigned > 0 || r.Tail != nil {
		n.log.Info("what stands behind the last signature is dropped: nothing vouches for it", "entries", r.Unsigned, "after", r.LastSigned.String())
	}
	return r, nil
}

// salvage brings into the ledger what this node received before the disaster and had not
// learned to be committed, where Raft's log is still there: others may have acknowledged it.
// What does not verify is left where it is. A ledger without the expected transaction is
// refused before anything is written; what was verified already is not read again.
func (n *Node) salvage(ctx context.Context, previous *x509.Certificate, verified *ledger.Checkpoint) error {
	last := n.ledger.Last()
	spans, err := raftfsm.Salvage(n.fs, raftDir(n.cfg), last)
	if err != nil {
		n.log.Error("Raft's log cannot be read: what it may hold behind the ledger's end is not recovered; another node's files may have it", "after", last.String(), "err", err)
		spans = nil
	}
	behind := slices.Concat(spans...)
	if err := n.checkExpected(behind); err != nil || len(behind) == 0 {
		return err
	}
	if err := n.ledger.DropTail(); err != nil {
		return err
	}
	_, err = ledger.Verify(ctx, n.fs, n.ledgerDirs(), ledger.VerifyOptions{Service: previous, Checkpoint: verified, Behind: behind})
	if err != nil {
		n.log.Error("what Raft's log holds behind the ledger's end does not verify, and is not recovered", "after", last.String(), "err", err)
		return n.checkExpected(nil)
	}
	for _, span := range spans {
		if err := n.ledger.AppendSigned(span); err != nil {
			return fmt.Errorf("writing what Raft's log holds behind the ledger's end: %w", err)
		}
	}
	n.log.Info("Raft's log held signed entries behind the ledger's end", "after", last.String(), "through", n.ledger.Last().String())
	return n.ledger.Sync()
}

// ledgerDirs are where the ledger's chunks are.
func (n *Node) ledgerDirs() []string {
	return append([]string{n.cfg.Ledger.Directory}, n.cfg.Ledger.ReadOnlyDirectories...)
}

// checkExpected refuses a ledger, with what is to go behind it, that does not hold the
// transaction that it is said to: an older copy, or another history.
func (n *Node) checkExpected(behind []*ledger.Entry) error {
	if n.cfg.Chancery.RecoverExpect == "" {
		return nil
	}
	want, err := ledger.ReadExpected(n.fs, n.cfg.Chancery.RecoverExpect)
	if err != nil {
		return fmt.Errorf("chancery.recover_expect: %w", err)
	}
	last := n.ledger.Last()
	var got *ledger.Entry
	switch at := want.ID.Seqno; {
	case at > last.Seqno+uint64(len(behind)):
		return fmt.Errorf("command Recover: the ledger in %s ends at seqno %d, before the expected transaction %v: it is an older copy; recover from a copy that holds it", n.cfg.Ledger.Directory, last.Seqno+uint64(len(behind)), want.ID)
	case at > last.Seqno:
		got = behind[at-last.Seqno-1]
	default:
		if got, err = n.ledger.Read(at); err != nil {
			return err
		}
	}
	if !want.Meets(got) {
		return fmt.Errorf("command Recover: in the ledger in %s, %v with leaf %x stands where %v is expected: it is another history; recover from a copy that holds it", n.cfg.Ledger.Directory, got.ID, got.Leaf(), want)
	}
	return nil
}

// create submits the first transaction of a life of the service and returns its position.
func (n *Node) create(ctx context.Context) (raftfsm.TxID, error) {
	first := writeset.TxID{View: n.replica().Position().View, Seqno: 1}
	r := n.recovery.Load()
	if r != nil {
		first.Seqno = r.target + 1
		if err := n.findSealedShare(n.store.Head()); err != nil {
			return first, err
		}
	}
	tx := n.store.Begin()
	n.genesis.params.TxID = first
	if err := gov.Create(tx, n.genesis.params); err != nil {
		return first, fmt.Errorf("creating the service: %w", err)
	}
	claims, err := n.createClaims(tx)
	if err != nil {
		return first, fmt.Errorf("creating the service: the application's claims: %w", err)
	}
	id, err := n.replica().Submit(ctx, tx, raftfsm.Submission{AwaitCommit: true, Create: r != nil, Claims: claims})
	if err != nil {
		return first, fmt.Errorf("creating the service: %w", err)
	}
	if id != first {
		return first, fmt.Errorf("the create transaction says %v and stands at %v", first, id)
	}
	return id, nil
}

func (n *Node) createClaims(tx *kv.Tx) (ledger.Digest, error) {
	if n.opts.App == nil || n.opts.App.CreateClaims == nil {
		return ledger.Digest{}, nil
	}
	return n.opts.App.CreateClaims(tx)
}

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
		row, _, err := tables.EncryptedSecrets.Get(tables.View(at))
		if err != nil || !restores(row) {
			return nil, err
		}
		return row, nil
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
	for e, err := range n.ledger.Entries(private.Head().TxID().Seqno + 1) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if e.ID.Seqno > r.target {
			break
		}
		secret, err := n.secrets.At(e.ID.Seqno)
		if err != nil {
			return err
		}
		ws, err := e.Open(secret)
		if err != nil {
			return fmt.Errorf("entry %v: %w", e.ID, err)
		}
		_, hidden := ws.Split()
		if _, err := private.Apply(e.ID, hidden); err != nil {
			return err
		}
		if err := private.Compact(e.ID.Seqno); err != nil {
			return err
		}
		r.reached.Store(e.ID.Seqno)
	}
	// Before the service opens: a node that is resumed afterwards needs the secrets.
	if err := n.saveKeys(); err != nil {
		return err
	}
	if err := n.replica().TakePrivate(ctx, private); err != nil {
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
