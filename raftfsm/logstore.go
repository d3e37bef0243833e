package raftfsm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// stores are the three stores that Raft works on. Log and stable store share one
// bolt file.
type stores struct {
	bolt      *raftboltdb.BoltStore
	log       *logStore
	stable    *stableStore
	snapshots *snapshotStore
}

func (s *stores) close() error { return s.bolt.Close() }

// openStores opens or creates Raft's files in cfg.Dir.
func openStores(cfg Config) (*stores, error) {
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating %s: %w", cfg.Dir, err)
	}
	path := filepath.Join(cfg.Dir, "raft.db")
	s, err := openRaftDB(raftboltdb.Options{Path: path, NoSync: cfg.UnsafeNoFsync})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.snapshots, err = newSnapshotStore(cfg.FS, filepath.Join(cfg.Dir, "raft.snapshot")); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openRaftDB opens Raft's log and what it votes on, and reads both. bolt panics on pages
// that are not what it wrote; the file stays open then, since closing it could hang.
func openRaftDB(o raftboltdb.Options) (s *stores, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("the file is damaged: %v", r)
		}
	}()
	bolt, err := raftboltdb.New(o)
	if err != nil {
		return nil, err
	}
	s = &stores{bolt: bolt}
	if s.log, err = newLogStore(bolt); err == nil {
		s.stable, err = newStableStore(bolt)
	}
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return s, nil
}

// errTampered says that a file of Raft's does not hold what was written to it.
var errTampered = errors.New("the record on disk is not the one that was written")

// logStore is Raft's log on bolt. First and last index and a digest of every
// record stay in memory: what bolt returns is compared before Raft sees it.
type logStore struct {
	bolt *raftboltdb.BoltStore
	halt func(error) // set before Raft starts, as stored and now are

	stored func(took time.Duration) // told of each durable write; nil: nobody is
	now    func() time.Time         // with stored

	mu      sync.Mutex
	first   uint64
	digests [][sha256.Size]byte // of records first, first+1, …
	configs []indexedConfig     // the configurations among them, ascending
}

// indexedConfig is a configuration with its index, which hashicorp/raft keeps to itself:
// the Index of its GetConfiguration is always 0.
type indexedConfig struct {
	index uint64
	raft.Configuration
}

// configOf decodes a record that holds a configuration; ok is false for any other.
func configOf(l *raft.Log) (c indexedConfig, ok bool, err error) {
	if l.Type != raft.LogConfiguration {
		return c, false, nil
	}
	defer func() { // the library's decoder panics
		if r := recover(); r != nil {
			err = fmt.Errorf("the configuration in Raft record %d: %v", l.Index, r)
		}
	}()
	return indexedConfig{l.Index, raft.DecodeConfiguration(l.Data)}, true, nil
}

// config returns the latest configuration of the log, with index 0 where it has none.
func (s *logStore) config() indexedConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.configs) == 0 {
		return indexedConfig{}
	}
	return s.configs[len(s.configs)-1]
}

// latestConfig returns the latest configuration of log and snapshot.
func latestConfig(log *logStore, snapshots *snapshotStore) indexedConfig {
	c := log.config()
	snapshots.mu.Lock()
	defer snapshots.mu.Unlock()
	if m := snapshots.meta; m != nil && m.ConfigurationIndex > c.index {
		return indexedConfig{m.ConfigurationIndex, m.Configuration}
	}
	return c
}

// newLogStore reads the log once; from then on only the digests are believed.
func newLogStore(bolt *raftboltdb.BoltStore) (*logStore, error) {
	s := &logStore{bolt: bolt, halt: func(error) {}}
	first, err := bolt.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("reading Raft's first index: %w", err)
	}
	last, err := bolt.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("reading Raft's last index: %w", err)
	}
	for i := first; i != 0 && i <= last; i++ {
		var l raft.Log
		if err := bolt.GetLog(i, &l); err != nil {
			return nil, fmt.Errorf("reading Raft record %d of %d…%d: %w", i, first, last, err)
		}
		if l.Index != i {
			return nil, fmt.Errorf("reading Raft record %d: it says that it is %d", i, l.Index)
		}
		s.digests = append(s.digests, digestOf(&l))
		if c, ok, err := configOf(&l); err != nil {
			return nil, err
		} else if ok {
			s.configs = append(s.configs, c)
		}
	}
	s.first = first
	return s, nil
}

// digestOf covers everything in a record that decides anything.
func digestOf(l *raft.Log) [sha256.Size]byte {
	h := sha256.New()
	var head [25]byte
	binary.LittleEndian.PutUint64(head[0:], l.Index)
	binary.LittleEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	binary.LittleEndian.PutUint64(head[17:], uint64(len(l.Data)))
	h.Write(head[:])
	h.Write(l.Data)
	h.Write(l.Extensions)
	return [sha256.Size]byte(h.Sum(nil))
}

