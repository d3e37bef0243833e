package raftfsm_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chancery/internal/durable/memfs"
	"chancery/ledger"
	"chancery/raftfsm"
)

// TestFaultFullDisk fills the ledger's disk under a primary: what waits for commit goes on
// waiting, new writes are refused, and once there is room everything is committed, also
// when the primary was deposed meanwhile (row 21 of the fault matrix).
func TestFaultFullDisk(t *testing.T) {
	for _, deposed := range []bool{false, true} {
		name := map[bool]string{false: "leading", true: "deposed"}[deposed]
		t.Run(name, func(t *testing.T) {
			disk := memfs.New()
			var full atomic.Bool
			disk.Inject(func(o memfs.Op) memfs.Fault {
				if full.Load() && o.Kind == memfs.Write && strings.HasPrefix(o.Path, "/ledger") {
					return memfs.Fault{Err: syscall.ENOSPC}
				}
				return memfs.Fault{}
			})
			files, err := ledger.OpenDir(disk, "/ledger", nil)
			if err != nil {
				t.Fatal(err)
			}
			s := newService(t)
			s.start(func(c *raftfsm.Config) { c.Ledger = files })
			before := s.put("public:t", "before", "v")
			s.wait(before)
			full.Store(true)
			during := s.put("public:t", "during", "v")
			waited := make(chan ledger.Status, 1)
			go func() {
				status, err := s.replica.Wait(t.Context(), during)
				if err != nil {
					t.Error(err)
				}
				waited <- status
			}()
			s.awaitBusy()
			if got := s.replica.Position().Committed; got.Seqno >= during.Seqno {
				t.Errorf("%v is committed, and its chunk was not written", got)
			}
			if deposed {
				s.replica.Resign("the test says so")
			}
			full.Store(false)
			if status := <-waited; status != ledger.StatusCommitted {
				t.Errorf("%v, written on a full disk, is %s", during, status)
			}
			if last := files.Last(); last.Seqno <= during.Seqno {
				t.Errorf("the files end at %v, want %v and its signature", last, during)
			}
			s.stop()
			if err := files.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.OpenDir(disk, "/ledger", nil); err != nil {
				t.Errorf("opening again: %v", err)
			}
		})
	}
}

// awaitBusy writes until the replica says that its disk is full.
func (s *service) awaitBusy() {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		tx := s.store.Begin()
		tx.Put("public:t", []byte("refused"), []byte(filepath.Base(s.dir)))
		if _, err := s.replica.Submit(s.t.Context(), tx, raftfsm.Submission{}); errors.Is(err, raftfsm.ErrBusy) {
			return
		}
	}
	s.t.Fatal("the replica never says that its disk is full")
}
