package tests

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/client"
	"chancery/kv/writeset"
	"chancery/server/api"
)

// TestUpNodes has three nodes run by `chancery up`: the primary is killed and replaced
// under the same address, unattended; all of them stop and come back with the same
// service certificate and nothing lost.
func TestUpNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("three processes, started twice")
	}
	const documented = "bin/chancery up --nodes 3"
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	if !strings.Contains(string(readme), documented) {
		t.Errorf("the README does not show %q", documented)
	}
	s := newSandbox(t)
	s.up("--nodes", "3")
	before := s.serviceCert()
	c := s.client()
	defer c.Close()
	trusted := s.trusted(c, 3)
	s.record(c, 1)

	pid := s.primaryPID()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	s.awaitEnd(pid)
	s.replaced(trusted)
	s.record(s.anyNode(), 2)
	s.holdsRecords(1, 2)
	s.interrupt()
	s.checkLedgers()

	s.up("--nodes", "3")
	if after := s.serviceCert(); after != before {
		t.Error("the service certificate is another one")
	}
	s.trusted(s.anyNode(), 3)
	s.holdsRecords(1, 2)
	s.record(s.anyNode(), 3)
	s.holdsRecords(1, 2, 3)
	s.interrupt()
	s.checkLedgers()
}

// eventually waits for a step to succeed.
func eventually(t *testing.T, what string, step func() error) {
	t.Helper()
	retry(t, what, 90*time.Second, 100*time.Millisecond, step)
}

// anyNode is a client that moves on from a node that is gone.
func (s *sandbox) anyNode() *client.Client {
	s.t.Helper()
	var urls []string
	for k := range 3 {
		urls = append(urls, fmt.Sprintf("https://127.0.0.%d:%s", k+1, s.port))
	}
	c := s.clientOf(urls, s.user())
	s.t.Cleanup(c.Close)
	return c
}

func (s *sandbox) serviceCert() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "workspace", "sandbox_common", "service_cert.pem"))
	must(s.t, err)
	return string(text)
}

// trusted waits until n nodes are Trusted and returns their ids.
func (s *sandbox) trusted(c *client.Client, n int) map[string]bool {
	s.t.Helper()
	ids := map[string]bool{}
	eventually(s.t, fmt.Sprint(n, " nodes are trusted"), func() error {
		var list api.Nodes
		if err := c.Get(s.t.Context(), "/node/network/nodes?status=Trusted", nil, &list); err != nil {
			return err
		}
		if len(list.Nodes) != n {
			return fmt.Errorf("%d are", len(list.Nodes))
		}
		clear(ids)
		for _, node := range list.Nodes {
			ids[node.NodeID] = true
		}
		return nil
	})
	return ids
}

func (s *sandbox) record(c *client.Client, id int) {
	s.t.Helper()
	eventually(s.t, "a write", func() error {
		_, err := c.Do(s.t.Context(), client.Request{
			Method: "POST", Path: "/app/log/private", Wait: client.ForCommit, Idempotent: true,
			JSON: map[string]any{"id": id, "msg": fmt.Sprint("record ", id)},
		})
		return err
	})
}

// holdsRecords reads records at every node.
func (s *sandbox) holdsRecords(ids ...int) {
	s.t.Helper()
	for k := range 3 {
		c := s.clientOf([]string{fmt.Sprintf("https://127.0.0.%d:%s", k+1, s.port)}, s.user())
		for _, id := range ids {
			eventually(s.t, fmt.Sprintf("record %d at node %d", id, k), func() error {
				resp, err := c.Do(s.t.Context(), client.Request{Path: fmt.Sprint("/app/log/private?id=", id)})
				if err != nil {
					return err
				}
				if want := fmt.Sprintf(`{"msg":"record %d"}`, id); string(resp.Body) != want {
					return fmt.Errorf("got %s", resp.Body)
				}
				return nil
			})
		}
		c.Close()
	}
}

// checkLedgers verifies the ledger of every node that is left.
func (s *sandbox) checkLedgers() {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "workspace", "sandbox_*", "ledger"))
	must(s.t, err)
	if len(found) < 3 {
		s.t.Errorf("%d nodes have a ledger", len(found))
	}
	for _, dir := range found {
		s.shWithin(5*time.Minute, "bin/chancery ledger verify "+dir) // a long run makes a long ledger
	}
}

