package tests

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// storedSnapshot is the form of the file that Raft's snapshot lies in; see raftfsm.
type storedSnapshot struct {
	Meta   raft.SnapshotMeta
	Data   []byte
	Digest []byte
}

// forge changes a Raft snapshot's file as a host can: its digest is right.
func forge(t *testing.T, path string, change func(*storedSnapshot)) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var f storedSnapshot
	must(t, json.Unmarshal(text, &f))
	change(&f)
	meta, err := json.Marshal(f.Meta)
	must(t, err)
	digest := sha256.Sum256(append(meta, f.Data...))
	f.Digest = digest[:]
	text, err = json.Marshal(f)
	must(t, err)
	must(t, os.WriteFile(path, text, 0o600))
}

// TestFaultForgedRaftSnapshot: the host changes Raft's snapshot under a running primary, and
// what a node receives as one while it comes in. The primary believes memory alone, and what
// joins has the truth or halts; over the forged file no node begins. No view has two
// primaries.
func TestFaultForgedRaftSnapshot(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("processes")
	}
	m := newMesh(t)
	w := &network{t: t, dir: t.TempDir(), edits: []func(map[string]any){m.edit}}
	t.Cleanup(m.close)
	w.begin(1)
	r := &faultRun{w: w, m: m, views: map[uint64]string{}}
	big := strings.Repeat("x", 900<<10)
	const records = 40 // more than a node keeps of a snapshot in memory while it comes in
	for id := range records {
		if code, body, err := w.nodes[0].put(id, big); err != nil || code != http.StatusOK {
			t.Fatalf("%d %s %v", code, body, err)
		}
	}
	// A service that was recovered has a snapshot for its nodes from the start.
	dead := w.nodes[0]
	dead.ends(os.Kill)
	w.nodes = nil
	w.recover(dead, "member0")
	lead := w.nodes[0]
	r.leaders()

	path := filepath.Join(lead.dir, "ledger.raft", "raft.snapshot")
	forge(t, path, func(f *storedSnapshot) {
		f.Meta.Term += 100
		f.Meta.Index += 1 << 20
		f.Meta.Configuration.Servers = []raft.Server{{ID: "another", Address: "127.0.0.1:1"}}
		f.Data = []byte(strings.Replace(string(f.Data), `"leaf":"`, `"leaf":"AAAA`, 1))
	})

	victim := w.start("127.0.0.1:" + lead.ports[rpc])
	w.nodes = []*netNode{lead}
	m.set(lead, victim, link{delay: 2 * time.Millisecond}) // for each piece
	received := filepath.Join(victim.dir, "ledger.raft", "raft.snapshot.received")
	w.admit(victim)
	forged := false
	for !victim.gone() {
		f, err := os.OpenFile(received, os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		must(t, err)
		_, err = f.WriteAt([]byte("forged"), 8<<20)
		must(t, errors.Join(err, f.Close()))
		forged = true
	}
	// Raft may say behind it that its connections are gone.
	if log := victim.log(); !forged || victim.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(log, "taking the primary's snapshot: entry ") {
		t.Errorf("a node whose snapshot was forged (%t) while it came in ends with %v and says %s", forged, victim.err, lastLine(log))
	}
	r.leaders()

	m.heal(true)
	w.join()
	r.leaders()
	w.agree(w.nodes...)
	other := w.nodes[1]
	if code, body, err := other.put(records, "after"); err != nil || code != http.StatusOK {
		t.Errorf("a write afterwards: %d %s %v", code, body, err)
	}
	w.agree(w.nodes...)
	r.leaders()
	for _, n := range w.nodes {
		n.ends(os.Kill)
	}

	// Who begins over the forged file, its digest right or not, says which one it is.
	resume := func() string {
		t.Helper()
		must(t, os.RemoveAll(filepath.Join(lead.dir, "node.pid")))
		config := w.config(lead, "")
		config["command"].(map[string]any)["type"] = "Resume"
		m.edit(config)
		out, err := w.command(lead, config).CombinedOutput()
		if err == nil {
			t.Error("a node begins over a forged snapshot")
		}
		return lastLine(string(out))
	}
	for _, digest := range []string{"right", "wrong"} {
		if digest == "wrong" {
			text, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, []byte(strings.Replace(string(text), `"Term":`, `"Term":1`, 1)), 0o600))
		}
		if said := resume(); !strings.Contains(said, "ledger.raft/raft.snapshot") {
			t.Errorf("over a forged snapshot with the %s digest: %s", digest, said)
		}
	}
}
