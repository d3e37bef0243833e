package raftfsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/ledger"
)

// A Raft snapshot of ours says how far the ledger files reach and carries the
// entries behind their last signature, so that Raft's log can be compacted:
//
//	{"committed":"2.17","leaf":"<hex>"} newline, then the unsigned entries as one batch (or nothing)
type snapshotHead struct {
	Committed string `json:"committed"`
	Leaf      []byte `json:"leaf"`
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
		var head []byte
		if head, err = json.Marshal(c.head); err == nil {
			_, err = sink.Write(append(append(head, '\n'), c.tail...))
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("persisting a Raft snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

func (c *capture) Release() {}

// Restore is called at start with the newest snapshot. The ledger files must
// reach as far as it says, with the same digest: Raft's log before it is gone.
func (f *fsm) Restore(rc io.ReadCloser) error {
	r := (*Replica)(f)
	data, err := io.ReadAll(rc)
	if err = errors.Join(err, rc.Close()); err != nil {
		return fmt.Errorf("reading a Raft snapshot: %w", err)
	}
	line, tail, ok := bytes.Cut(data, []byte("\n"))
	var head snapshotHead
	if err := json.Unmarshal(line, &head); err != nil || !ok {
		return errors.Join(errors.New("the Raft snapshot has no head"), err)
	}
	id, err := ledger.ParseTxID(head.Committed)
	if err != nil {
		return fmt.Errorf("the Raft snapshot's position: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	leaf := [sha256.Size]byte{}
	if id.Seqno <= r.committed.Seqno {
		leaf = r.tree.Leaf(id.Seqno)
	}
	if !bytes.Equal(leaf[:], head.Leaf) {
		return fmt.Errorf("the ledger files through %v do not hold entry %v, behind which Raft's log was compacted", r.committed, id)
	}
	if len(tail) == 0 || r.committed.Seqno > id.Seqno {
		return nil
	}
	b, err := decodeBatch(tail)
	if err != nil {
		return fmt.Errorf("the Raft snapshot's entries: %w", err)
	}
	return r.take(b)
}

// snapshotStore holds the newest snapshot in memory, and in one file for the next start.
type snapshotStore struct {
	fs   durable.FS
	path string

	mu   sync.Mutex
	meta *raft.SnapshotMeta
	data []byte
}

// snapshotFile is the file's form; Digest covers Meta and Data.
type snapshotFile struct {
	Meta   raft.SnapshotMeta
	Data   []byte
	Digest []byte
}

func newSnapshotStore(fsys durable.FS, path string) (*snapshotStore, error) {
	s := &snapshotStore{fs: fsys, path: path}
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
	return &m, io.NopCloser(bytes.NewReader(s.data)), nil
}

// snapshotSink collects one snapshot; Close makes it the store's, durably.
type snapshotSink struct {
	store *snapshotStore
	meta  raft.SnapshotMeta
	buf   bytes.Buffer
	done  bool
}

func (k *snapshotSink) ID() string { return k.meta.ID }

func (k *snapshotSink) Write(p []byte) (int, error) { return k.buf.Write(p) }

func (k *snapshotSink) Cancel() error {
	k.done = true
	return nil
}

func (k *snapshotSink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	k.meta.Size = int64(k.buf.Len())
	f := snapshotFile{Meta: k.meta, Data: k.buf.Bytes()}
	var err error
	if f.Digest, err = f.digest(); err != nil {
		return err
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding a Raft snapshot: %w", err)
	}
	if err := durable.WriteFileAtomic(k.store.fs, k.store.path, raw, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", k.store.path, err)
	}
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	k.store.meta, k.store.data = &k.meta, f.Data
	return nil
}
