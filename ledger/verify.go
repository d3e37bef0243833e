package ledger

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"chancery/internal/durable"
)

// VerifyOptions say what a ledger is held against. The zero value checks everything
// that the ledger itself gives the means for.
type VerifyOptions struct {
	// Service is the identity that must be in force at the ledger's end. Nil accepts
	// whoever signed it: it is then consistent in itself, and no more.
	Service *x509.Certificate
	// Secrets are the ledger secrets as far as they are known. Entries from the first
	// one's seqno on are decrypted, which checks tags, IVs and commit evidence.
	Secrets *Secrets
	// CommittedOnly passes over chunks whose name does not end in ".committed".
	CommittedOnly bool
	// Checkpoint is where an earlier audit ended: this one begins behind it. The chunks
	// before need not be there any more.
	Checkpoint *Checkpoint
	// From and To are seqnos, 0 for none. Before From, everything is checked but the
	// signatures themselves, which is what takes long; those behind vouch for it. The
	// audit ends with the first signature at To or behind it, which there must be.
	From, To uint64
	// Expect is a transaction that must be there, signed: whoever holds a receipt of it
	// can tell an older copy of the ledger from the newest.
	Expect Expected
	// Snapshots are files that must be what the ledger says of them: each committed to by
	// the transaction that its name says, and of the state at its seqno.
	Snapshots []SnapshotFile
	// Behind are entries that are to follow the files, which then must end with a signature:
	// they are audited as if they stood in them.
	Behind []*Entry
	// Signed is told of each signature in order, and when it was made by the clock of the
	// node that made it: zero where it does not say. It is called before the signature
	// itself is verified.
	Signed func(id TxID, at time.Time)
	// Progress is called now and then, with bytes, from the calling goroutine.
	Progress func(done, total int64)
	// Workers is how many signatures are verified at a time; 0: one per core.
	Workers int
}

// Report is what Verify found.
type Report struct {
	Files   int
	Bytes   int64
	Entries int
	Last    TxID // of the last entry, signed or not
	Opened  int  // entries that were decrypted
	Types   map[EntryType]int
	Tables  map[string]int // public maps: transactions that touch them

	Signatures     int
	NodeSignatures int
	COSESignatures int
	LastSigned     TxID   // the last signature: what is before it is authentic
	Root           Digest // that it signs
	Unsigned       int    // entries behind it, which nothing vouches for
	Unchecked      int    // signatures before VerifyOptions.From
	Snapshots      int    // of VerifyOptions.Snapshots, those that fit the ledger

	// Checkpoint is the end of the last closed chunk, for the next audit; nil where there
	// is none or the ledger is not good.
	Checkpoint *Checkpoint

	Services []ServiceIdentity // in the order of their lives
	Tail     *Tail             // a torn end of the open chunk, or nil
	Findings []Finding
}

// ServiceIdentity is one life of the service: from its creation, or from a recovery,
// to the next one.
type ServiceIdentity struct {
	Cert       *x509.Certificate // the last one; renewals keep the key
	KeyID      string            // hex SHA-256 of the key's SubjectPublicKeyInfo
	From       TxID              // the transaction that introduced it
	Status     string            // at the end
	LastSigned TxID
	Root       Digest // at LastSigned
}

// Finding is something odd that takes nothing from what the signatures prove.
type Finding struct {
	ID   TxID
	Text string
}

// ErrUntrusted is wrapped by Verify's error when a ledger is undamaged, but signed by
// somebody whom the governance tables or VerifyOptions.Service do not name.
var ErrUntrusted = errors.New("not signed by whom it should be")

// ErrUnexpected is wrapped by Verify's error when a ledger is good in itself, but not
// the one that VerifyOptions.Checkpoint, Expect or To speak of: an older copy, or a fork.
var ErrUnexpected = errors.New("it is not the ledger that is expected")

