package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chancery/client"
	"chancery/kv/writeset"
	"chancery/server/api"
)

// failovers is how often TestFailover takes the primary away.
func failovers() int {
	if testing.Short() || raceEnabled {
		return 2
	}
	return 3
}

// TestFailover takes the primary away under writers of two kinds, and again: killed with
// -9 and replaced, or frozen, deposed, and woken. What was acknowledged as committed is there; what was only executed is
// Committed with its record or Invalid without it, and all nodes say the same.
func TestFailover(t *testing.T) {
	w := newNetwork(t, 3)
	h := &history{committed: map[int]writeset.TxID{}, executed: map[int]writeset.TxID{}}
	for round := range failovers() {
		ctx, cancel := context.WithCancel(t.Context())
		c := w.client()
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() { h.write(ctx, c, i%4 != 0) })
		}
		<-time.After(time.Duration(200+rand.IntN(400)) * time.Millisecond) // the random moment
		old := w.primary()
		frozen := round%2 == 1
		gone := time.Now()
		if frozen {
			must(t, old.cmd.Process.Signal(syscall.SIGSTOP))
		} else {
			must(t, old.cmd.Process.Kill())
			<-old.ended
		}
		w.forget(old)
		lead := w.primary()
		t.Logf("round %d: %s leads %v after %s (frozen: %t) was gone", round, lead.name, time.Since(gone).Round(time.Millisecond), old.name, frozen)
		h.await(t, len(h.snapshot().committed)+20)
		if frozen {
			must(t, old.cmd.Process.Signal(syscall.SIGCONT))
			w.add(old)
			h.await(t, len(h.snapshot().committed)+20)
		}
		cancel()
		writers.Wait()
		c.Close()
		if !frozen {
			member := w.client(lead)
			w.propose(w.asMember(member), action{"remove_node", map[string]any{"node_id": old.id}})
			member.Close()
			w.join()
		}
		h.check(w)
	}
	w.agree(w.nodes...)
	for _, n := range w.nodes {
		must(t, n.cmd.Process.Signal(os.Interrupt))
		<-n.ended
		if n.err != nil {
			t.Errorf("stopping %s: %v", n.name, n.err)
		}
		out, err := exec.Command(binary(t, "chancery"), "ledger", "verify", filepath.Join(n.dir, "ledger")).CombinedOutput()
		if err != nil {
			t.Errorf("the ledger of %s: %v\n%s", n.name, err, out)
		}
	}
}

// forget takes a node that is dead out of the list.
func (w *network) forget(n *netNode) {
	var left []*netNode
	for _, other := range w.nodes {
		if other != n {
			left = append(left, other)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = left
}

// history is what writers were told.
type history struct {
	mu        sync.Mutex
	next      int
	committed map[int]writeset.TxID // acknowledged as committed
	executed  map[int]writeset.TxID // answered on execution
	reads     atomic.Int64          // that were answered, rightly
}

func (h *history) snapshot() *history {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := &history{committed: map[int]writeset.TxID{}, executed: map[int]writeset.TxID{}}
	for k, v := range h.committed {
		out.committed[k] = v
	}
	for k, v := range h.executed {
		out.executed[k] = v
	}
	return out
}

// write posts records, each under a key of its own, until ctx ends. An error leaves the
// outcome open: nothing was acknowledged.
func (h *history) write(ctx context.Context, c *client.Client, wait bool) {
	for ctx.Err() == nil {
		h.mu.Lock()
		h.next++
		id := h.next
		h.mu.Unlock()
		r := client.Request{Method: "POST", Path: "/app/log/private", JSON: map[string]any{"id": id, "msg": fmt.Sprint("message ", id)}}
		if wait {
			r.Wait = client.ForCommit
		}
		resp, err := c.Do(ctx, r)
		if err != nil {
			continue
		}
		h.mu.Lock()
		if wait {
			h.committed[id] = resp.TxID
		} else {
			h.executed[id] = resp.TxID
		}
		h.mu.Unlock()
	}
}

// await waits until so many writes are acknowledged as committed.
func (h *history) await(t *testing.T, n int) {
	t.Helper()
	late := time.After(60 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(h.snapshot().committed) < n {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d writes are acknowledged as committed, want %d", len(h.snapshot().committed), n)
		}
	}
}

// check asks every node for everything that was acknowledged.
func (h *history) check(w *network) {
	w.t.Helper()
	s := h.snapshot()
	seen := map[writeset.TxID]int{}
	invalid := 0
	for _, all := range []map[int]writeset.TxID{s.committed, s.executed} {
		for id, tx := range all {
			if other, twice := seen[tx]; twice {
				w.t.Errorf("records %d and %d are both %v", id, other, tx)
			}
			seen[tx] = id
		}
	}
	for _, n := range w.nodes {
		c := w.client(n)
		for id, tx := range s.committed {
			if got := w.fate(c, tx); got != "Committed" {
				w.t.Fatalf("%v, acknowledged as committed, is %s at %s", tx, got, n.name)
			}
			if !w.holds(c, id) {
				w.t.Fatalf("record %d, acknowledged as committed at %v, is not at %s", id, tx, n.name)
			}
		}
		for id, tx := range s.executed {
			fate := w.fate(c, tx)
			if (fate == "Committed") != w.holds(c, id) {
				w.t.Fatalf("%v is %s at %s, and record %d is there: %t", tx, fate, n.name, id, fate != "Committed")
			}
			if fate == "Invalid" {
				invalid++
			}
		}
		c.Close()
	}
	w.t.Logf("%d committed, %d executed (%d times Invalid at %d nodes)", len(s.committed), len(s.executed), invalid, len(w.nodes))
}

// fate waits until a transaction is Committed or Invalid at a node.
func (w *network) fate(c *client.Client, tx writeset.TxID) string {
	w.t.Helper()
	var status string
	w.until("the fate of "+tx.String(), func() error {
		var s api.TxStatus
		if err := c.Get(w.t.Context(), "/app/tx?transaction_id="+tx.String(), nil, &s); err != nil {
			return err
		}
		if status = s.Status; status != "Committed" && status != "Invalid" {
			return fmt.Errorf("it is %s", status)
		}
		return nil
	})
	return status
}

// holds says whether a node holds a record, as it was written.
func (w *network) holds(c *client.Client, id int) bool {
	w.t.Helper()
	resp, err := c.Do(w.t.Context(), client.Request{Path: fmt.Sprint("/app/log/private?id=", id)})
	var e *client.Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return false
	}
	must(w.t, err)
	if want := fmt.Sprintf(`{"msg":"message %d"}`, id); string(resp.Body) != want {
		w.t.Fatalf("record %d: got %s, want %s", id, resp.Body, want)
	}
	return true
}
