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

// withSealing gives each node a location, whose name is its address, and a sealing key.
func withSealing(config map[string]any) {
	face := config["network"].(map[string]any)["rpc_interfaces"].(map[string]any)[rpc].(map[string]any)
	at := face["bind_address"].(string)
	config["sealing_recovery"] = map[string]any{"location": map[string]any{"name": "rack " + at, "address": at}}
	config["chancery"].(map[string]any)["sealing_key_file"] = "sealing.json"
}

// TestSealedRecovery: of two nodes that keep a share sealed, one's files are left. Its
// location recovers the service when members agree, with no member's share; not under
// another name, nor with another key. Then it is lost again, after a rekey.
func TestSealedRecovery(t *testing.T) {
	w := newNetwork(t, 2, withSealing)
	for life := 1; life <= 2; life++ {
		lead := w.primary()
		w.cli(lead, "gov", "rekey")
		c := w.client(lead)
		if _, err := c.Do(t.Context(), put(life, "before the disaster")); err != nil {
			t.Fatal(err)
		}
		c.Close()
		w.agree(w.nodes...)
		left := w.nodes[len(w.nodes)-1]
		for _, n := range w.nodes {
			n.ends(os.Kill)
		}
		w.nodes = nil
		if life == 1 {
			w.refusesUnsealing(left)
		}
		n := w.beginRecovery(left)
		w.cli(n, "gov", "open", "service_cert.pem", "--previous", "previous_cert.pem")
		w.recovered(n)
		c = w.client(n)
		for id := 1; id <= life; id++ {
			w.until("the private state is there", func() error {
				_, err := c.Do(t.Context(), get(id))
				return err
			})
		}
		c.Close()
	}
	n := w.nodes[0]
	n.ends(os.Kill)
	out, err := exec.Command(binary(t, "chancery"), "gov", "audit", filepath.Join(n.dir, "ledger")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "each holds") || !strings.Contains(string(out), "with a share that it had sealed") {
		t.Errorf("the audit says: %v\n%s", err, out)
	}
}

// refusesUnsealing begins the recovery at a location that left no share, and then with
// another key than the one that sealed.
func (w *network) refusesUnsealing(left *netNode) {
	w.t.Helper()
	key := filepath.Join(left.dir, "sealing.json")
	must(w.t, os.Rename(key, key+".kept"))
	n := w.beginRecovery(left)
	out, err := w.tryCLI("member0", n, "gov", "open", "service_cert.pem", "--previous", "previous_cert.pem")
	if err == nil || !strings.Contains(out, "Failed to unseal ledger secret for private recovery") {
		w.t.Errorf("with another key: %v\n%s", err, out)
	}
	n.ends(os.Kill)
	w.nodes = nil
	must(w.t, os.Rename(key+".kept", key))
	must(w.t, os.Remove(filepath.Join(n.dir, "node.pid")))

	path := filepath.Join(n.dir, "config.json")
	text, err := os.ReadFile(path)
	must(w.t, err)
	var config map[string]any
	must(w.t, json.Unmarshal(text, &config))
	config["sealing_recovery"].(map[string]any)["location"].(map[string]any)["name"] = "another rack"
	text, err = json.Marshal(config)
	must(w.t, err)
	must(w.t, os.WriteFile(path, text, 0o644))
	cmd := exec.Command(binary(w.t, "chanceryd"), "--config", "config.json")
	cmd.Dir = n.dir
	log, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(log), "Failed to find sealed recovery data for location (another rack) in ledger at ") {
		w.t.Errorf("another location: %v\n%s", err, log)
	}
	must(w.t, os.Rename(filepath.Join(w.dir, "previous_cert.pem"), filepath.Join(w.dir, "service_cert.pem")))
	must(w.t, os.WriteFile(filepath.Join(n.dir, "node.pid"), nil, 0o644)) // as a killed process leaves it
}

