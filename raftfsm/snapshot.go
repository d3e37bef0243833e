package raftfsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"sync"

	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/ledger"
)

// A Raft snapshot of ours says how far the ledger files reach and carries the
// entries behind their last signature, so that Raft's log can be compacted:
//
//	{"committed":"2.17","leaf":"<hex>","tail":<bytes>} newline
//	the applied entries behind the signature as one batch of so many bytes (or nothing)
//
// On its way to a follower the signed entries of the ledger files go along behind it,
// back to back ("from" and "through" say which), for the follower has none of them.
type snapshotHead struct {
	Committed string `json:"committed"`
	Leaf      []byte `json:"leaf"`
	Tail      int    `json:"tail"`
	From      uint64 `json:"from,omitempty"`
	Through   uint64 `json:"through,omitempty"`
}

// capture is what Snapshot takes under the lock and Persist writes without it.
type capture struct {
	r    *Replica
	head snapshotHead
	tail []byte
}

// Snapshot captures the applied state.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	r := (*Replica)(f)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.committed.Seqno == 0 {
		return nil, errors.New("nothing is signed yet")
	}
	leaf := r.tree.Leaf(r.committed.Seqno)
	c := &capture{r: r, head: snapshotHead{Committed: r.committed.String(), Leaf: leaf[:]}}
	if n := r.applied.Seqno - r.committed.Seqno; n > 0 {
		b := batch{view: r.applied.View, first: r.committed.Seqno + 1, prev: leaf, entries: make([]*ledger.Entry, n)}
		for i := range b.entries {
			b.entries[i] = r.tail[i].entry
		}
		c.tail = b.encode()
	}
	return c, nil
}

