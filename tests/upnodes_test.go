package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/client"
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

	pid := s.primaryHome(trusted).pid(t)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	s.awaitEnd(pid)
	eventually(t, "the dead node is replaced", func() error {
		for id := range s.trusted(s.anyNode(), 3) {
			if !trusted[id] {
				return nil
			}
		}
		return errors.New("the nodes are the same")
	})
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
	late := time.After(90 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := step()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: %v", what, err)
		}
	}
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

// homeDir is a node's working directory.
type homeDir string

func (h homeDir) pid(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(string(h), "node.pid"))
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	return pid
}

// primaryHome finds the directory of the node that leads.
func (s *sandbox) primaryHome(ids map[string]bool) homeDir {
	s.t.Helper()
	for k := range len(ids) {
		c := s.clientOf([]string{fmt.Sprintf("https://127.0.0.%d:%s", k+1, s.port)}, s.user())
		_, err := c.Do(s.t.Context(), client.Request{Path: "/node/primary"})
		c.Close()
		if err == nil {
			return homeDir(filepath.Join(s.dir, "workspace", fmt.Sprint("sandbox_", k)))
		}
	}
	s.t.Fatalf("none of %v leads", ids)
	return ""
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
		s.sh("bin/chancery ledger verify " + dir)
	}
}