// fail reports a store that can't be trusted any more.
func (s *logStore) fail(err error) error {
	s.halt(err)
	return err
}

// IsMonotonic tells Raft that records are stored without a gap: when it takes a snapshot
// that reaches beyond its log, it must forget the whole log and not keep a trail.
func (s *logStore) IsMonotonic() bool { return true }

var _ raft.MonotonicLogStore = (*logStore)(nil)

func (s *logStore) FirstIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, nil
}

func (s *logStore) LastIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last(), nil
}

func (s *logStore) last() uint64 {
	if s.first == 0 {
		return 0
	}
	return s.first + uint64(len(s.digests)) - 1
}

func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	s.mu.Lock()
	if s.first == 0 || index < s.first || index > s.last() {
		s.mu.Unlock()
		return raft.ErrLogNotFound
	}
	want := s.digests[index-s.first]
	s.mu.Unlock()
	if err := s.bolt.GetLog(index, l); err != nil {
		return s.fail(fmt.Errorf("reading Raft record %d: %w", index, err))
	}
	if l.Index != index || digestOf(l) != want {
		return s.fail(fmt.Errorf("reading Raft record %d: %w", index, errTampered))
	}
	return nil
}

func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends consecutive records, durable on return. After an error
// nothing more may be written (a failed fsync may have lost pages for good), so it halts.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if next := s.last() + 1; s.first != 0 && logs[0].Index != next {
		return s.fail(fmt.Errorf("Raft stores record %d where %d is next", logs[0].Index, next))
	}
	configs := s.configs
	for _, l := range logs {
		if c, ok, err := configOf(l); err != nil {
			return s.fail(err)
		} else if ok {
			configs = append(configs, c)
		}
	}
	if err := s.write(logs); err != nil {
		return s.fail(fmt.Errorf("writing Raft records %d…%d: %w", logs[0].Index, logs[len(logs)-1].Index, err))
	}
	if s.first == 0 {
		s.first = logs[0].Index
	}
	for _, l := range logs {
		s.digests = append(s.digests, digestOf(l))
	}
	s.configs = configs
	return nil
}

// write stores records and tells how long that took.
func (s *logStore) write(logs []*raft.Log) error {
	if s.stored == nil {
		return s.bolt.StoreLogs(logs)
	}
	begun := s.now()
	err := s.bolt.StoreLogs(logs)
	s.stored(s.now().Sub(begun))
	return err
}

// DeleteRange removes a prefix (compaction) or a suffix (a conflicting leader).
func (s *logStore) DeleteRange(lo, hi uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 0 || hi < s.first || lo > s.last() {
		return nil
	}
	lo, hi = max(lo, s.first), min(hi, s.last())
	if err := s.bolt.DeleteRange(lo, hi); err != nil {
		return s.fail(fmt.Errorf("deleting Raft records %d…%d: %w", lo, hi, err))
	}
	s.configs = slices.DeleteFunc(s.configs, func(c indexedConfig) bool { return lo <= c.index && c.index <= hi })
	switch {
	case lo == s.first && hi == s.last():
		s.first, s.digests = 0, nil
	case lo == s.first:
		s.digests = append([][sha256.Size]byte(nil), s.digests[hi-s.first+1:]...)
		s.first = hi + 1
	case hi == s.last():
		s.digests = s.digests[:lo-s.first]
	default:
		return s.fail(fmt.Errorf("Raft deletes records %d…%d out of the middle of %d…%d", lo, hi, s.first, s.last()))
	}
	return nil
}

// Close closes the bolt file that log and stable store share.
func (s *logStore) Close() error { return s.bolt.Close() }

// stableStore holds Raft's term and vote: written through, never read after start.
type stableStore struct {
	bolt *raftboltdb.BoltStore
	halt func(error)

	mu     sync.Mutex
	values map[string][]byte
}

// Keys under which hashicorp/raft keeps its vote and term (raft.go).
var stableKeys = []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"}

func newStableStore(bolt *raftboltdb.BoltStore) (*stableStore, error) {
	s := &stableStore{bolt: bolt, halt: func(error) {}, values: map[string][]byte{}}
	for _, k := range stableKeys {
		v, err := bolt.Get([]byte(k))
		if errors.Is(err, raftboltdb.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading Raft's %s: %w", k, err)
		}
		s.values[k] = v
	}
	return s, nil
}

func (s *stableStore) Set(key, val []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.bolt.Set(key, val); err != nil {
		err = fmt.Errorf("writing Raft's %s: %w", key, err)
		s.halt(err)
		return err
	}
	s.values[string(key)] = append([]byte(nil), val...)
	return nil
}

// Get returns the value, and an error with the text "not found" when there is
// none, which is how hashicorp/raft tells absence.
func (s *stableStore) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[string(key)]
	if !ok {
		return nil, raftboltdb.ErrKeyNotFound
	}
	return append([]byte(nil), v...), nil
}

func (s *stableStore) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("Raft's %s has %d bytes", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}
