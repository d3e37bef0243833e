package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNodeCommands adds, replaces and removes nodes of a running `up`, which stand in
// zones; the next up brings back what is left.
func TestNodeCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("five processes")
	}
	s := newSandbox(t)
	s.up("--nodes", "2", "--zones", "a,b")
	c := s.client()
	defer c.Close()
	s.record(c, 1)
	s.zonesAre("a,b", "without zone a no majority")
	out := s.sh(shellBlocks(t, "../docs/operations.md", 2)[1]) // one more in zone c, and another for that at 127.0.0.2
	for _, want := range []string{"A new node serves at 127.0.0.3:" + s.port, "A new node serves at 127.0.0.4:" + s.port, "the one at 127.0.0.2:" + s.port + " is retired", ", zone c, 0 transactions behind"} {
		if !strings.Contains(out, want) {
			t.Errorf("docs/operations.md: no %q in:\n%s", want, out)
		}
	}
	s.zonesAre("a,b,c", "")
	s.sh("bin/chancery node replace 127.0.0.1") // the primary, with its address
	s.zonesAre("a,b,c", "")
	s.sh("bin/chancery node remove 127.0.0.3")
	s.zonesAre("a,b", "without zone a no majority")
	for _, refused := range []string{"node remove 127.0.0.9", "node add abc", "node remove ''", "node add --zone x --url https://127.0.0.4:8000"} {
		if out := s.sh("bin/chancery " + refused + " 2>&1 && echo ACCEPTED || true"); strings.Contains(out, "ACCEPTED") {
			t.Errorf("%s: %s", refused, out)
		}
	}
	s.interrupt()
	if out := s.sh("bin/chancery node add 2>&1 || true"); !strings.Contains(out, "no chancery up runs in this workspace") {
		t.Errorf("without up: %s", out)
	}
	s.up("--nodes", "1")
	if out := s.sh("for n in 1 2 3 4; do bin/chancery node remove 127.0.0.$n 2>&1 || true; done"); !strings.Contains(out, "it is the only node") {
		t.Errorf("removing the last node: %s", out)
	}
	s.interrupt()
}

// zonesAre checks where the nodes stand, their roles, and the note about it.
func (s *sandbox) zonesAre(want, note string) {
	s.t.Helper()
	var got struct {
		Nodes []struct{ Role, Zone string }
		Notes []string
	}
	eventually(s.t, "the nodes stand in "+want, func() error {
		out := s.sh("bin/chancery status -o json")
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			return err
		}
		zones := map[string]bool{}
		for _, n := range got.Nodes {
			if n.Role == "primary" || n.Role == "backup" {
				zones[n.Zone] = true
			}
		}
		if len(zones) != len(got.Nodes) || len(zones) != len(strings.Split(want, ",")) {
			return fmt.Errorf("%s", out)
		}
		for _, z := range strings.Split(want, ",") {
			if !zones[z] {
				return fmt.Errorf("zone %s: %s", z, out)
			}
		}
		return nil
	})
	notes := strings.Join(got.Notes, "; ")
	if note != "" && !strings.Contains(notes, note) || note == "" && strings.Contains(notes, "zone") {
		s.t.Errorf("the notes are %q, want %q", notes, note)
	}
}

// TestNodeCommandsByMember lets nodes in that run elsewhere, and replaces a dead one, with
// a member's key.
func TestNodeCommandsByMember(t *testing.T) {
	if testing.Short() {
		t.Skip("five processes")
	}
	w := newNetwork(t, 3)
	node := func(args ...string) (string, error) {
		cmd := exec.Command(binary(t, "chancery"), append(append([]string{"node"}, args...),
			"--url", "https://127.0.0.1:"+w.primary().ports[rpc], "--service-cert", filepath.Join(w.dir, "service_cert.pem"),
			"--cert", filepath.Join(w.dir, "member0_cert.pem"), "--key", filepath.Join(w.dir, "member0_privk.pem"))...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	do := func(want string, args ...string) {
		t.Helper()
		if out, err := node(args...); err != nil || !strings.Contains(out, want) {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	fresh := func() *netNode {
		n := w.start("127.0.0.1:" + w.primary().ports[rpc])
		w.until(n.name+" has asked", func() error {
			_, err := w.primary().nodeStatus(n.id)
			return err
		})
		return n
	}
	n3 := fresh()
	do("node "+n3.id+" takes part", "add", n3.id[:12])
	dead := w.nodes[1]
	must(t, dead.cmd.Process.Kill())
	<-dead.ended
	w.forget(dead)
	n4 := fresh()
	do("node "+n4.id+" takes part", "replace", dead.id, n4.id)
	do("node "+w.nodes[0].id+" is retired and forgotten", "remove", w.nodes[0].id)
	w.ends(w.nodes[0])
	if out, err := node("remove", "zz"); err == nil || !strings.Contains(out, "0 nodes") {
		t.Errorf("a node that is not there: %v %s", err, out)
	}
	if out, err := node("add"); err == nil || !strings.Contains(out, "ID is missing") {
		t.Errorf("no id: %v %s", err, out)
	}
	w.agree(w.nodes[1:]...)
	if _, err := os.Stat(filepath.Join(n4.dir, "ledger")); err != nil {
		t.Error(err)
	}
}
