package ledger

import (
	"errors"
	"fmt"

	"chancery/internal/durable"
	"chancery/kv/writeset"
)

// auditedSnapshot is what a snapshot file says, and what of it the ledger has confirmed.
type auditedSnapshot struct {
	file   SnapshotFile
	digest Digest
	id     TxID
	leaf   Digest

	committed bool // by the transaction that the name says
}

// readSnapshots takes down the snapshots that are to be compared with the ledger.
func (a *auditor) readSnapshots(fsys durable.FS) error {
	for _, f := range a.opts.Snapshots {
		s, err := ReadSnapshot(fsys, f)
		if errors.Is(err, ErrSnapshot) {
			return &CorruptError{File: f.Path, Err: err}
		}
		if err != nil {
			return err
		}
		a.snapshots = append(a.snapshots, &auditedSnapshot{file: f, digest: s.Digest(), id: s.ID(), leaf: s.Leaf})
	}
	return nil
}

// snapshotEvidence checks a transaction that commits to a snapshot.
func (a *auditor) snapshotEvidence(e *Entry, _ *writeset.MapWrites) error {
	ev, err := ParseSnapshotEvidence(e.Public)
	if err != nil {
		return err
	}
	if e.Type.hasClaims() && e.Claims != ev.Hash {
		return fmt.Errorf("its claims digest is not that of the snapshot at %d, to which it commits", ev.Seqno)
	}
	if ev.Seqno >= e.ID.Seqno {
		return fmt.Errorf("it commits to a snapshot at %d", ev.Seqno)
	}
	for _, s := range a.snapshots {
		if s.file.Evidence != e.ID.Seqno {
			continue
		}
		if ev.Seqno != s.file.Seqno || ev.Hash != s.digest {
			return &CorruptError{File: s.file.Path, Seqno: s.file.Seqno, Reason: fmt.Sprintf("transaction %v commits to another snapshot, at %d with SHA-256 %x", e.ID, ev.Seqno, ev.Hash)}
		}
		s.committed = true
	}
	return nil
}

// snapshotted compares a transaction with the snapshots of the state at it.
func (a *auditor) snapshotted(e *Entry) error {
	for _, s := range a.snapshots {
		if s.file.Seqno == e.ID.Seqno && (s.id != e.ID || s.leaf != e.Leaf()) {
			return &CorruptError{File: s.file.Path, Seqno: e.ID.Seqno, Reason: fmt.Sprintf("it is of another transaction %v than the ledger's %v", s.id, e.ID)}
		}
	}
	return nil
}

// checkSnapshots fails if a snapshot was not confirmed by a signed transaction.
func (a *auditor) checkSnapshots() error {
	for _, s := range a.snapshots {
		if !s.committed || s.file.Evidence > a.report.LastSigned.Seqno {
			return &CorruptError{File: s.file.Path, Seqno: s.file.Evidence, Reason: "no signed transaction in the ledger commits to the snapshot", Err: ErrUnexpected}
		}
		a.report.Snapshots++
	}
	return nil
}
