package backup

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"chancery/internal/durable"
	"chancery/ledger"
)

// CreateOptions say what is backed up, and where to.
type CreateOptions struct {
	FS     durable.FS
	Source Source
	Store  Store
	// Service is the identity that must be in force at the end; nil accepts what is there.
	Service *x509.Certificate
	Keep    Retention
	Now     func() time.Time
	// Progress is told how many bytes have come, and how many there are of those that are
	// known; from several goroutines, one at a time.
	Progress func(done, total int64)
}

// Created is what Create did.
type Created struct {
	Manifest *Manifest
	// New says that there was something new: otherwise Manifest is the newest backup's.
	New bool
	// Files and Bytes were copied; Repaired of them were missing or of another size.
	Files    int
	Bytes    int64
	Repaired int
	Removed  []string // by the retention
	Notes    []string
}

// Create copies what the newest backup in the store does not have, checks it as it arrives,
// and writes a manifest. What was copied before an error stays, and the next call goes on
// behind it. Errors: *ledger.CorruptError for what arrived and does not hold,
// ErrUnverified, and those of source and store.
func Create(ctx context.Context, o CreateOptions) (*Created, error) {
	c, err := create(ctx, o)
	return c, fullDisk(err)
}

// fullDisk says what helps where a disk is full.
func fullDisk(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: make room there, and run the same command again: it goes on where this one ended", err)
	}
	return err
}

func create(ctx context.Context, o CreateOptions) (*Created, error) {
	lock, err := o.Store.Lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := o.FS.MkdirAll(o.Store.Staging(), 0o700); err != nil {
		return nil, fmt.Errorf("%v: %w", o.Store, err)
	}
	c := &creator{CreateOptions: o, done: &Created{}}
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	if err := c.sameHistory(ctx); err != nil {
		return nil, err
	}
	if err := c.repair(ctx); err != nil {
		return nil, err
	}
	err = c.chunks(ctx)
	if err == nil && c.checkpoint == nil {
		err = fmt.Errorf("%v has no committed ledger chunk yet", o.Source)
	}
	if err == nil {
		err = c.checkService()
	}
	if err != nil {
		return nil, errors.Join(err, c.saveProgress(ctx))
	}
	if err := c.snapshot(ctx); err != nil {
		return nil, errors.Join(err, c.saveProgress(ctx))
	}
	return c.done, c.finish(ctx)
}

// creator is the state of one Create.
type creator struct {
	CreateOptions
	done *Created

	objects    map[string]int64 // sizes of what the store has
	last       *Manifest        // newest backup, or nil
	files      []File           // chunks that are stored and audited
	snapshots  []File
	checkpoint *ledger.Checkpoint
	unsaved    int // chunks stored since progress was saved
}

// begin finds out what the store has.
func (c *creator) begin(ctx context.Context) error {
	objects, err := c.Store.List(ctx)
	if err != nil {
		return err
	}
	c.objects = map[string]int64{}
	for _, o := range objects {
		c.objects[o.Name] = o.Size
	}
	all, err := manifests(ctx, c.Store, objects)
	if err != nil {
		return fmt.Errorf("%w; a backup goes on from the newest manifest: remove the damaged one, or use another store", err)
	}
	base := (*Manifest)(nil)
	if len(all) > 0 {
		c.last, base = all[0], all[0]
	}
	if _, ok := c.objects[progressFile]; ok {
		p, err := readManifest(ctx, c.Store, progressFile)
		if err != nil {
			return fmt.Errorf("%w; remove it: it only saves work", err)
		}
		if base == nil || p.Last().Seqno > base.Last().Seqno {
			base = p
		}
	}
	if base == nil {
		return nil
	}
	c.checkpoint = base.Checkpoint
	for _, f := range base.Files {
		if _, _, ok := f.chunk(); ok {
			c.files = append(c.files, f)
		}
	}
	if c.last != nil {
		for _, f := range c.last.Files {
			if _, ok := f.snapshot(); ok && c.objects[f.Name] == f.Size {
				c.snapshots = append(c.snapshots, f)
			}
		}
	}
	return nil
}

// errOther is wrapped where a source is not what was backed up before.
var errOther = fmt.Errorf("%w: it is not the ledger that was backed up before", ErrUnverified)

