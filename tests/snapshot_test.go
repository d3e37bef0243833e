package tests

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/ledger"
	"chancery/server/api"
)

// snapshots lists the node's committed snapshots, the newest first.
func (s *sandbox) snapshots() []ledger.SnapshotFile {
	s.t.Helper()
	found, err := ledger.ListSnapshots(durable.OS(), filepath.Join(s.home(), "snapshots"))
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// withSnapshots takes one every few transactions, and lets operators at the files.
func withSnapshots(every int) func(map[string]any) {
	return func(c map[string]any) {
		c["snapshots"] = map[string]any{"directory": "snapshots", "tx_count": every}
		for _, i := range c["network"].(map[string]any)["rpc_interfaces"].(map[string]any) {
			i.(map[string]any)["enabled_operator_features"] = []string{"SnapshotRead", "LedgerChunkRead", "SnapshotCreate"}
		}
	}
}

// TestSnapshots takes snapshots by count and on demand, proves a key of each kind of
// table with the commands, and begins again from the newest one that is whole.
func TestSnapshots(t *testing.T) {
	s := prepared(t)
	s.configure(withSnapshots(8))
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	acked := map[int]string{0: "before"}
	var old *client.Response
	for id := 1; id <= 12; id++ {
		resp, err := c.Do(t.Context(), put(id, fmt.Sprint("private ", id)))
		if err != nil {
			t.Fatal(err)
		}
		acked[id] = fmt.Sprint("private ", id)
		if old == nil {
			old = resp
		}
	}
	public := client.Request{Method: "POST", Path: "/app/log/public", Wait: client.ForCommit, JSON: map[string]any{"id": 7, "msg": "in the light"}}
	if _, err := c.Do(t.Context(), public); err != nil {
		t.Fatal(err)
	}
	until(t, "a snapshot is taken by count", func() bool { return len(s.snapshots()) > 1 })
	newest := s.snapshots()[0]
	asked, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/node/snapshot:create"})
	if err != nil || asked.Status != http.StatusNoContent {
		t.Fatalf("snapshot:create: %v %v", asked, err)
	}
	until(t, "a snapshot is taken on demand", func() bool { return s.snapshots()[0].Seqno > max(newest.Seqno, asked.TxID.Seqno) })
	before := s.snapshots()[0].Seqno
	s.propose(map[string]any{"actions": []any{map[string]any{"name": "trigger_snapshot"}}})
	until(t, "a snapshot is taken when the members decide so", func() bool { return s.snapshots()[0].Seqno > before })
	s.downloads(c)
	n.stop()
	s.proves(s.snapshots()[0])

	receipt := client.Request{Method: "GET", Path: "/app/receipt?transaction_id=" + old.TxID.String()}
	n = s.start()
	n.open(c)
	newest = s.snapshots()[0]
	if !strings.Contains(n.log(), "starting from a snapshot") || !strings.Contains(n.log(), newest.String()) {
		t.Fatalf("the log does not name the snapshot %v\n%s", newest, n.log())
	}
	s.holds(c, acked)
	if _, err := c.Do(t.Context(), receipt); err != nil {
		t.Errorf("the receipt of %v, from before the snapshot: %v", old.TxID, err)
	}
	n.stop()

	flip(t, newest.Path)
	n = s.start()
	n.open(c)
	s.holds(c, acked)
	if log := n.log(); !strings.Contains(log, "a snapshot is not valid") || !strings.Contains(log, "starting from a snapshot") || strings.Contains(log, "starting from a snapshot file="+newest.String()) {
		t.Errorf("with the newest snapshot damaged:\n%s", log)
	}
	if _, err := os.Stat(newest.Path + ".ignored"); err != nil {
		t.Errorf("the damaged snapshot is not set aside: %v", err)
	}
	if _, err := c.Do(t.Context(), put(13, "afterwards")); err != nil {
		t.Error(err)
	}
	n.stop()
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger --secrets workspace/sandbox_0/insecure_keys.json --service-cert workspace/sandbox_common/service_cert.pem")
}

// TestSnapshotsByTime leaves a service alone: with snapshots.min_tx_count 2, CCF's default,
// a snapshot is taken of what was written last; with 0 there is one each interval.
func TestSnapshotsByTime(t *testing.T) {
	s := prepared(t)
	least := func(count int) {
		s.configure(func(c map[string]any) {
			c["snapshots"] = map[string]any{"directory": "snapshots", "time_interval": "300ms", "min_tx_count": count}
		})
	}
	least(2)
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	for id := range 2 {
		written, err := c.Do(t.Context(), put(id, "then nothing"))
		if err != nil {
			t.Fatal(err)
		}
		until(t, "what was written last is in a snapshot", func() bool {
			found := s.snapshots()
			return len(found) > 0 && found[0].Seqno > written.TxID.Seqno
		})
	}
	n.stop()

	least(0)
	n = s.start()
	n.open(c)
	before := len(s.snapshots())
	until(t, "an idle service has a snapshot each interval", func() bool { return len(s.snapshots()) >= before+3 })
	n.stop()
}

// downloads fetches the newest snapshot, whole and in parts.
func (s *sandbox) downloads(c *client.Client) {
	t := s.t
	t.Helper()
	raw := func(path string, header http.Header) *client.Response {
		t.Helper()
		r, err := c.Do(t.Context(), client.Request{Method: "GET", Path: path, Header: header})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return r
	}
	newest := s.snapshots()[0]
	want, err := os.ReadFile(newest.Path)
	if err != nil {
		t.Fatal(err)
	}
	got := raw("/node/snapshot/"+newest.String(), http.Header{"Want-Repr-Digest": {"sha-256=1"}})
	sum := sha256.Sum256(want)
	if !bytes.Equal(got.Body, want) || got.Header.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		t.Errorf("%d bytes instead of %d, digest %q", len(got.Body), len(want), got.Header.Get("Repr-Digest"))
	}
	part := raw("/node/snapshot/"+newest.String(), http.Header{"Range": {"bytes=10-19"}})
	if part.Status != http.StatusPartialContent || !bytes.Equal(part.Body, want[10:20]) {
		t.Errorf("a part: %d %x", part.Status, part.Body)
	}
}

