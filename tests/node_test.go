package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/client"
)

// node is a chanceryd process that a test runs itself, over the files of a sandbox.
type node struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process is gone

	mu  sync.Mutex
	out bytes.Buffer
}

func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.Write(p)
}

// log is what the process has printed.
func (n *node) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.String()
}

// home is the node's working directory.
func (s *sandbox) home() string { return filepath.Join(s.dir, "workspace", "sandbox_0") }

// configure edits the node's configuration.
func (s *sandbox) configure(edit func(config map[string]any)) {
	s.t.Helper()
	path := filepath.Join(s.home(), "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(text, &c); err != nil {
		s.t.Fatal(err)
	}
	edit(c)
	if text, err = json.Marshal(c); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// command sets command.type.
func command(kind string) func(map[string]any) {
	return func(c map[string]any) { c["command"].(map[string]any)["type"] = kind }
}

// start runs chanceryd in the node's directory, with what is configured there.
func (s *sandbox) start() *node {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.home(), "node.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return s.run("--config", "config.json")
}

// run runs chanceryd in the node's directory.
func (s *sandbox) run(args ...string) *node {
	s.t.Helper()
	n := &node{t: s.t, ended: make(chan struct{})}
	n.cmd = exec.Command(filepath.Join(s.dir, "bin", "chanceryd"), args...)
	n.cmd.Dir, n.cmd.Stdout, n.cmd.Stderr, n.cmd.Env = s.home(), n, n, []string{}
	if err := n.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = n.cmd.Wait()
		close(n.ended)
	}()
	s.t.Cleanup(n.kill)
	return n
}

// kill ends the process at once.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// stop ends the process cleanly.
func (n *node) stop() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	if code := n.await(15 * time.Second); code != 0 {
		n.t.Fatalf("exit code %d\n%s", code, n.log())
	}
}

// await waits for the end of the process and returns its exit code.
func (n *node) await(within time.Duration) int {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(within):
		n.t.Fatalf("the node does not end\n%s", n.log())
	}
	return n.cmd.ProcessState.ExitCode()
}

// gone says whether the process has ended.
func (n *node) gone() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	retry(t, what, 30*time.Second, 10*time.Millisecond, func() error {
		if !condition() {
			return errors.New("still not")
		}
		return nil
	})
}

// retry tries a step every so often, and fails the test when it has not succeeded in time.
func retry(t *testing.T, what string, within, every time.Duration, step func() error) {
	t.Helper()
	late := time.After(within)
	tick := time.NewTicker(every)
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

// open waits until the node serves the application.
func (n *node) open(c *client.Client) {
	n.t.Helper()
	until(n.t, "the node serves", func() bool {
		if n.gone() {
			n.t.Fatalf("the node ended\n%s", n.log())
		}
		return ready(n.t, c)
	})
}

// ready asks once whether the node serves the application.
func ready(t *testing.T, c *client.Client) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := c.Do(ctx, client.Request{Method: "GET", Path: "/node/ready/app"})
	return err == nil
}

// put is the request that stores a record and waits for its commit.
func put(id int, msg string) client.Request {
	return client.Request{Method: "POST", Path: "/app/log/private", Wait: client.ForCommit, JSON: map[string]any{"id": id, "msg": msg}}
}

// get reads a record without waiting for what else is not committed yet: a service of
// chancery up would.
func get(id int) client.Request {
	return client.Request{Method: "GET", Path: fmt.Sprintf("/app/log/private?id=%d", id), Header: http.Header{"Prefer": {"respond-async"}}}
}

// holds checks that the records are there.
func (s *sandbox) holds(c *client.Client, records map[int]string) {
	s.t.Helper()
	for id, msg := range records {
		resp, err := c.Do(s.t.Context(), get(id))
		if err != nil {
			s.t.Fatalf("record %d, acknowledged as committed: %v", id, err)
		}
		var got struct {
			Msg string `json:"msg"`
		}
		if err := json.Unmarshal(resp.Body, &got); err != nil || got.Msg != msg {
			s.t.Fatalf("record %d: got %.60s (%v), want %.60s", id, resp.Body, err, msg)
		}
	}
}