// sameHistory compares the source with what the store has of it.
func (c *creator) sameHistory(ctx context.Context) error {
	if len(c.files) == 0 {
		return nil
	}
	f, through := c.files[len(c.files)-1], c.checkpoint.Last()
	reaches, err := c.Source.Reaches(ctx)
	if err != nil {
		return err
	}
	if reaches < through.Seqno {
		return fmt.Errorf("%v ends at seqno %d, and the backup in %v reaches %v: an older copy (%w); back it up to another store", c.Source, reaches, c.Store, through, errOther)
	}
	o, ok, err := c.Source.Chunk(ctx, through.Seqno)
	if err != nil || !ok {
		return err // moved away meanwhile: what follows is checked by its root
	}
	if o.SHA256 == "" {
		h := sha256.New()
		if err := c.Source.Copy(ctx, o, 0, h); err != nil {
			return err
		}
		o.SHA256 = hexOf(h.Sum(nil))
	}
	if ledgerDir+o.Name != f.Name || o.SHA256 != f.SHA256 {
		return fmt.Errorf("%s of %v is not the file that the backup in %v has: it is damaged, or of another history (%w); look with ledger verify, and back another history up to another store", o.Name, c.Source, c.Store, errOther)
	}
	return nil
}

// repair copies again what the store has lost.
func (c *creator) repair(ctx context.Context) error {
	for _, f := range c.files {
		if size, ok := c.objects[f.Name]; ok && size == f.Size {
			continue
		}
		first, _, _ := f.chunk()
		o, ok, err := c.Source.Chunk(ctx, first)
		if err != nil {
			return err
		}
		lost := fmt.Errorf("%w: %v has lost %s, and %v does not have that file any more; put it back from elsewhere, or begin in another store", ErrUnverified, c.Store, f.Name, c.Source)
		if !ok || ledgerDir+o.Name != f.Name || o.Size != f.Size {
			return lost
		}
		a, err := c.fetch(ctx, o)
		if err != nil {
			return err
		}
		if a.sha != f.SHA256 {
			return errors.Join(lost, c.FS.Remove(a.path))
		}
		if err := c.Store.Put(ctx, f.Name, a.path); err != nil {
			return err
		}
		c.done.Repaired++
		c.done.Notes = append(c.done.Notes, f.Name+" was missing or cut, and was copied again")
	}
	return nil
}

// maxChunk bounds what a source can have written to the staging directory as a chunk:
// positions in chunks are 32 bits wide.
const maxChunk = 1 << 32

// arrived is a file in the staging directory.
type arrived struct {
	offer Offer
	path  string
	sha   string
	at    *ledger.Checkpoint // of an audited chunk
}

// saveEvery is how many chunks are stored before what there is so far is noted.
const saveEvery = 64