// proves makes and checks a proof of a public and of a private key, and changes each
// part of it.
func (s *sandbox) proves(f ledger.SnapshotFile) {
	t := s.t
	t.Helper()
	const cert = " --service-cert workspace/sandbox_common/service_cert.pem"
	file := " workspace/sandbox_0/snapshots/" + f.String()
	s.sh("bin/chancery snapshot verify" + file + cert)
	service := s.service()
	for table, want := range map[string]string{"public:records": "in the light", "records": "private 7"} {
		out := s.sh("bin/chancery snapshot prove" + file + " " + table + " 7 --ledger workspace/sandbox_0/ledger --secrets workspace/sandbox_0/insecure_keys.json -o proof.json && bin/chancery snapshot verify proof.json" + cert)
		if !strings.Contains(out, want) || !strings.Contains(out, "the proof is good") {
			t.Errorf("%s: %s", table, out)
		}
		text, err := os.ReadFile(filepath.Join(s.dir, "proof.json"))
		if err != nil {
			t.Fatal(err)
		}
		var proof map[string]any
		if err := json.Unmarshal(text, &proof); err != nil {
			t.Fatal(err)
		}
		if private := table == "records"; private != (proof["salt"] != nil) {
			t.Errorf("%s: the proof has the salt %v", table, proof["salt"])
		}
		for _, member := range []string{"map", "key", "value", "version", "keys", "salt", "path", "map_path"} {
			bad := map[string]any{}
			for k, v := range proof {
				bad[k] = v
			}
			switch member {
			case "map":
				bad[member] = table + "x"
			case "version", "keys":
				bad[member] = 3
			case "path", "map_path":
				bad[member] = append(slices.Clone(proof[member].([]any)), map[string]string{"left": strings.Repeat("0", 64)})
			default:
				bad[member] = base64.StdEncoding.EncodeToString([]byte("other"))
			}
			changed, err := json.Marshal(bad)
			if err != nil {
				t.Fatal(err)
			}
			var p ledger.SnapshotProof
			if err := json.Unmarshal(changed, &p); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Verify(service); !errors.Is(err, ledger.ErrWrongProof) {
				t.Errorf("%s: with another %s: %v", table, member, err)
			}
		}
	}
}

// TestOldFiles keeps as many snapshots and ledger chunks as files_cleanup says, of the
// chunks those only that are nowhere else; reads on from where they are; and finds a
// damaged one by itself.
func TestOldFiles(t *testing.T) {
	s := prepared(t)
	s.configure(withSnapshots(8))
	archive := filepath.Join(s.home(), "archive")
	if err := os.Mkdir(archive, 0o700); err != nil {
		t.Fatal(err)
	}
	s.configure(func(c map[string]any) {
		c["files_cleanup"] = map[string]any{"max_snapshots": 2, "max_committed_ledger_chunks": 1, "interval": "50ms"}
		c["ledger"] = map[string]any{"directory": "ledger", "read_only_directories": []string{"archive"}}
		c["chancery"].(map[string]any)["scrub_rate"] = "100MB"
	})
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	acked := map[int]string{0: "before"}
	var first *client.Response
	for id := 1; id <= 40; id++ {
		resp, err := c.Do(t.Context(), put(id, "kept"))
		if err != nil {
			t.Fatal(err)
		}
		acked[id] = "kept"
		if first == nil {
			first = resp
		}
	}
	until(t, "old snapshots are removed", func() bool {
		return strings.Count(n.log(), "Deleting old snapshot") > 0 && len(s.snapshots()) == 2
	})
	chunks := func() []string {
		found, err := filepath.Glob(filepath.Join(s.home(), "ledger", "*.committed"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	before := chunks()
	for _, path := range before {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(archive, filepath.Base(path)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "old chunks are removed", func() bool { return len(chunks()) <= len(before)-2 })
	receipt := client.Request{Method: "GET", Path: "/app/receipt?transaction_id=" + first.TxID.String()}
	if _, err := c.Do(t.Context(), receipt); err != nil {
		t.Errorf("the receipt of %v, whose chunk is in the archive: %v", first.TxID, err)
	}
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger workspace/sandbox_0/archive --snapshots workspace/sandbox_0/snapshots")

	flip(t, filepath.Join(archive, "ledger_1-"+strings.Split(filepath.Base(before[0]), "-")[1]))
	until(t, "the damaged chunk is found", func() bool { return strings.Contains(n.log(), "a ledger chunk is damaged") })
	resp, err := c.Do(t.Context(), client.Request{Method: "GET", Path: "/node/metrics"})
	var m api.Metrics
	if err == nil {
		err = json.Unmarshal(resp.Body, &m)
	}
	if name := filepath.Base(before[0]); err != nil || m.LedgerScrub == nil || m.LedgerScrub.Bytes == 0 || !slices.Contains(m.LedgerScrub.Damaged, name) {
		t.Errorf("/node/metrics: %+v, %v", m.LedgerScrub, err)
	}
	s.holds(c, acked)
}