// Verify audits the ledger in dirs, from its first transaction on, in one pass with
// memory that does not grow with it. A committed chunk that several directories hold
// is read from the first of them.
//
// It checks every chunk's positions table, name and place; every entry's form, order
// and flags; at every signature the root over all entries before, the recorded tree,
// the node's signature by a node that the tables trust and the service has endorsed,
// and the COSE signature by the service identity in force; the transitions of the
// service's status, the identities' endorsements of one another and the chain of
// ledger secrets; that who commits to a snapshot claims its digest; with
// VerifyOptions.Secrets also every entry's tag and commit evidence, and with
// VerifyOptions.Snapshots those files.
//
// The first violation, by seqno, is returned as a *CorruptError, with the report as
// far as it goes. A torn end of the open chunk and the oddities that are known from
// CCF's own faults are not violations: see Report.Tail and Report.Findings.
func Verify(ctx context.Context, fsys durable.FS, dirs []string, opts VerifyOptions) (*Report, error) {
	a := newAuditor(ctx, opts)
	err := a.readSnapshots(fsys)
	if err == nil {
		err = a.readAll(fsys, dirs)
	}
	if errors.Is(err, errReached) {
		err = nil
	}
	err = a.finish(err)
	return &a.report, err
}

// readAll feeds every chunk to the auditor.
func (a *auditor) readAll(fsys durable.FS, dirs []string) error {
	files, err := chunksToVerify(fsys, dirs, a.opts.CommittedOnly)
	if err != nil {
		return err
	}
	if c := a.opts.Checkpoint; c != nil {
		if err := a.resume(c); err != nil {
			return err
		}
		if files, err = c.behind(files, dirs[0]); err != nil {
			return err
		}
		a.closed = c
	}
	if a.total, err = totalSize(fsys, files); err != nil {
		return err
	}
	for i, f := range files {
		if err := a.expect(f); err != nil {
			return err
		}
		a.report.Files++
		if err := a.readFile(fsys, f, i == len(files)-1); err != nil {
			return err
		}
	}
	for _, e := range a.opts.Behind {
		if err := a.step(e, 0, a.flagged || e.Flags&ForceChunkBefore != 0); err != nil {
			return err
		}
		a.tree.Append(e.Leaf())
	}
	return nil
}

// chunksToVerify lists the chunks of dirs by their first seqno.
func chunksToVerify(fsys durable.FS, dirs []string, committedOnly bool) ([]chunkFile, error) {
	if len(dirs) == 0 {
		return nil, errors.New("no ledger directory to verify")
	}
	files, err := listChunks(fsys, dirs[0], dirs[1:])
	if err != nil {
		return nil, err
	}
	if committedOnly {
		files = slices.DeleteFunc(files, func(f chunkFile) bool { return !f.name.committed })
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no ledger files in %s", dirs[0])
	}
	return files, nil
}

// totalSize is what progress is measured against. A chunk that the writer has renamed
// since it was listed counts nothing here; readFile finds it, or says that it is gone.
func totalSize(fsys durable.FS, files []chunkFile) (int64, error) {
	var total int64
	for _, f := range files {
		info, err := fsys.Stat(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("reading the size of a chunk: %w", err)
		}
		total += info.Size()
	}
	return total, nil
}

// expect checks that a chunk begins where the one before ended.
func (a *auditor) expect(f chunkFile) error {
	next := a.report.Last.Seqno + 1
	switch {
	case f.name.first > next:
		return &CorruptError{File: f.path, Seqno: next, Reason: fmt.Sprintf("gap: no chunk holds entries %d to %d", next, f.name.first-1)}
	case f.name.first < next:
		return &CorruptError{File: f.path, Seqno: f.name.first, Reason: fmt.Sprintf("overlap: an earlier chunk holds the entries through %d", next-1)}
	}
	return nil
}