// chunks copies, audits and stores the chunks that are new: each step with the next chunk
// while the one before is in the next step.
func (c *creator) chunks(ctx context.Context) error {
	next := uint64(1)
	if c.checkpoint != nil {
		next = c.checkpoint.Last().Seqno + 1
	}
	fetched, audited := make(chan arrived, 1), make(chan arrived, 1)
	checkpoint := c.checkpoint
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(fetched)
		return c.fetchFrom(ctx, next, fetched)
	})
	g.Go(func() error {
		defer close(audited)
		for a := range fetched {
			at, err := auditChunk(ctx, c.FS, a.path, strings.TrimPrefix(c.Source.String(), "https://")+"/"+a.offer.Name, ledger.VerifyOptions{Checkpoint: checkpoint})
			var corrupt *ledger.CorruptError
			if errors.As(err, &corrupt) {
				return errors.Join(fmt.Errorf("what arrived does not hold, and is not kept: %w", err), c.FS.Remove(a.path))
			}
			if err != nil {
				return err
			}
			checkpoint, a.at = at, at
			if !deliver(ctx, audited, a) {
				return context.Cause(ctx)
			}
		}
		return nil
	})
	g.Go(func() error {
		for a := range audited {
			f := File{Name: ledgerDir + a.offer.Name, Size: a.offer.Size, SHA256: a.sha}
			if err := c.Store.Put(ctx, f.Name, a.path); err != nil {
				return err
			}
			c.files, c.checkpoint = append(c.files, f), a.at
			c.done.Files++
			c.done.Bytes += f.Size
			if c.unsaved++; c.unsaved >= saveEvery {
				if err := c.saveProgress(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return g.Wait()
}

// deliver sends a unless ctx ends.
func deliver(ctx context.Context, to chan<- arrived, a arrived) bool {
	select {
	case to <- a:
		return true
	case <-ctx.Done():
		return false
	}
}

// fetchFrom fetches chunk after chunk.
func (c *creator) fetchFrom(ctx context.Context, next uint64, to chan<- arrived) error {
	for {
		o, ok, err := c.Source.Chunk(ctx, next)
		if err != nil || !ok {
			return err
		}
		first, last, ok := ledger.IsCommittedChunk(o.Name)
		if !ok || first != next {
			return fmt.Errorf("%v offers %q as the chunk that begins at %d (%w)", c.Source, o.Name, next, errOther)
		}
		a, err := c.fetch(ctx, o)
		if err != nil {
			return err
		}
		if !deliver(ctx, to, a) {
			return context.Cause(ctx)
		}
		next = last + 1
	}
}

// fetch copies a file into the staging directory. A beginning that an earlier call left
// there is kept.
func (c *creator) fetch(ctx context.Context, o Offer) (arrived, error) {
	if _, _, chunk := ledger.IsCommittedChunk(o.Name); o.Size <= 0 || chunk && o.Size > maxChunk {
		return arrived{}, fmt.Errorf("%v says that %s has %d bytes, which no chunk has (%w)", c.Source, o.Name, o.Size, ErrUnverified)
	}
	path := filepath.Join(c.Store.Staging(), o.Name)
	sha, err := Fetch(ctx, c.FS, c.Source, o, path, c.Progress)
	return arrived{offer: o, path: path, sha: sha}, err
}

// Fetch copies a file of a source to path, and returns its SHA-256, hex. A beginning of it
// that is there is gone on with, where the source says what the whole should be. Whether
// the file is good is not looked at.
func Fetch(ctx context.Context, fsys durable.FS, from Source, o Offer, path string, progress func(done, total int64)) (sha string, err error) {
	sha, resumed, err := fetch(ctx, fsys, from, o, path, progress)
	if resumed && errors.Is(err, ErrUnverified) { // the beginning was not what it was taken for
		sha, _, err = fetch(ctx, fsys, from, o, path, progress)
	}
	return sha, err
}

func fetch(ctx context.Context, fsys durable.FS, from Source, o Offer, path string, progress func(done, total int64)) (sha string, resumed bool, err error) {
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at, err := f.Size()
	if err != nil {
		return "", false, err
	}
	if at > o.Size || o.SHA256 == "" {
		at = 0
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, at)); err != nil {
		return "", false, err
	}
	w := &tee{file: io.NewOffsetWriter(f, at), left: o.Size - at, hash: h, wrote: func(left int64) {
		if progress != nil {
			progress(o.Size-left, o.Size)
		}
	}}
	if err := from.Copy(ctx, o, at, w); err != nil {
		return "", false, fmt.Errorf("copying %s: %w", o.Name, err)
	}
	if w.left != 0 {
		return "", false, fmt.Errorf("%v sent %d bytes less of %s than it said; run the same command again", from, w.left, o.Name)
	}
	if err := f.Truncate(o.Size); err != nil {
		return "", false, err
	}
	sha = hexOf(h.Sum(nil))
	if o.SHA256 != "" && sha != o.SHA256 {
		return "", at > 0, errors.Join(fmt.Errorf("%w: %s has another SHA-256 than %v says; it is copied anew by the next call", ErrUnverified, o.Name, from), fsys.Remove(path))
	}
	return sha, at > 0, nil
}

// tee writes to a file and a hash.
type tee struct {
	file  io.Writer
	left  int64
	hash  io.Writer
	wrote func(left int64)
}

// Write implements io.Writer.
func (t *tee) Write(p []byte) (int, error) {
	if int64(len(p)) > t.left {
		return 0, errTooLong
	}
	n, err := t.file.Write(p)
	if err != nil {
		return n, err
	}
	t.left -= int64(n)
	t.wrote(t.left)
	return t.hash.Write(p)
}

// checkService compares the identity at the end with the one that is asked for.
func (c *creator) checkService() error {
	if c.Service == nil {
		return nil
	}
	services := c.checkpoint.Services()
	return sameKey(c.Service, services[len(services)-1].Cert)
}

func sameKey(want, have *x509.Certificate) error {
	key, ok := want.PublicKey.(*ecdsa.PublicKey)
	if !ok || !key.Equal(have.PublicKey) {
		return fmt.Errorf("%w: the ledger is of another service than the certificate's", ErrUnverified)
	}
	return nil
}

// snapshot copies the newest snapshot that the chunks reach. One that does not hold is
// left out, with a note: the ledger is whole without it.
func (c *creator) snapshot(ctx context.Context) error {
	o, ok, err := c.Source.Snapshot(ctx, c.checkpoint.Last().Seqno)
	if err != nil || !ok {
		return err
	}
	name, ok := ledger.ParseSnapshotName(o.Name)
	if !ok || name.String() != o.Name {
		return fmt.Errorf("%v offers %q as a snapshot", c.Source, o.Name)
	}
	for _, f := range c.snapshots {
		if f.Name == snapshotDir+o.Name {
			return nil
		}
	}
	a, err := c.fetch(ctx, o)
	if err != nil {
		return err
	}
	if err := checkSnapshot(c.FS, ledger.SnapshotFile{Path: a.path, SnapshotName: name}, c.checkpoint); err != nil {
		if !errors.Is(err, ledger.ErrSnapshot) {
			return err
		}
		c.done.Notes = append(c.done.Notes, fmt.Sprintf("%s of %v is not in the backup: %v", o.Name, c.Source, err))
		return c.FS.Remove(a.path)
	}
	f := File{Name: snapshotDir + o.Name, Size: o.Size, SHA256: a.sha}
	if err := c.Store.Put(ctx, f.Name, a.path); err != nil {
		return err
	}
	c.snapshots = []File{f} // earlier ones belong to earlier backups
	c.done.Files++
	c.done.Bytes += f.Size
	return nil
}

// checkSnapshot checks that the service that signed the ledger committed to a snapshot.
// That it did so in this ledger is Verify's to say, which has all of it.
func checkSnapshot(fsys durable.FS, f ledger.SnapshotFile, c *ledger.Checkpoint) error {
	s, err := ledger.ReadSnapshot(fsys, f)
	if err != nil {
		return err
	}
	services := c.Services()
	i := len(services) - 1
	for i > 0 && services[i].From.Seqno > f.Evidence {
		i--
	}
	id, err := s.VerifyReceipt(services[i].Cert)
	if err == nil && id.Seqno != f.Evidence {
		err = fmt.Errorf("%w: its receipt is of transaction %v", ledger.ErrSnapshot, id)
	}
	return err
}

// saveProgress notes what is stored, for a next call to go on from.
func (c *creator) saveProgress(ctx context.Context) error {
	if c.checkpoint == nil || c.unsaved == 0 {
		return nil
	}
	// What was done must not be lost because there was no time for more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWithin)
	defer cancel()
	m, err := newManifest(slices.Clone(c.files), c.checkpoint, c.Now())
	if err != nil {
		return err
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	if err := write(ctx, c.FS, c.Store, progressFile, text); err != nil {
		return fmt.Errorf("noting how far the backup came: %w", err)
	}
	c.unsaved, c.objects[progressFile] = 0, int64(len(text))
	return nil
}

const saveWithin = 20 * time.Second

// finish writes the manifest, and removes what is not kept any more.
func (c *creator) finish(ctx context.Context) error {
	files := append(slices.Clone(c.files), c.snapshots...)
	if c.last != nil && slices.Equal(c.last.Files, files) {
		c.done.Manifest = c.last
	} else {
		m, err := newManifest(files, c.checkpoint, c.Now())
		if err != nil {
			return err
		}
		text, err := m.encode()
		if err != nil {
			return err
		}
		if err := write(ctx, c.FS, c.Store, m.name(), text); err != nil {
			return err
		}
		c.done.Manifest, c.done.New = m, true
	}
	// Only if it is there: whoever makes backups need not be allowed to remove any.
	if _, ok := c.objects[progressFile]; ok {
		if err := c.Store.Remove(ctx, progressFile); err != nil {
			return err
		}
	}
	var err error
	c.done.Removed, err = prune(ctx, c.Store, c.Keep, c.Now())
	return errors.Join(err, clearStaging(c.FS, c.Store.Staging()))
}

// clearStaging removes what earlier calls left on its way.
func clearStaging(fsys durable.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
