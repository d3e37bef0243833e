package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/client"
)

// TestSignals ends nodes by each signal that CCF's end by: exit code 0, the text of the
// signal in the log, nothing on standard error, and no PID file left.
func TestSignals(t *testing.T) {
	s := prepared(t)
	c := s.client()
	defer c.Close()
	for signal, text := range map[syscall.Signal]string{syscall.SIGTERM: "Terminated", syscall.SIGINT: "Interrupt", syscall.SIGHUP: "Hangup"} {
		n := s.start()
		n.open(c)
		for _, ignored := range []syscall.Signal{syscall.SIGPIPE} {
			if err := n.cmd.Process.Signal(ignored); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if code := n.await(10 * time.Second); code != 0 || !strings.Contains(n.log(), text+": the node stops") {
			t.Errorf("%v: exit code %d\n%s", signal, code, n.log())
		}
		if _, err := os.Stat(filepath.Join(s.home(), "node.pid")); err == nil {
			t.Errorf("%v: the PID file is left", signal)
		}
	}
}

// TestIgnoreFirstSIGTERM: the first one is announced, the second one ends the node.
func TestIgnoreFirstSIGTERM(t *testing.T) {
	s := prepared(t)
	s.configure(func(c map[string]any) { c["ignore_first_sigterm"] = true })
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	notice := func() bool {
		resp, err := c.Do(t.Context(), client.Request{Method: "GET", Path: "/node/state"})
		if err != nil {
			t.Fatal(err)
		}
		var state struct {
			StopNotice bool `json:"stop_notice"`
		}
		if err := json.Unmarshal(resp.Body, &state); err != nil {
			t.Fatal(err)
		}
		return state.StopNotice
	}
	if notice() {
		t.Error("the end is announced before any signal")
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the end is announced", notice)
	s.holds(c, map[int]string{0: "before"})
	n.stop()
}