// deciding gives all nodes the protocol by which they find the best of their ledgers.
func deciding(failover string, all []*netNode) func(map[string]any) {
	var expected []any
	for _, n := range all {
		at := "127.0.0.1:" + n.ports[rpc]
		expected = append(expected, map[string]any{"name": "rack " + at, "address": at})
	}
	return func(config map[string]any) {
		config["sealing_recovery"].(map[string]any)["recovery_decision_protocol"] = map[string]any{
			"expected_locations": expected, "message_retry_timeout": "50ms", "failover_timeout": failover,
		}
	}
}

// TestRecoveryDecision: all nodes of a service end at once. Started again, they find the
// one whose ledger goes furthest, which opens the service without being asked; the others
// end, with its certificate at hand, and join it. Then it alone is left, and goes on
// without those that it does not hear.
func TestRecoveryDecision(t *testing.T) {
	w := newNetwork(t, 3, withSealing)
	c := w.client(w.primary())
	if _, err := c.Do(t.Context(), put(1, "before the disaster")); err != nil {
		t.Fatal(err)
	}
	w.agree(w.nodes...)
	backup := w.nodes[2]
	backup.ends(os.Kill) // its ledger ends here
	if _, err := c.Do(t.Context(), put(2, "without the third")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	w.agree(w.nodes[:2]...)
	lost := w.nodes
	for _, n := range lost {
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	w.edits = append(w.edits, deciding("0s", lost))
	must(t, os.Rename(filepath.Join(w.dir, "service_cert.pem"), filepath.Join(w.dir, "previous_cert.pem")))
	w.nodes = nil
	for _, n := range lost {
		w.startRecovery(n, "next.pem")
	}
	var winner *netNode
	w.until("one opens the service and the others end", func() error {
		var open []*netNode
		for _, n := range w.nodes {
			if !n.gone() {
				open = append(open, n)
			}
		}
		if len(open) != 1 {
			return fmt.Errorf("%d nodes run", len(open))
		}
		winner = open[0]
		return winner.says("/node/network", `"Open"`)
	})
	if winner.name == backup.name {
		t.Error("the node whose ledger ends earlier opens the service")
	}
	next, err := os.ReadFile(filepath.Join(winner.dir, "next.pem"))
	must(t, err)
	for _, n := range w.nodes {
		if n == winner {
			continue
		}
		if told, err := os.ReadFile(filepath.Join(n.dir, "next.pem")); n.err != nil || err != nil || string(told) != string(next) {
			t.Errorf("%s ended with %v; it was told of %s, %v", n.name, n.err, told, err)
		}
	}
	must(t, os.WriteFile(filepath.Join(w.dir, "service_cert.pem"), next, 0o644))
	w.nodes = []*netNode{winner}
	w.service, err = readCert(filepath.Join(w.dir, "service_cert.pem"))
	must(t, err)
	w.recovered(winner)
	w.edits = w.edits[:1]
	joined := w.join()
	c = w.client(winner)
	for id, msg := range map[int]string{1: "before the disaster", 2: "without the third"} {
		if resp, err := c.Do(t.Context(), get(id)); err != nil || !strings.Contains(string(resp.Body), msg) {
			t.Errorf("record %d: %v", id, err)
		}
	}
	c.Close()
	w.agree(winner, joined)
	winner.ends(os.Kill)
	joined.ends(os.Kill)
	w.edits = append(w.edits, deciding("300ms", lost))
	must(t, os.Rename(filepath.Join(w.dir, "service_cert.pem"), filepath.Join(w.dir, "previous_cert.pem")))
	w.nodes = nil
	alone := w.startRecovery(winner, "../service_cert.pem")
	w.until("the service has its next certificate", func() error {
		_, err := os.Stat(filepath.Join(w.dir, "service_cert.pem"))
		return err
	})
	w.recovered(alone)
	alone.ends(os.Kill)
	out, err := exec.Command(binary(t, "chancery"), "gov", "audit", filepath.Join(alone.dir, "ledger")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "opened by Failover of the locations") || !strings.Contains(string(out), "opened by Quorum of the locations") {
		t.Errorf("the audit says: %v\n%s", err, out)
	}
}
