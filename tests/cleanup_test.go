package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/client"
)

// TestFilesCleanup has a node remove old snapshots, and old chunks once a read-only
// directory holds them: receipts of what was in them are given as before, also by the
// next node, and the ledger verifies over both directories.
func TestFilesCleanup(t *testing.T) {
	s := prepared(t)
	archive := filepath.Join(s.home(), "archive")
	if err := os.Mkdir(archive, 0o700); err != nil {
		t.Fatal(err)
	}
	s.configure(withSnapshots(10))
	s.configure(func(c map[string]any) {
		c["ledger"] = map[string]any{"directory": "ledger", "read_only_directories": []string{"archive"}, "chunk_size": "20KB"}
		c["files_cleanup"] = map[string]any{"max_snapshots": 2, "max_committed_ledger_chunks": 1, "interval": "100ms"}
	})
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	first, err := c.Do(t.Context(), put(1, "first"))
	if err != nil {
		t.Fatal(err)
	}
	s.fill(c, 40, strings.Repeat("x", 1000))
	chunks := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(s.home(), "ledger", "*.committed"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	until(t, "a chunk has no copy", func() bool { return strings.Contains(n.log(), "because no matching copy was found") })
	if n := len(chunks()); n < 3 {
		t.Fatalf("only %d chunks", n)
	}
	for i, path := range chunks() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 { // a copy that is not one must not do
			data = append(data, 0)
		}
		if err := os.WriteFile(filepath.Join(archive, filepath.Base(path)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held := len(chunks())
	until(t, "chunks with a copy are removed", func() bool {
		return len(chunks()) < held && strings.Contains(n.log(), "Deleting old committed ledger chunk")
	})
	until(t, "two snapshots are left", func() bool { return len(s.snapshots()) == 2 })
	receipt := client.Request{Path: "/app/receipt?transaction_id=" + first.TxID.String()}
	if _, err := c.Do(t.Context(), receipt); err != nil {
		t.Errorf("the receipt of %v: %v", first.TxID, err)
	}
	n.stop()
	spoiled := filepath.Join(archive, filepath.Base(chunks()[0]))
	if !strings.HasPrefix(filepath.Base(spoiled), "ledger_1-") {
		t.Fatalf("the first chunk was removed, of which there is no true copy: %v", chunks())
	}
	if err := os.Remove(spoiled); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	n.open(c)
	s.holds(c, map[int]string{0: "before", 40: strings.Repeat("x", 1000)})
	if _, err := c.Do(t.Context(), receipt); err != nil {
		t.Errorf("the receipt of %v from the next node: %v", first.TxID, err)
	}
	n.stop()
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger workspace/sandbox_0/archive --service-cert workspace/sandbox_common/service_cert.pem")
}
