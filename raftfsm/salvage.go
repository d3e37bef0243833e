package raftfsm

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/ledger"

	"github.com/hashicorp/raft"
)

// Salvage returns what Raft's log in dir holds behind a ledger that ends with after: spans
// of entries that each end with a signature. A node writes an entry to its ledger when it
// learns that it is committed, which is one message after others may have acknowledged it;
// when all nodes are lost at once, the log alone has it. Nothing is judged here but that the
// entries follow one another. The log's file is not changed. Without a log there is nothing.
func Salvage(fsys durable.FS, dir string, after TxID) (spans [][]*ledger.Entry, err error) {
	path := filepath.Join(dir, "raft.db")
	if _, err := fsys.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	stores, err := openRaftDB(reading(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	first, err := stores.log.FirstIndex()
	if err != nil {
		return nil, err
	}
	last, err := stores.log.LastIndex()
	if err != nil || last == 0 {
		return nil, err
	}
	s := salvage{signed: after, at: after}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := stores.log.GetLog(i, &l); err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, i, err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if err := s.take(&l); err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, i, err)
		}
	}
	return s.spans, nil
}

// salvage follows the records of a log as the state machine would.
type salvage struct {
	signed, at TxID // the last signature, and the last entry
	tail       []*ledger.Entry
	spans      [][]*ledger.Entry
}

func (s *salvage) take(l *raft.Log) error {
	b, err := decodeBatch(l.Data)
	if err != nil {
		return err
	}
	if b.view != l.Term || b.first <= s.signed.Seqno || b.view < s.at.View {
		return nil // superseded, or in the ledger
	}
	if b.view > s.at.View {
		s.tail, s.at = nil, s.signed // a new view begins behind the last signature
	}
	if b.first != s.at.Seqno+1 {
		return fmt.Errorf("batch %d.%d does not follow %v", b.view, b.first, s.at)
	}
	s.tail = append(s.tail, b.entries...)
	s.at = TxID{View: b.view, Seqno: b.last()}
	if b.signed() {
		s.spans, s.signed, s.tail = append(s.spans, s.tail), s.at, nil
	}
	return nil
}
