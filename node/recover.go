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

// leadsService says whether this node is to write what the primary writes of its own accord:
// it leads, and no create transaction is still to come.
func (n *Node) leadsService() bool {
	return n.Position().Primary && !n.uncreated(n.store.Committed())
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
	alone := n.ledger.Last().Seqno == 0
	from, verified, err := n.snapshotToRecover(previous, alone)
	if err != nil {
		return err
	}
	switch {
	case !alone:
		report, err := n.verifyEarlierLife(ctx, previous, verified)
		if err != nil {
			return err
		}
		if err := n.salvage(ctx, previous, report.Checkpoint); err != nil {
			return err
		}
	case from == nil:
		return fmt.Errorf("command Recover: the ledger directory %s holds no signed transaction, and %s no valid snapshot; a new service begins with Start", n.cfg.Ledger.Directory, n.cfg.Snapshots.Directory)
	default:
		if err := n.recoverAlone(verified.Last()); err != nil {
			return err
		}
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

// recoverAlone has the service's next life begin right behind a snapshot, without any file of
// its ledger.
func (n *Node) recoverAlone(at writeset.TxID) error {
	if n.cfg.Chancery.RecoverExpect != "" {
		return fmt.Errorf("command Recover: the ledger directory %s is empty: chancery.recover_expect can't be checked; put the service's ledger files there, or take the key away to recover the snapshot alone", n.cfg.Ledger.Directory)
	}
	n.log.Error("the ledger directory is empty: the service is recovered as of its snapshot, and what was committed behind it is lost; stop this node and put the ledger files there if there are any", "ledger", n.cfg.Ledger.Directory, "through", at.String())
	return n.ledger.BeginBehind(at)
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
