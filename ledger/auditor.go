package ledger

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// auditor is the state of one Verify: what the entries so far have established.
type auditor struct {
	ctx    context.Context
	cancel context.CancelFunc
	opts   VerifyOptions
	report Report
	total  int64

	// Where we are.
	file      string
	offset    int64
	positions []uint32 // of the entries of an open chunk
	judged    bool     // the error is of step, not of the file's form

	view      seenLeaf        // of the first entry of the present view; its leaf is not set
	flagged   bool            // the last entry has ForceChunkAfter
	tree      merkle.Frontier // over the entries so far; a block's are joined at its signatures and end
	signed    []merkle.Hash   // its subtrees when it was signed last, from the lowest bit up
	recent    []seenLeaf      // of the entries since the last signature, as far as they are kept
	nodes     map[string]*auditNode
	certs     map[string]*checkedCert
	service   *ecdsa.PublicKey
	secrets   secretChain
	snapshots []*auditedSnapshot
	closed    *Checkpoint // at the end of the last closed chunk

	// Signatures are verified by these goroutines; slots bounds them.
	slots chan struct{}
	tasks sync.WaitGroup
	mu    sync.Mutex
	worst *CorruptError // guarded by mu: the violation with the lowest seqno
}

func newAuditor(ctx context.Context, opts VerifyOptions) *auditor {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	a := &auditor{
		opts: opts, slots: make(chan struct{}, opts.Workers),
		nodes: map[string]*auditNode{}, certs: map[string]*checkedCert{},
		report: Report{Types: map[EntryType]int{}, Tables: map[string]int{}},
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.tree.Append(merkle.Hash{}) // leaf 0
	return a
}

// step checks one entry and what it changes. first says that its chunk begins with it.
func (a *auditor) step(e *Entry, at int64, first bool) error {
	a.offset = at
	if err := a.checkView(e); err != nil {
		return err
	}
	if a.flagged && !first {
		end := a.recent[len(a.recent)-1]
		return &CorruptError{File: end.file, Offset: end.offset, Seqno: end.seqno, Reason: "it is flagged to end a chunk, and does not"}
	}
	if err := a.checkFlags(e, first); err != nil {
		return a.violation(e, err)
	}
	if want := a.opts.Expect; want.ID.Seqno == e.ID.Seqno && !want.Meets(e) {
		if want.ID == e.ID {
			return a.violation(e, fmt.Errorf("%v is another transaction than the one that is expected: %w", e.ID, ErrUnexpected))
		}
		return a.violation(e, fmt.Errorf("%v stands where %v is expected: %w", e.ID, want.ID, ErrUnexpected))
	}
	a.report.Last, a.flagged = e.ID, e.Flags&ForceChunkAfter != 0
	a.report.Entries++
	a.report.Types[e.Type]++
	a.report.Unsigned++
	for i := range e.Public {
		a.report.Tables[e.Public[i].Name]++
	}
	if err := a.open(e); err != nil {
		return a.violation(e, err)
	}
	if err := errors.Join(a.snapshotted(e), a.govern(e)); err != nil {
		var elsewhere *CorruptError
		if errors.As(err, &elsewhere) {
			return elsewhere
		}
		return a.violation(e, err)
	}
	if IsSignature(e.Public) {
		err := a.checkSigned(e)
		var blamed *CorruptError
		if errors.As(err, &blamed) {
			return blamed
		}
		if err != nil {
			return a.violation(e, err)
		}
	}
	a.remember(e)
	return nil
}

// seenLeaf is where an entry was found, and what leaf it gave.
type seenLeaf struct {
	file   string
	offset int64
	seqno  uint64
	leaf   Digest
}

// maxRecent bounds the memory for naming the entry that breaks a root.
const maxRecent = 1 << 16

func (a *auditor) remember(e *Entry) {
	if a.report.LastSigned == e.ID || len(a.recent) == maxRecent {
		a.recent = a.recent[:0]
	}
	a.recent = append(a.recent, seenLeaf{a.file, a.offset, e.ID.Seqno, e.Leaf()})
}

// blame finds the entry that is not what was signed: the first whose leaf differs from
// the one that the signature transaction recorded. It returns nil if none does.
func (a *auditor) blame(p *merkle.Partial) *CorruptError {
	for _, r := range a.recent {
		if r.seqno < p.Flushed || r.seqno >= p.Size() || p.Leaves[r.seqno-p.Flushed] == r.leaf {
			continue
		}
		return &CorruptError{File: r.file, Offset: r.offset, Seqno: r.seqno, Reason: fmt.Sprintf("the entry was changed after it was signed at seqno %d", p.Size())}
	}
	return nil
}

// violation says where an error was found.
func (a *auditor) violation(e *Entry, err error) *CorruptError {
	return &CorruptError{File: a.file, Offset: a.offset, Seqno: e.ID.Seqno, Err: err}
}

func (a *auditor) finding(id TxID, format string, args ...any) {
	a.report.Findings = append(a.report.Findings, Finding{ID: id, Text: fmt.Sprintf(format, args...)})
}

// checkView checks that views do not fall, and rise only behind a signature.
func (a *auditor) checkView(e *Entry) error {
	previous := a.report.Last
	switch {
	case e.ID.View < previous.View && a.view.seqno == previous.Seqno:
		// One entry alone in a higher view: it is the odd one.
		return &CorruptError{File: a.view.file, Offset: a.view.offset, Seqno: a.view.seqno, Reason: fmt.Sprintf("its view, in %v, is above that of %v behind it", previous, e.ID)}
	case e.ID.View < previous.View:
		return a.violation(e, fmt.Errorf("its view is below that of %v before it", previous))
	case e.ID.View > previous.View && a.report.LastSigned != previous:
		return a.violation(e, fmt.Errorf("its view begins behind %v, which is not a signature", previous))
	case e.ID.View > previous.View:
		a.view = seenLeaf{file: a.file, offset: a.offset, seqno: e.ID.Seqno}
	}
	return nil
}

// checkFlags compares an entry's flags with where it stands.
func (a *auditor) checkFlags(e *Entry, first bool) error {
	previous := a.report.Last
	switch {
	case e.Flags&ForceChunkBefore != 0 && !first:
		return errors.New("it is flagged to begin a chunk, and does not")
	case e.Flags&ForceChunkBefore != 0 && a.report.LastSigned != previous:
		return fmt.Errorf("it is flagged to begin a chunk behind %v, which is not a signature", previous)
	case e.Flags&ForceChunkAfter != 0 && !IsSignature(e.Public):
		return errors.New("it is flagged to end a chunk, and is not a signature")
	}
	return nil
}

// open decrypts the entry if its secret is known.
func (a *auditor) open(e *Entry) error {
	if a.opts.Secrets == nil {
		return nil
	}
	secret, err := a.opts.Secrets.At(e.ID.Seqno)
	if errors.Is(err, ErrNoSecret) {
		return nil
	}
	if _, err := e.Open(secret); err != nil {
		return err
	}
	if e.Type.hasEvidence() && CommitEvidenceDigest(secret, e.ID) != e.CommitEvidence {
		return errors.New("its commit evidence is not that of its secret and position")
	}
	a.report.Opened++
	return nil
}

// rules are in the order in which one transaction's writes are taken.
var rules = []struct {
	table string
	apply func(*auditor, *Entry, *writeset.MapWrites) error
}{
	{serviceInfoMap, (*auditor).serviceInfo},
	{previousIdentityMap, (*auditor).previousIdentity},
	{nodesInfoMap, (*auditor).nodesInfo},
	{endorsedCertsMap, (*auditor).endorsedCerts},
	{endorsementMap, (*auditor).endorsement},
	{historicalSecretMap, (*auditor).secretWritten},
	{SnapshotEvidenceMap, (*auditor).snapshotEvidence},
}

// govern follows the tables that say who may sign and with which secrets.
func (a *auditor) govern(e *Entry) error {
	if len(e.Public) == 0 {
		return nil
	}
	for _, rule := range rules {
		m := e.Public.Map(rule.table)
		if m == nil {
			continue
		}
		if err := rule.apply(a, e, m); err != nil {
			return fmt.Errorf("%s: %w", rule.table, err)
		}
	}
	return nil
}

// later runs check on another goroutine; what it returns is a violation by e.
func (a *auditor) later(e *Entry, check func() error) {
	violation := a.violation(e, nil)
	select {
	case a.slots <- struct{}{}:
	case <-a.ctx.Done():
		return
	}
	a.tasks.Add(1)
	go func() {
		defer a.tasks.Done()
		defer func() { <-a.slots }()
		if err := check(); err != nil {
			violation.Err = err
			a.condemn(violation)
		}
	}()
}

// condemn notes a violation found on another goroutine, and ends the reading.
func (a *auditor) condemn(c *CorruptError) {
	a.mu.Lock()
	if a.worst == nil || c.Seqno < a.worst.Seqno {
		a.worst = c
	}
	a.mu.Unlock()
	a.cancel()
}

// finish waits for the outstanding checks and returns the first violation. err is
// what ended the reading.
func (a *auditor) finish(err error) error {
	a.tasks.Wait()
	canceled := a.ctx.Err() != nil
	a.cancel()
	a.mu.Lock()
	worst := a.worst
	a.mu.Unlock()
	var corrupt *CorruptError
	switch {
	case worst != nil && (err == nil || !errors.As(err, &corrupt) || worst.Seqno <= corrupt.Seqno):
		return worst
	case err != nil:
		return err
	case canceled:
		return context.Cause(a.ctx)
	}
	if err := a.checkAnchor(); err != nil {
		return err
	}
	if err := a.checkSnapshots(); err != nil {
		return err
	}
	a.report.Checkpoint = a.closed
	return nil
}

// checkAnchor compares the ledger's end and the identity in force there with what is
// demanded.
func (a *auditor) checkAnchor() error {
	fail := func(reason string, err error) error {
		return &CorruptError{File: a.file, Offset: a.offset, Seqno: a.report.Last.Seqno, Reason: reason, Err: err}
	}
	signed := a.report.LastSigned
	switch {
	case signed.Seqno == 0:
		return fail("the ledger holds no signature", ErrUntrusted)
	case signed.Seqno < a.opts.To:
		return fail(fmt.Sprintf("the ledger is signed through %v, and was to be audited through seqno %d", signed, a.opts.To), ErrUnexpected)
	case signed.Seqno < a.opts.Expect.ID.Seqno && (a.opts.To == 0 || a.opts.To >= a.opts.Expect.ID.Seqno):
		return fail(fmt.Sprintf("the ledger is signed through %v, and does not hold %v: an older copy", signed, a.opts.Expect.ID), ErrUnexpected)
	}
	if a.opts.Service == nil {
		return nil
	}
	key, err := ecdsaKey(a.opts.Service)
	if err != nil {
		return fmt.Errorf("the service certificate: %w", err)
	}
	if !key.Equal(a.service) {
		return fail("the ledger is of another service than the certificate's", ErrUntrusted)
	}
	return nil
}
