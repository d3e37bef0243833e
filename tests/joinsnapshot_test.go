package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/durable"
	"chancery/ledger"
	"chancery/server/api"
)

// TestJoinSnapshot has nodes begin with a snapshot: with one that lies in their directory,
// the next older one where it is damaged, and with one that they fetch when the service asks
// for it. Their ledgers begin behind it; what lies before comes from the others when it is
// asked for.
func TestJoinSnapshot(t *testing.T) {
	w := newNetwork(t, 1, withSnapshots(10))
	first := w.nodes[0]
	for i := range 45 {
		if status, body, err := first.put(i, "x"); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	var found []ledger.SnapshotFile
	w.until("there are snapshots", func() (err error) {
		found, err = ledger.ListSnapshots(durable.OS(), filepath.Join(first.dir, "snapshots"))
		if err == nil && len(found) < 3 {
			err = errors.New("too few")
		}
		return err
	})

	second := w.place()
	dir := filepath.Join(second.dir, "snapshots")
	must(t, os.Mkdir(dir, 0o755))
	for i, f := range found[:2] {
		data, err := os.ReadFile(f.Path)
		must(t, err)
		if i == 0 {
			data[len(data)/3] ^= 1
		}
		must(t, os.WriteFile(filepath.Join(dir, f.String()), data, 0o644))
	}
	w.launch(second, w.config(second, "127.0.0.1:"+first.ports[rpc]))
	w.trust(second)
	second.begins(found[1].Seqno)
	if _, err := os.Stat(filepath.Join(dir, found[0].String()+".ignored")); err != nil {
		t.Errorf("the damaged snapshot is not set aside: %v", err)
	}

	old := "2.5"
	want := w.receipt(first, old)
	if code, at, err := second.get(away, "/node/ledger_chunk?since=5"); err != nil || code != http.StatusPermanentRedirect {
		t.Errorf("the chunk with seqno 5: %d %s %v", code, at, err)
	}
	if got := w.receipt(second, old); !bytes.Equal(got, want) {
		t.Errorf("receipt of %s: %s, want %s", old, got, want)
	}
	w.receipt(second, "2.1")
	w.agree(first, second) // in their files, too
	r, err := ledger.ParseReceipt(want)
	must(t, err)
	must(t, r.Verify(w.service))

	// The node that began with a snapshot leads; it wants others to begin with one that is
	// no older. The third has an older one, and fetches another.
	w.retire(first)
	for i := range 12 {
		if status, body, err := second.put(i, "y"); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	// Its chunks of old are brought later, into a directory that it only reads.
	third := w.place()
	third.brings(found[2])
	config := w.config(third, "127.0.0.1:"+second.ports[rpc])
	late := filepath.Join(third.dir, "late")
	must(t, os.Mkdir(late, 0o755))
	config["ledger"].(map[string]any)["read_only_directories"] = []string{"late"}
	w.launch(third, config)
	w.trust(third)
	if at := third.startup(); at < found[1].Seqno {
		t.Errorf("the third node began at seqno %d", at)
	}
	if log := third.log(); !strings.Contains(log, "Fetching snapshot from 127.0.0.1:"+second.ports[rpc]+" (attempt 1/") {
		t.Errorf("the third node did not say that it fetches a snapshot:\n%s", log)
	}
	third.begins(third.startup())
	must(t, os.CopyFS(late, os.DirFS(filepath.Join(second.dir, "ledger"))))
	if got := w.receipt(third, old); !bytes.Equal(got, want) {
		t.Errorf("receipt of %s at the third node: %s, want %s", old, got, want)
	}

	third.begins(third.startup()) // the archive was read in its place

	fourth := w.place()
	config = w.config(fourth, "127.0.0.1:"+second.ports[rpc])
	fourth.brings(found[2])
	config["command"].(map[string]any)["join"].(map[string]any)["fetch_recent_snapshot"] = false
	w.launch(fourth, config)
	<-fourth.ended
	reason := fmt.Sprintf("requested to join from seqno %d which is older than this node startup seqno %d", found[2].Seqno, found[1].Seqno)
	if last := lastLine(fourth.log()); fourth.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(last, "StartupSeqnoIsOld") || !strings.Contains(last, reason) {
		t.Errorf("a node that may not fetch a snapshot ends with %v and says %s", fourth.err, last)
	}
}

// brings puts a snapshot into the directory of a node that is to begin.
func (n *netNode) brings(f ledger.SnapshotFile) {
	t := n.net.t
	t.Helper()
	data, err := os.ReadFile(f.Path)
	must(t, err)
	dir := filepath.Join(n.dir, "snapshots")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, f.String()), data, 0o644))
}

// startup is the seqno of the snapshot that a node began with.
func (n *netNode) startup() uint64 {
	n.net.t.Helper()
	var s api.State
	must(n.net.t, n.getJSON("/node/state", &s))
	return s.StartupSeqno
}

// begins checks that a node began with the snapshot at a seqno, and its ledger behind it.
func (n *netNode) begins(at uint64) {
	t := n.net.t
	t.Helper()
	if got := n.startup(); got != at {
		t.Errorf("%s: startup_seqno %d, want %d", n.name, got, at)
	}
	files, err := filepath.Glob(filepath.Join(n.dir, "ledger", fmt.Sprintf("ledger_%d*", at+1)))
	must(t, err)
	older, err := filepath.Glob(filepath.Join(n.dir, "ledger", "ledger_1-*"))
	must(t, err)
	if len(files) != 1 || len(older) != 0 {
		t.Errorf("%s: the ledger begins with %v, %v", n.name, files, older)
	}
}

// receipt asks a node until it has the receipt.
func (w *network) receipt(n *netNode, id string) (body []byte) {
	w.t.Helper()
	w.until("the receipt of "+id, func() error {
		code, data, err := n.get(rpc, "/app/receipt?transaction_id="+id)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, data)
		}
		body = data
		return err
	})
	return body
}

// retire has the service remove a node, and waits until it has stopped.
func (w *network) retire(n *netNode) {
	w.t.Helper()
	c := w.client(w.primary())
	defer c.Close()
	w.propose(w.asMember(c), action{"remove_node", map[string]any{"node_id": n.id}})
	<-n.ended
	for i, o := range w.nodes {
		if o == n {
			w.nodes = append(w.nodes[:i:i], w.nodes[i+1:]...)
		}
	}
}