// Persist makes the chunk files durable first: Raft compacts its log behind it.
func (c *capture) Persist(sink raft.SnapshotSink) error {
	err := c.r.cfg.Ledger.Sync()
	if err == nil {
		var data []byte
		if data, err = c.encode(); err == nil {
			_, err = sink.Write(data)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("persisting a Raft snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

func (c *capture) encode() ([]byte, error) {
	c.head.Tail = len(c.tail)
	head, err := json.Marshal(c.head)
	if err != nil {
		return nil, fmt.Errorf("encoding a Raft snapshot's head: %w", err)
	}
	return append(append(head, '\n'), c.tail...), nil
}

func (c *capture) Release() {}

// received is a snapshot that is being read.
type received struct {
	head snapshotHead
	id   TxID   // head.Committed
	tail *batch // nil when there is none
	rest *bufio.Reader
}

func readSnapshot(from io.Reader) (*received, error) {
	s := &received{rest: bufio.NewReader(from)}
	line, err := s.rest.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the Raft snapshot has no head: %w", err)
	}
	if err := json.Unmarshal(line, &s.head); err != nil {
		return nil, fmt.Errorf("the Raft snapshot's head: %w", err)
	}
	if s.id, err = ledger.ParseTxID(s.head.Committed); err != nil {
		return nil, fmt.Errorf("the Raft snapshot's position: %w", err)
	}
	if s.head.Tail == 0 {
		return s, nil
	}
	if s.head.Tail < 0 || s.head.Tail > maxSnapshotTail {
		return nil, fmt.Errorf("the Raft snapshot says that its tail has %d bytes", s.head.Tail)
	}
	tail := make([]byte, s.head.Tail)
	if _, err := io.ReadFull(s.rest, tail); err != nil {
		return nil, fmt.Errorf("reading the Raft snapshot's tail: %w", err)
	}
	if s.tail, err = decodeBatch(tail); err != nil {
		return nil, fmt.Errorf("the Raft snapshot's tail: %w", err)
	}
	return s, nil
}

// maxSnapshotTail bounds what a snapshot may carry behind the last signature.
const maxSnapshotTail = 1 << 30

// recall takes up the stored snapshot at start. The ledger files must reach as far as it
// says, with the same digest: Raft's log before it is gone. Raft itself is told not to
// restore it, since everything but the tail has been read from the ledger files.
func (r *Replica) recall() error {
	data := r.stored.held()
	if data == nil {
		return nil
	}
	s, err := readSnapshot(bytes.NewReader(data))
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		err = r.takeTail(s)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.stored.path, err)
	}
	return nil
}

// takeTail checks that the history holds what the snapshot is about, and takes the
// entries behind it unless the history reaches further already. mu is held.
func (r *Replica) takeTail(s *received) error {
	if s.id.Seqno < r.cfg.Ledger.First() && s.id.Seqno < r.committed.Seqno {
		return nil // older than the snapshot of the service with which this node began
	}
	leaf := [sha256.Size]byte{}
	if s.id.Seqno <= r.committed.Seqno {
		var err error
		if leaf, err = r.leaf(s.id.Seqno); err != nil {
			return err
		}
	}
	if !bytes.Equal(leaf[:], s.head.Leaf) {
		return fmt.Errorf("the ledger files through %v do not hold entry %v, behind which Raft's log was compacted", r.committed, s.id)
	}
	if s.tail == nil || r.committed.Seqno > s.id.Seqno {
		return nil
	}
	return r.take(s.tail)
}

// Restore takes a snapshot that the primary sent because its log does not reach back to
// where this node stands. Nothing of it is believed for being sent: each entry's tag is
// checked with the ledger secret and each signature's root against our own tree.
func (f *fsm) Restore(rc io.ReadCloser) error {
	r := (*Replica)(f)
	err := errors.Join(r.restore(rc), rc.Close())
	if err != nil {
		err = fmt.Errorf("taking the primary's snapshot: %w", err)
		r.halts(err)
	}
	return err
}

func (r *Replica) restore(from io.Reader) error {
	s, err := readSnapshot(from)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// What was applied behind the last signature may be gone; what is not comes again.
	r.discardAfter(r.committed.Seqno)
	r.applied = r.committed
	for at := s.head.From; at != 0 && at <= s.head.Through; at++ {
		e, err := readEntry(s.rest)
		if err == nil && e.ID.Seqno != at {
			err = fmt.Errorf("it says that it is %v", e.ID)
		}
		if err == nil {
			err = r.restoreEntry(e)
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", at, err)
		}
		if ledger.IsSignature(e.Public) { // let others look at how far it is
			r.mu.Unlock()
			r.mu.Lock()
		}
	}
	r.loaded = max(r.loaded, r.committed.Seqno)
	if err := r.takeTail(s); err != nil {
		return err
	}
	r.publish()
	if err := r.cfg.Ledger.Sync(); err != nil {
		return err
	}
	// The ledger files hold the entries now; only the head need be kept.
	c := &capture{head: snapshotHead{Committed: s.head.Committed, Leaf: s.head.Leaf}}
	if s.tail != nil {
		c.tail = s.tail.encode()
	}
	data, err := c.encode()
	if err != nil {
		return err
	}
	return r.stored.shrink(data)
}

// restoreEntry takes one signed entry, or compares it with the one that is held. mu is held.
func (r *Replica) restoreEntry(e *ledger.Entry) error {
	if e.ID.Seqno <= r.committed.Seqno {
		leaf, err := r.leaf(e.ID.Seqno)
		if err != nil {
			return err
		}
		if leaf != e.Leaf() {
			return errors.New("it differs from the one that is held")
		}
		return nil
	}
	if e.ID.Seqno != r.head.Seqno+1 {
		return fmt.Errorf("it does not follow %v", r.head)
	}
	if err := r.install(e, r.apply); err != nil {
		return err
	}
	r.applied = r.head
	if !ledger.IsSignature(e.Public) {
		return nil
	}
	return r.commit(e.ID)
}

// readEntry reads one ledger entry from a stream.
func readEntry(from io.Reader) (*ledger.Entry, error) {
	head := make([]byte, entryHeaderSize)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(head) >> 16
	if size > maxSnapshotTail {
		return nil, fmt.Errorf("an entry of %d bytes", size)
	}
	// Grown as it comes: the size is not believed before the bytes are there.
	raw := bytes.NewBuffer(head)
	if _, err := io.CopyN(raw, from, int64(size)); err != nil {
		return nil, err
	}
	return ledger.ParseEntry(raw.Bytes())
}

// export is what a follower gets: a stored snapshot with the signed entries of the
// ledger files behind it, through what they hold now, which may be more than the
// snapshot is about. Each is compared with the tree before it leaves.
func (r *Replica) export(data []byte) (io.ReadCloser, error) {
	s, err := readSnapshot(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return &exported{r: r, received: s}, nil
}

// exported reads a snapshot on its way to a follower, from when it begins.
type exported struct {
	r        *Replica
	received *received
	pages    *pages
	buf      bytes.Reader
	next     func() (*ledger.Entry, error, bool)
	stop     func()
	through  uint64
	done     bool
}

// begin says from which entry on the follower is to have them, and returns the number of
// bytes that come. One that reaches further than the ledger files gets no entries.
func (x *exported) begin(from uint64) (int64, error) {
	r := x.r
	if first := r.cfg.Ledger.First(); from < first {
		r.missing(from)
		return 0, fmt.Errorf("a follower needs the entries from seqno %d on: %w, at %d", from, ErrAbsent, first)
	}
	from = min(from, r.cfg.Ledger.Last().Seqno+1)
	through, size, err := r.cfg.Ledger.Measure(from)
	if err != nil {
		return 0, err
	}
	c := &capture{head: x.received.head}
	c.head.From, c.head.Through = from, through
	if x.received.tail != nil {
		c.tail = x.received.tail.encode()
	}
	data, err := c.encode()
	if err != nil {
		return 0, err
	}
	x.next, x.stop = iter.Pull2(r.cfg.Ledger.Entries(from))
	x.buf.Reset(data)
	x.through, x.done = through, from > through
	return int64(len(data)) + size, nil
}

func (x *exported) Read(p []byte) (int, error) {
	if x.next == nil {
		return 0, errors.New("a snapshot is read that has not begun")
	}
	for x.buf.Len() == 0 {
		if x.done {
			return 0, io.EOF
		}
		e, err, ok := x.next()
		switch {
		case !ok:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			x.r.halts(err)
			return 0, err
		}
		switch err := x.check(e); {
		case errors.Is(err, errTampered):
			x.r.halts(err)
			return 0, err
		case err != nil:
			return 0, err // the index is made anew; the follower is served again
		}
		x.done = e.ID.Seqno == x.through
		x.buf.Reset(e.Raw)
	}
	return x.buf.Read(p)
}

// check compares an entry with the tree.
func (x *exported) check(e *ledger.Entry) error {
	r, seqno := x.r, e.ID.Seqno
	if x.pages == nil {
		x.pages = r.index.pages()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if seqno < r.tree.First() {
		level, i, root := r.tree.Cover(seqno)
		if x.pages.covers(seqno, e.Leaf(), level, i, root) == nil {
			return nil
		}
	}
	want, err := r.leaf(seqno)
	if err == nil && e.Leaf() != want {
		err = errTampered
	}
	if err != nil {
		return fmt.Errorf("reading entry %v for a follower: %w", e.ID, err)
	}
	return nil
}

func (x *exported) Close() error {
	if x.stop != nil {
		x.stop()
	}
	return nil
}

// snapshotStore holds the newest snapshot in memory, and in one file for the next start.
type snapshotStore struct {
	fs   durable.FS
	path string
	// export makes of a stored snapshot what a follower gets. Set before Raft starts.
	export func(data []byte) (io.ReadCloser, error)

	mu   sync.Mutex
	meta *raft.SnapshotMeta
	data []byte
	// whole says that the snapshot came from the primary, with the ledger's entries: it is
	// for this node's own Restore, and only then written to the file, without them. A
	// large one lies in a file beside, and data is nil; nothing of it is believed.
	whole bool
	// spillAt is the number of bytes from which a snapshot is collected in that file.
	spillAt int
}

// spillAt is the memory that a snapshot may take while it comes in.
const spillAt = 16 << 20

func (s *snapshotStore) spillPath() string { return s.path + ".received" }

// held returns the stored snapshot, nil when there is none.
func (s *snapshotStore) held() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// shrink replaces a snapshot that came from the primary by its head.
func (s *snapshotStore) shrink(data []byte) error {
	s.mu.Lock()
	meta, whole, spilled := *s.meta, s.whole, s.data == nil
	s.mu.Unlock()
	if !whole {
		return nil // one of this node's own has taken its place
	}
	if err := s.write(meta, data); err != nil || !spilled {
		return err
	}
	if err := s.fs.Remove(s.spillPath()); err != nil {
		return fmt.Errorf("removing what the primary sent: %w", err)
	}
	return nil
}

// write makes a snapshot the store's, durably.
func (s *snapshotStore) write(meta raft.SnapshotMeta, data []byte) error {
	meta.Size = int64(len(data))
	f := snapshotFile{Meta: meta, Data: data}
	var err error
	if f.Digest, err = f.digest(); err != nil {
		return err
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding a Raft snapshot: %w", err)
	}
	if err := durable.WriteFileAtomic(s.fs, s.path, raw, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", s.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta, s.data, s.whole = &meta, data, false
	return nil
}

// snapshotFile is the file's form; Digest covers Meta and Data.
type snapshotFile struct {
	Meta   raft.SnapshotMeta
	Data   []byte
	Digest []byte
}

func newSnapshotStore(fsys durable.FS, path string) (*snapshotStore, error) {
	s := &snapshotStore{fs: fsys, path: path, spillAt: spillAt}
	raw, err := fsys.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	var f snapshotFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", path, err)
	}
	want, err := f.digest()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(want, f.Digest) {
		return nil, fmt.Errorf("reading %s: %w", path, errTampered)
	}
	s.meta, s.data = &f.Meta, f.Data
	return s, nil
}

func (f *snapshotFile) digest() ([]byte, error) {
	meta, err := json.Marshal(f.Meta)
	if err != nil {
		return nil, fmt.Errorf("encoding a Raft snapshot's head: %w", err)
	}
	h := sha256.New()
	h.Write(meta)
	h.Write(f.Data)
	return h.Sum(nil), nil
}

func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &snapshotSink{store: s, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meta == nil {
		return nil, nil
	}
	m := *s.meta
	return []*raft.SnapshotMeta{&m}, nil
}

func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meta == nil || s.meta.ID != id {
		return nil, nil, fmt.Errorf("no Raft snapshot %s", id)
	}
	m := *s.meta
	if s.whole && s.data == nil {
		f, err := s.fs.Open(s.spillPath())
		if err != nil {
			return nil, nil, fmt.Errorf("opening what the primary sent: %w", err)
		}
		return &m, f, nil
	}
	if s.whole {
		return &m, io.NopCloser(bytes.NewReader(s.data)), nil
	}
	rc, err := s.export(s.data)
	if err != nil {
		return nil, nil, fmt.Errorf("sending Raft snapshot %s: %w", id, err)
	}
	return &m, rc, nil // its size is known when it begins
}

// snapshotSink collects one snapshot, in memory and from some size on in a file; Close
// makes it the store's, durably where it is this node's own.
type snapshotSink struct {
	store *snapshotStore
	meta  raft.SnapshotMeta
	buf   bytes.Buffer
	file  durable.File // nil while buf holds everything
	size  int64
	done  bool
}

func (k *snapshotSink) ID() string { return k.meta.ID }

func (k *snapshotSink) Write(p []byte) (int, error) {
	k.size += int64(len(p))
	if k.file == nil && k.size <= int64(k.store.spillAt) {
		return k.buf.Write(p)
	}
	if k.file == nil {
		f, err := k.store.fs.OpenFile(k.store.spillPath(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, fmt.Errorf("collecting a Raft snapshot: %w", err)
		}
		k.file = f
		if _, err := f.Write(k.buf.Bytes()); err != nil {
			return 0, fmt.Errorf("collecting a Raft snapshot: %w", err)
		}
		k.buf = bytes.Buffer{}
	}
	return k.file.Write(p)
}

func (k *snapshotSink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.file == nil {
		return nil
	}
	return errors.Join(k.file.Close(), k.store.fs.Remove(k.store.spillPath()))
}

func (k *snapshotSink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	data := k.buf.Bytes()
	if k.file != nil {
		if err := k.file.Close(); err != nil {
			return fmt.Errorf("collecting a Raft snapshot: %w", err)
		}
	}
	head, err := k.head()
	if err != nil {
		return err
	}
	if head.From == 0 { // this node's own
		if k.file != nil {
			if data, err = k.store.fs.ReadFile(k.store.spillPath()); err == nil {
				err = k.store.fs.Remove(k.store.spillPath())
			}
			if err != nil {
				return fmt.Errorf("collecting a Raft snapshot: %w", err)
			}
		}
		return k.store.write(k.meta, data)
	}
	k.meta.Size = k.size
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	if k.file != nil {
		data = nil
	}
	k.store.meta, k.store.data, k.store.whole = &k.meta, data, true
	return nil
}

// head reads the first line of what was collected.
func (k *snapshotSink) head() (h snapshotHead, err error) {
	var from io.Reader = bytes.NewReader(k.buf.Bytes())
	if k.file != nil {
		f, err := k.store.fs.Open(k.store.spillPath())
		if err != nil {
			return h, fmt.Errorf("reading a Raft snapshot: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		from = f
	}
	line, err := bufio.NewReader(from).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil {
		return h, fmt.Errorf("the Raft snapshot's head: %w", err)
	}
	return h, nil
}
