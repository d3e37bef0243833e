package backup

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"chancery/internal/durable"
	"chancery/ledger"
)

// RestoreOptions say what is restored, and where to.
type RestoreOptions struct {
	FS    durable.FS
	Store Store
	ID    string // of the backup; "" is the newest
	// Dir is a directory that is not there yet, or is empty.
	Dir string
	// To and At are the point to which the ledger is restored: a transaction, or a time.
	// With neither it is the end of the backup.
	To ledger.TxID
	At time.Time
	// Expect is a transaction that the restored ledger must hold.
	Expect ledger.Expected
	// Service is the identity that must be in force at the point; nil accepts what is there.
	Service *x509.Certificate
	// Finish is called before the directory gets its name, with where it is now: to put
	// there what else belongs to it.
	Finish func(dir string, r *Restored) error
	// Progress is told how many bytes have come, and how many there are at most.
	Progress func(done, total int64)
}

// Names of what is in a restored directory, beside config.json.
const (
	RestoredLedger    = "ledger"
	RestoredSnapshots = "snapshots"
	RestoredCert      = "previous_service_cert.pem"
)

// Restored is what Restore did.
type Restored struct {
	Backup *Manifest
	// Through is the last transaction, a signature, and SignedAt its time as far as it says.
	Through  ledger.TxID
	SignedAt time.Time
	Root     ledger.Digest
	Service  ledger.ServiceIdentity // in force there
	Files    int
	Bytes    int64
	Snapshot string // base name of the snapshot, "" for none
	Notes    []string
}

// Restore brings the ledger of a backup into a new directory, cut behind the last signature
// at or before the point that is asked for, with the newest snapshot that is not later, and
// the certificate of the service at that point. Everything is audited on the way, from the
// first transaction on; the store is only read. The directory is there when all of it is:
// until then it is named Dir.part, and a next call goes on with what is in it.
//
// A point in time is judged by what the service's signatures say of when they were made:
// the cut is behind the last signature before the first that was made later.
func Restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	r, err := restore(ctx, o)
	return r, fullDisk(err)
}

func restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	if err := o.unused(); err != nil {
		return nil, err
	}
	all, err := Manifests(ctx, o.Store)
	if err != nil {
		return nil, err
	}
	m, err := find(all, o.Store, o.ID)
	if err != nil {
		return nil, err
	}
	if last := m.Last(); o.To.Seqno > last.Seqno {
		return nil, fmt.Errorf("%w: backup %s in %v reaches %v, and not %v; make a backup that does, or restore to an earlier point", ledger.ErrUnexpected, m.ID(), o.Store, last, o.To)
	}
	r := &restorer{RestoreOptions: o, part: o.Dir + ".part", done: &Restored{Backup: m}}
	for _, dir := range []string{RestoredLedger, RestoredSnapshots} {
		if err := o.FS.MkdirAll(filepath.Join(r.part, dir), 0o755); err != nil {
			return nil, err
		}
	}
	lock, err := o.FS.Lock(r.part)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.part, err)
	}
	defer lock.Close()
	if err := r.chunks(ctx, m); err != nil {
		return nil, err
	}
	if err := r.cutAndCheck(ctx); err != nil {
		return nil, err
	}
	if err := r.snapshot(ctx, all); err != nil {
		return nil, err
	}
	if err := durable.WriteFileAtomic(o.FS, filepath.Join(r.part, RestoredCert), []byte(pemOf(r.done.Service.Cert)), 0o644); err != nil {
		return nil, err
	}
	if o.Finish != nil {
		if err := o.Finish(r.part, r.done); err != nil {
			return nil, err
		}
	}
	return r.done, r.install()
}

// unused checks that nothing is in the directory.
func (o *RestoreOptions) unused() error {
	entries, err := o.FS.ReadDir(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: a ledger is restored to a directory of its own", o.Dir)
	}
	return err
}

// restorer is the state of one Restore.
type restorer struct {
	RestoreOptions
	part string
	done *Restored

	checkpoint *ledger.Checkpoint // at the end of the last whole chunk
	inside     File               // the chunk in which the point lies, if it is not its end
	over       bool               // the point was passed
	timeless   bool               // a signature does not say when it was made
}

func (r *restorer) ledgerPath(f File) string {
	return filepath.Join(r.part, RestoredLedger, path.Base(f.Name))
}

