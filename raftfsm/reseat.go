package raftfsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"chancery/ledger"
)

// Standing is how far a node's Raft log reaches, by Raft's own measure.
type Standing struct {
	// Term is the last term that the node took part in.
	Term uint64
	// LastTerm and LastIndex are those of its last record.
	LastTerm, LastIndex uint64
}

// Behind says whether a log is less complete than another.
func (s Standing) Behind(o Standing) bool {
	if s.LastTerm != o.LastTerm {
		return s.LastTerm < o.LastTerm
	}
	return s.LastIndex < o.LastIndex
}

// lockWait bounds the wait for the lock on a Raft file that another process may hold.
const lockWait = time.Second

// reading opens a Raft file that is not to be changed.
func reading(path string) raftboltdb.Options {
	return raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: lockWait}}
}

// ReadStanding reads the standing of a node that does not run from its Raft directory.
func ReadStanding(dir string) (s Standing, err error) {
	path := filepath.Join(dir, "raft.db")
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: the file is damaged: %v", path, r)
		}
	}()
	bolt, err := raftboltdb.New(reading(path))
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { err = errors.Join(err, bolt.Close()) }()
	stable, err := newStableStore(bolt)
	if err != nil {
		return s, err
	}
	if s.Term, err = stable.term(); err != nil {
		return s, err
	}
	if s.LastIndex, err = bolt.LastIndex(); err != nil || s.LastIndex == 0 {
		return s, err
	}
	var last raft.Log
	if err := bolt.GetLog(s.LastIndex, &last); err != nil {
		return s, fmt.Errorf("%s: reading record %d: %w", path, s.LastIndex, err)
	}
	s.LastTerm = last.Term
	return s, nil
}

// term is the last term that was stored, 0 before any.
func (s *stableStore) term() (uint64, error) {
	term, err := s.GetUint64([]byte("CurrentTerm"))
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return 0, nil
	}
	return term, err
}

// Reseat makes this node the only voter of a service all of whose nodes have stopped,
// under its present address. after is the highest term that any of them took part in:
// this node will lead in a later one. It is called before Open, and changes nothing
// where nothing has to change. What it does is not safe while any other node runs.
func Reseat(cfg Config, after uint64) (err error) {
	stores, err := openStores(cfg)
	if err != nil {
		return fmt.Errorf("opening Raft's stores: %w", err)
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	term, err := stores.stable.term()
	if err != nil {
		return err
	}
	latest := latestConfig(stores.log, stores.snapshots)
	last, err := stores.last()
	if err != nil {
		return err
	}
	only := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(cfg.ID), Address: cfg.Address}
	term = max(term, last.Term, after)
	if err := stores.stable.SetUint64([]byte("CurrentTerm"), term); err != nil {
		return err
	}
	if len(latest.Servers) == 1 && latest.Servers[0] == only {
		return nil
	}
	l := &raft.Log{
		Index: last.Index + 1, Term: term, Type: raft.LogConfiguration,
		Data: raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{only}}),
	}
	if err := stores.log.StoreLog(l); err != nil {
		return fmt.Errorf("recording that node %s is alone: %w", cfg.ID, err)
	}
	return nil
}

// last returns index and term of the last record, of log or snapshot.
func (s *stores) last() (last raft.Log, err error) {
	if m := s.snapshots.meta; m != nil {
		last.Index, last.Term = m.Index, m.Term
	}
	end, err := s.log.LastIndex()
	if err != nil || end == 0 {
		return last, err
	}
	var l raft.Log
	err = s.log.GetLog(end, &l)
	return raft.Log{Index: l.Index, Term: l.Term}, err
}

// Found makes this node the only voter of a service that is recovered from its ledger:
// it begins two views after the last one there, as CCF's does, so that no TxID of the
// earlier life comes to name another transaction. Raft's log begins behind a snapshot that
// stands for the ledger, which is what nodes that join are sent. It is called once, before
// Open, on an empty Raft directory.
func Found(cfg Config) (err error) {
	last := cfg.Ledger.Last()
	var leaf ledger.Digest
	if b := cfg.Base; b != nil && b.ID == last { // which may stand alone
		leaf = b.Leaf
	} else {
		e, err := cfg.Ledger.Read(last.Seqno)
		if err != nil {
			return err
		}
		leaf = e.Leaf()
	}
	data, err := (&capture{head: snapshotHead{Committed: last.String(), Leaf: leaf[:]}}).encode()
	if err != nil {
		return err
	}
	stores, err := openStores(cfg)
	if err != nil {
		return fmt.Errorf("opening Raft's stores: %w", err)
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	if term, err := stores.stable.term(); err != nil || term != 0 {
		return errors.Join(fmt.Errorf("%s: a node has taken part in term %d there", cfg.Dir, term), err)
	}
	const first = 1
	meta := raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: "ledger", Index: first, Term: last.View + 1, ConfigurationIndex: first,
		Configuration: raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(cfg.ID), Address: cfg.Address}}},
	}
	if err := stores.snapshots.write(meta, data); err != nil {
		return err
	}
	return stores.stable.SetUint64([]byte("CurrentTerm"), meta.Term)
}