// readFile feeds one chunk to the auditor; isLast says that no other follows.
func (a *auditor) readFile(fsys durable.FS, f chunkFile, isLast bool) (err error) {
	file, f, err := openListed(fsys, f)
	if err != nil {
		return fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := newChunkReader(file, f.path, f.name)
	if err != nil {
		return err
	}
	if !r.frame.complete() && !isLast {
		return &CorruptError{File: f.path, Seqno: f.name.first, Reason: "the chunk is open, but another follows"}
	}
	err = a.readEntries(r)
	var corrupt *CorruptError
	if a.flagged && !r.frame.complete() {
		a.finding(a.report.Last, "the chunk was to be closed behind this entry, and is open: a crash leaves that")
	}
	if !r.frame.complete() && errors.As(err, &corrupt) && !a.judged {
		return a.tail(r, *corrupt)
	}
	if err == nil && r.frame.complete() && a.report.LastSigned != a.report.Last {
		err = &CorruptError{File: f.path, Offset: a.offset, Seqno: a.report.Last.Seqno, Reason: "the chunk does not end in a signature"}
	}
	if err == nil && r.frame.complete() {
		a.closed = a.checkpoint()
	}
	return err
}

// openListed opens a chunk that was listed. A node that is running may have closed and
// renamed it since: then it is opened under its committed name.
func openListed(fsys durable.FS, f chunkFile) (durable.File, chunkFile, error) {
	file, err := fsys.Open(f.path)
	if !errors.Is(err, fs.ErrNotExist) || f.name.committed {
		return file, f, err
	}
	now, listErr := listChunks(fsys, filepath.Dir(f.path), nil)
	if listErr != nil {
		return nil, f, errors.Join(err, listErr)
	}
	for _, g := range now {
		if g.name.committed && g.name.first == f.name.first {
			file, err = fsys.Open(g.path)
			return file, g, err
		}
	}
	return nil, f, err
}

// readEntries steps through a chunk.
func (a *auditor) readEntries(r *chunkReader) error {
	a.file, a.judged, a.positions = r.path, false, nil
	begin := a.report.Bytes
	r.reuse = true // a Signature, which is verified later, has its own copies
	err := r.stream(a.prepare, func(b *block) error {
		spans := b.spans
		err := b.each(func(e *Entry, at int64) error {
			if err := a.ctx.Err(); err != nil {
				return context.Cause(a.ctx)
			}
			if !r.frame.complete() {
				a.positions = append(a.positions, uint32(at))
			}
			if e.ID.Seqno > b.first && IsSignature(e.Public) {
				a.tree.Join(&spans[0])
				spans = spans[1:]
			}
			if err := a.step(e, at, e.ID.Seqno == r.first); err != nil {
				a.judged = true
				return err
			}
			a.advance(int64(e.Size()))
			if a.opts.To != 0 && a.report.LastSigned.Seqno >= a.opts.To {
				return errReached
			}
			return nil
		})
		if err == nil && len(spans) > 0 {
			a.tree.Join(&spans[0])
		}
		return err
	})
	if err == nil {
		a.advance(begin + r.frame.size - a.report.Bytes) // header and positions
	}
	return err
}

// prepare does on another goroutine what of an entry depends on no other.
func (a *auditor) prepare(b *block) {
	b.digestSpans()
	if a.opts.Secrets != nil {
		b.openAhead(a.opts.Secrets)
	}
}

// errReached ends the reading at VerifyOptions.To.
var errReached = errors.New("the audit has come as far as it should")

// tail judges why the reading of an open chunk stopped.
func (a *auditor) tail(r *chunkReader, cause CorruptError) error {
	t, err := judgeTail(r.file, r.frame.size, cause, a.positions)
	if err != nil {
		return err
	}
	if !t.Torn {
		return &t.CorruptError
	}
	a.report.Tail = t
	return nil
}

const progressStep = 4 << 20

// advance counts bytes and reports progress.
func (a *auditor) advance(n int64) {
	before := a.report.Bytes
	a.report.Bytes += n
	if a.opts.Progress != nil && (before/progressStep != a.report.Bytes/progressStep || a.report.Bytes == a.total) {
		a.opts.Progress(a.report.Bytes, a.total)
	}
}
