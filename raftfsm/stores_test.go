package raftfsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"chancery/internal/durable"
)

func openBolt(t *testing.T, path string) *raftboltdb.BoltStore {
	t.Helper()
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bolt.Close() })
	return bolt
}

func record(i uint64, data string) *raft.Log {
	return &raft.Log{Index: i, Term: 2, Type: raft.LogCommand, Data: []byte(data)}
}

// TestLogStoreBelievesNoRecordThatChanged changes one record under a running log
// store, in each part that decides anything.
func TestLogStoreBelievesNoRecordThatChanged(t *testing.T) {
	for name, forged := range map[string]*raft.Log{
		"data":       record(2, "forged"),
		"term":       {Index: 2, Term: 3, Type: raft.LogCommand, Data: []byte("two")},
		"type":       {Index: 2, Term: 2, Type: raft.LogConfiguration, Data: []byte("two")},
		"extensions": {Index: 2, Term: 2, Type: raft.LogCommand, Data: []byte("two"), Extensions: []byte("x")},
	} {
		t.Run(name, func(t *testing.T) {
			bolt := openBolt(t, filepath.Join(t.TempDir(), "raft.db"))
			s, err := newLogStore(bolt)
			if err != nil {
				t.Fatal(err)
			}
			var halted error
			s.halt = func(err error) { halted = err }
			if err := s.StoreLogs([]*raft.Log{record(1, "one"), record(2, "two"), record(3, "three")}); err != nil {
				t.Fatal(err)
			}
			if err := bolt.StoreLog(forged); err != nil {
				t.Fatal(err)
			}
			var l raft.Log
			if err := s.GetLog(1, &l); err != nil || string(l.Data) != "one" {
				t.Errorf("record 1: %q, %v", l.Data, err)
			}
			if err := s.GetLog(2, &l); !errors.Is(err, errTampered) {
				t.Errorf("record 2: got %v, want %v", err, errTampered)
			}
			if !errors.Is(halted, errTampered) {
				t.Errorf("halted with %v, want %v", halted, errTampered)
			}
		})
	}
}

func TestLogStoreRanges(t *testing.T) {
	bolt := openBolt(t, filepath.Join(t.TempDir(), "raft.db"))
	s, err := newLogStore(bolt)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, first, last uint64) {
		t.Helper()
		again, err := newLogStore(bolt) // what a restart would see
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []*logStore{s, again} {
			f, _ := x.FirstIndex()
			l, _ := x.LastIndex()
			if f != first || l != last {
				t.Errorf("%s: %d…%d, want %d…%d", what, f, l, first, last)
			}
			for i := first; i != 0 && i <= last; i++ {
				if err := x.GetLog(i, new(raft.Log)); err != nil {
					t.Errorf("%s: record %d: %v", what, i, err)
				}
			}
			if err := x.GetLog(last+1, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("%s: record %d: got %v, want %v", what, last+1, err, raft.ErrLogNotFound)
			}
		}
	}
	check("empty", 0, 0)
	for i := uint64(1); i <= 10; i++ {
		if err := s.StoreLog(record(i, "x")); err != nil {
			t.Fatal(err)
		}
	}
	check("ten", 1, 10)
	for _, c := range []struct {
		what          string
		lo, hi        uint64
		first, remain uint64
	}{{"prefix", 1, 3, 4, 10}, {"suffix", 9, 10, 4, 8}, {"nothing", 20, 30, 4, 8}, {"more than there is", 0, 5, 6, 8}, {"all", 6, 8, 0, 0}} {
		if err := s.DeleteRange(c.lo, c.hi); err != nil {
			t.Fatal(err)
		}
		check(c.what, c.first, c.remain)
	}
}

// TestStableStoreIsNotReadAgain changes the vote on disk under a running node.
func TestStableStoreIsNotReadAgain(t *testing.T) {
	bolt := openBolt(t, filepath.Join(t.TempDir(), "raft.db"))
	s, err := newStableStore(bolt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetUint64([]byte("CurrentTerm")); err == nil || err.Error() != "not found" {
		t.Errorf("a term before there is one: %v, want not found", err)
	}
	if err := s.SetUint64([]byte("CurrentTerm"), 7); err != nil {
		t.Fatal(err)
	}
	if err := bolt.SetUint64([]byte("CurrentTerm"), 3); err != nil {
		t.Fatal(err)
	}
	if got, err := s.GetUint64([]byte("CurrentTerm")); got != 7 || err != nil {
		t.Errorf("got term %d (%v), want 7", got, err)
	}
	if s, err = newStableStore(bolt); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.GetUint64([]byte("CurrentTerm")); got != 3 {
		t.Errorf("after a restart: got term %d, want what the disk says, 3", got)
	}
}

// TestSnapshotFile writes a Raft snapshot, reads it as a restart does, and changes
// each byte of the file.
func TestSnapshotFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.snapshot")
	s, err := newSnapshotStore(durable.OS(), path)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := s.Create(1, 17, 3, raft.Configuration{Servers: []raft.Server{{ID: "n", Address: "a:1"}}}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write([]byte("{\"committed\":\"2.17\"}\ncontents")); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.List(); len(list) != 0 {
		t.Errorf("listed before it is whole: %v", list)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := newSnapshotStore(durable.OS(), path)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := again.List()
	if len(list) != 1 || list[0].Index != 17 || list[0].Term != 3 {
		t.Fatalf("after a restart: %v", list)
	}
	raw, err := durable.OS().ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		var f snapshotFile
		if json.Unmarshal(bad, &f) == nil {
			var good snapshotFile
			if err := json.Unmarshal(raw, &good); err != nil {
				t.Fatal(err)
			}
			g, _ := json.Marshal(good)
			if b, _ := json.Marshal(f); bytes.Equal(g, b) {
				continue // another spelling of the same value (the case of a key)
			}
		}
		if err := durable.WriteFileAtomic(durable.OS(), path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newSnapshotStore(durable.OS(), path); err == nil {
			t.Errorf("byte %d changed, and believed", i)
		}
	}
}