// TestFaultUpNodes kills the primary of `chancery up --nodes 3` again and again under
// writers; each time it is replaced unattended. Nothing that was acknowledged as
// committed is lost at any node.
func TestFaultUpNodes(t *testing.T) {
	soak := os.Getenv("CHANCERY_SOAK")
	if soak == "" && os.Getenv("CHANCERY_KILLS") == "" {
		t.Skip("a long run: set CHANCERY_KILLS, or CHANCERY_SOAK to how long")
	}
	s := newSandbox(t)
	s.up("--nodes", "3")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("up says:\n%s", s.out.buf.String())
			logs, _ := filepath.Glob(filepath.Join(s.dir, "workspace", "sandbox_*", "out"))
			for _, file := range logs {
				text, _ := os.ReadFile(file)
				lines := strings.Split(string(text), "\n")
				t.Logf("%s:\n%s", file, strings.Join(lines[max(0, len(lines)-40):], "\n"))
			}
		}
	})
	h := &history{committed: map[int]writeset.TxID{}, executed: map[int]writeset.TxID{}}
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for range 8 {
		c := s.anyNode()
		writers.Go(func() { h.write(ctx, c, true) })
	}
	for range 4 {
		c := s.anyNode()
		writers.Go(func() { h.read(ctx, t, c) })
	}
	rounds, every := min(max(kills(t)/20, 2), 5), time.Duration(0) // up gives up on nodes that end more often
	if soak != "" {
		d, err := time.ParseDuration(soak)
		must(t, err)
		every = 20 * time.Second
		rounds = int(d / every)
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for round := range rounds {
		<-next.C
		next.Reset(every)
		ids := s.trusted(s.anyNode(), 3)
		h.await(t, len(h.snapshot().committed)+50)
		pid := s.primaryPID()
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		s.awaitEnd(pid)
		s.replaced(ids)
		t.Logf("round %d: %d writes acknowledged as committed", round, len(h.snapshot().committed))
	}
	h.await(t, len(h.snapshot().committed)+50)
	cancel()
	writers.Wait()
	t.Logf("%d writes acknowledged as committed, %d reads", len(h.committed), h.reads.Load())
	seen := map[writeset.TxID]int{}
	for id, tx := range h.committed {
		if other, twice := seen[tx]; twice {
			t.Errorf("records %d and %d are both %v", id, other, tx)
		}
		seen[tx] = id
	}
	for k := range 3 {
		c := s.clientOf([]string{fmt.Sprintf("https://127.0.0.%d:%s", k+1, s.port)}, s.user())
		for id, tx := range h.committed {
			eventually(t, fmt.Sprintf("record %d, committed at %v, at node %d", id, tx, k), func() error {
				status, err := c.Status(t.Context(), tx)
				if err != nil || status != client.Committed {
					return fmt.Errorf("%s, %w", status, err)
				}
				resp, err := c.Do(t.Context(), client.Request{Path: fmt.Sprint("/app/log/private?id=", id)})
				if err == nil && string(resp.Body) != fmt.Sprintf(`{"msg":"message %d"}`, id) {
					err = fmt.Errorf("got %s", resp.Body)
				}
				return err
			})
		}
		c.Close()
	}
	s.interrupt()
	s.checkLedgers()
}

// read reads records that were acknowledged as committed, until ctx ends: each is there, as
// it was written, whatever becomes of the primary.
func (h *history) read(ctx context.Context, t *testing.T, c *client.Client) {
	for ctx.Err() == nil {
		h.mu.Lock()
		id := 0
		for id = range h.committed { // any
			break
		}
		h.mu.Unlock()
		if id == 0 {
			<-time.After(10 * time.Millisecond)
			continue
		}
		resp, err := c.Do(ctx, client.Request{Path: fmt.Sprint("/app/log/private?id=", id), Wait: client.ForCommit})
		var e *client.Error
		switch {
		case errors.As(err, &e) && e.Status == http.StatusNotFound:
			t.Errorf("record %d, acknowledged as committed, is not there: %v", id, err)
		case err != nil: // no answer is no wrong one
		case string(resp.Body) != fmt.Sprintf(`{"msg":"message %d"}`, id):
			t.Errorf("record %d reads %s", id, resp.Body)
		default:
			h.reads.Add(1)
		}
	}
}

// replaced waits until a node that was not there before is trusted, and all have a vote:
// only then does the service survive another loss.
func (s *sandbox) replaced(before map[string]bool) {
	s.t.Helper()
	eventually(s.t, "the dead node is replaced", func() error {
		fresh := false
		for id := range s.trusted(s.anyNode(), 3) {
			fresh = fresh || !before[id]
		}
		if !fresh {
			return errors.New("the nodes are the same")
		}
		for k := range 3 {
			c := s.clientOf([]string{fmt.Sprintf("https://127.0.0.%d:%s", k+1, s.port)}, s.user())
			defer c.Close()
			var consensus struct {
				Details struct {
					Learners map[string]uint64 `json:"learners"`
				} `json:"details"`
			}
			if err := c.Get(s.t.Context(), "/node/consensus", nil, &consensus); err != nil {
				return err
			}
			if len(consensus.Details.Learners) > 0 {
				return errors.New("one has no vote yet")
			}
		}
		return nil
	})
}

// primaryPID is the process of the node that leads.
func (s *sandbox) primaryPID() int {
	s.t.Helper()
	var pid int
	eventually(s.t, "somebody leads", func() error {
		for k := range 3 {
			place := fmt.Sprintf("127.0.0.%d:%s", k+1, s.port)
			c := s.clientOf([]string{"https://" + place}, s.user())
			_, err := c.Do(s.t.Context(), client.Request{Path: "/node/primary"})
			c.Close()
			if err != nil {
				continue
			}
			homes, err := filepath.Glob(filepath.Join(s.dir, "workspace", "sandbox_*", "config.json"))
			if err != nil {
				return err
			}
			slices.Reverse(homes)
			for _, file := range homes { // the newest node of the place
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				id, err := os.ReadFile(filepath.Join(filepath.Dir(file), "node.pid"))
				if err != nil || !strings.Contains(string(text), `"bind_address": "`+place+`"`) {
					continue
				}
				if pid, err = strconv.Atoi(strings.TrimSpace(string(id))); err == nil && running(pid) {
					return nil
				}
			}
		}
		return errors.New("nobody does")
	})
	return pid
}