// chunks brings and audits chunk after chunk until the point is passed.
func (r *restorer) chunks(ctx context.Context, m *Manifest) error {
	if err := r.clearOpen(); err != nil {
		return err
	}
	outer := ctx
	g, ctx := errgroup.WithContext(ctx)
	fetched := make(chan File, 1)
	enough := make(chan struct{})
	total := m.Bytes()
	g.Go(func() error {
		defer close(fetched)
		var done int64
		for _, f := range m.Files {
			if _, _, ok := f.chunk(); !ok {
				return nil
			}
			if err := r.bring(ctx, f); err != nil {
				return err
			}
			if done += f.Size; r.Progress != nil {
				r.Progress(done, total)
			}
			select {
			case fetched <- f:
			case <-enough: // one more than is needed
				return r.FS.Remove(r.ledgerPath(f))
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	g.Go(func() error {
		for f := range fetched {
			if r.over {
				if err := r.FS.Remove(r.ledgerPath(f)); err != nil {
					return err
				}
				continue
			}
			if err := r.audit(ctx, f); err != nil {
				return err
			}
			if r.over {
				close(enough)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if outer.Err() != nil {
		return context.Cause(outer)
	}
	switch {
	case !r.At.IsZero() && r.timeless:
		return fmt.Errorf("the signatures of this ledger do not all say when they were made: restore to a transaction instead (%v is the last one)", m.Last())
	case r.done.Through.IsZero():
		return fmt.Errorf("%w: nothing in backup %s was signed at or before that point", ledger.ErrUnexpected, m.ID())
	}
	return nil
}

// clearOpen removes the cut chunk of an earlier call.
func (r *restorer) clearOpen() error {
	dir := filepath.Join(r.part, RestoredLedger)
	entries, err := r.FS.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, _, ok := ledger.IsCommittedChunk(e.Name()); !ok {
			if err := r.FS.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// bring copies a chunk, unless an earlier call did.
func (r *restorer) bring(ctx context.Context, f File) error {
	to := r.ledgerPath(f)
	if info, err := r.FS.Stat(to); err == nil && info.Size() == f.Size {
		h := sha256.New()
		have := &dirStore{fs: r.FS, dir: filepath.Dir(to)}
		if err := have.Get(ctx, filepath.Base(to), contextWriter{ctx, h}); err != nil {
			return err
		}
		if hexOf(h.Sum(nil)) == f.SHA256 {
			return nil
		}
	}
	return bring(ctx, r.FS, r.Store, f, to)
}

// audit audits a chunk, and looks whether the point lies in it or at its end.
func (r *restorer) audit(ctx context.Context, f File) error {
	first, last, _ := f.chunk()
	holds := func(id ledger.TxID) bool { return first <= id.Seqno && id.Seqno <= last }
	o := ledger.VerifyOptions{Checkpoint: r.checkpoint, Signed: r.signed}
	if holds(r.Expect.ID) {
		o.Expect = r.Expect
	}
	if holds(r.To) && r.To != r.Expect.ID {
		if holds(r.Expect.ID) { // one pass asks for one transaction
			if _, err := auditChunk(ctx, r.FS, r.ledgerPath(f), r.Store.String()+"/"+f.Name, ledger.VerifyOptions{Checkpoint: r.checkpoint, Expect: ledger.Expected{ID: r.To}}); err != nil {
				return err
			}
		} else {
			o.Expect = ledger.Expected{ID: r.To}
		}
	}
	at, err := auditChunk(ctx, r.FS, r.ledgerPath(f), r.Store.String()+"/"+f.Name, o)
	if err != nil {
		return err
	}
	if !r.over || r.done.Through.Seqno == last {
		r.checkpoint = at
		r.done.Files++
		r.done.Bytes += f.Size
		r.over = r.over || !r.To.IsZero() && last >= r.To.Seqno
		return nil
	}
	r.inside = f
	return nil
}

// signed is told of each signature, in order.
func (r *restorer) signed(id ledger.TxID, at time.Time) {
	r.timeless = r.timeless || at.IsZero()
	if r.over || !r.To.IsZero() && id.Seqno > r.To.Seqno || !r.At.IsZero() && at.After(r.At) {
		r.over = true
		return
	}
	r.done.Through, r.done.SignedAt = id, at
}

// cutAndCheck cuts the chunk in which the point lies, and audits what remains of it.
func (r *restorer) cutAndCheck(ctx context.Context) error {
	through := r.done.Through
	if f := r.inside; f.Name != "" {
		first, last, _ := f.chunk()
		if through.Seqno >= first {
			if _, err := ledger.CutChunk(r.FS, r.ledgerPath(f), first, last, through.Seqno, filepath.Join(r.part, RestoredLedger)); err != nil {
				return err
			}
		}
		if err := r.FS.Remove(r.ledgerPath(f)); err != nil {
			return err
		}
	}
	if err := r.clearBehind(through.Seqno); err != nil {
		return err
	}
	report, err := ledger.Verify(ctx, r.FS, []string{filepath.Join(r.part, RestoredLedger)}, ledger.VerifyOptions{Checkpoint: r.checkpoint})
	if err != nil {
		return err
	}
	if report.LastSigned != through || report.Last != through {
		return fmt.Errorf("the restored ledger ends at %v, signed through %v, and was to be cut at %v", report.Last, report.LastSigned, through)
	}
	if r.Expect.ID.Seqno > through.Seqno {
		return fmt.Errorf("the restored ledger ends at %v, and does not hold %v: %w; choose a later point, or a newer backup", through, r.Expect.ID, ledger.ErrUnexpected)
	}
	r.done.Root, r.done.Service = report.Root, report.Services[len(report.Services)-1]
	if r.inside.Name != "" && report.Files > 0 {
		r.done.Files++
		r.done.Bytes += report.Bytes
	}
	if r.Service != nil {
		if err := sameKey(r.Service, r.done.Service.Cert); err != nil {
			return fmt.Errorf("%w, whose key at %v was %s; if the service was recovered since, take the certificate of that time", err, through, r.done.Service.KeyID)
		}
	}
	return nil
}

// clearBehind removes chunks that an earlier call, with a later point, left behind this one.
func (r *restorer) clearBehind(through uint64) error {
	dir := filepath.Join(r.part, RestoredLedger)
	entries, err := r.FS.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if first, _, ok := ledger.IsCommittedChunk(e.Name()); ok && first > through {
			if err := r.FS.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshot brings the newest snapshot of any backup that is not later than the point.
func (r *restorer) snapshot(ctx context.Context, all []*Manifest) error {
	var newest File
	var name ledger.SnapshotName
	for _, m := range all {
		for _, f := range m.Files {
			if n, ok := f.snapshot(); ok && n.Evidence <= r.done.Through.Seqno && n.Seqno > name.Seqno {
				newest, name = f, n
			}
		}
	}
	if newest.Name == "" {
		return nil
	}
	to := filepath.Join(r.part, RestoredSnapshots, name.String())
	err := bring(ctx, r.FS, r.Store, newest, to)
	if err == nil {
		err = r.checkSnapshot(ctx, to, name)
	}
	switch {
	case err == nil:
		r.done.Snapshot = name.String()
		return nil
	case ctx.Err() != nil:
		return err
	}
	r.done.Notes = append(r.done.Notes, fmt.Sprintf("the snapshot is not restored, and not needed: %v", err))
	if err := r.FS.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// checkSnapshot compares a snapshot with the restored ledger: the transaction that it is
// of, and the one that commits to it.
func (r *restorer) checkSnapshot(ctx context.Context, file string, name ledger.SnapshotName) error {
	s, err := ledger.ReadSnapshot(r.FS, ledger.SnapshotFile{Path: file, SnapshotName: name})
	if err != nil {
		return err
	}
	digest := s.Digest()
	for e, err := range ledger.ReadEntries(r.FS, filepath.Join(r.part, RestoredLedger), name.Seqno) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		switch e.ID.Seqno {
		case name.Seqno:
			if e.ID != s.ID() || e.Leaf() != s.Leaf {
				return fmt.Errorf("%w: it is of another transaction than the ledger's %v", ledger.ErrSnapshot, e.ID)
			}
		case name.Evidence:
			ev, err := ledger.ParseSnapshotEvidence(e.Public)
			if err != nil {
				return err
			}
			if ev == nil || ev.Seqno != name.Seqno || ev.Hash != digest {
				return fmt.Errorf("%w: transaction %v does not commit to it", ledger.ErrSnapshot, e.ID)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the ledger does not reach the transaction that commits to it", ledger.ErrSnapshot)
}

// install gives the directory its name.
func (r *restorer) install() error {
	for _, dir := range []string{RestoredLedger, RestoredSnapshots, "."} {
		if err := r.FS.SyncDir(filepath.Join(r.part, dir)); err != nil {
			return err
		}
	}
	if err := r.FS.Remove(r.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := r.FS.Rename(r.part, r.Dir); err != nil {
		return err
	}
	return r.FS.SyncDir(filepath.Dir(filepath.Clean(r.Dir)))
}
