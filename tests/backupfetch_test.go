package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/durable"
	"chancery/ledger"
)

// TestBackupFetch: a backup that is told to gets the primary's snapshots, the same bytes;
// one that may not hold them says why, and serves on.
func TestBackupFetch(t *testing.T) {
	fetch := map[string]any{"enabled": true, "retry_interval": "50ms", "max_size": "200MB"}
	w := newNetwork(t, 1, func(c map[string]any) {
		withSnapshots(10)(c)
		c["snapshots"].(map[string]any)["backup_fetch"] = fetch
	})
	fetches := w.join()
	fetch["max_size"] = "100B"
	mayNot := w.join()
	snapshots := func(n *netNode) []ledger.SnapshotFile {
		t.Helper()
		found, err := ledger.ListSnapshots(durable.OS(), filepath.Join(n.dir, "snapshots"))
		must(t, err)
		return found
	}
	primary := w.nodes[0]
	for i := range 30 {
		if status, body, err := primary.put(i, "x"); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	w.until("the backup has the primary's newest snapshot", func() error {
		theirs, ours := snapshots(primary), snapshots(fetches)
		if len(theirs) == 0 || len(ours) == 0 || theirs[0].SnapshotName != ours[0].SnapshotName {
			return fmt.Errorf("primary %v, backup %v", theirs, ours)
		}
		return nil
	})
	for _, s := range snapshots(fetches) {
		ours, err := os.ReadFile(s.Path)
		must(t, err)
		theirs, err := os.ReadFile(filepath.Join(primary.dir, "snapshots", s.String()))
		must(t, err)
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%s has other bytes than the primary's", s)
		}
	}
	w.until("the other says why it has none", func() error {
		log, err := os.ReadFile(filepath.Join(mayNot.dir, "out"))
		if err == nil && !strings.Contains(string(log), "more than snapshots.backup_fetch.max_size (100)") {
			err = errors.New("it does not")
		}
		return err
	})
	if found := snapshots(mayNot); len(found) != 0 {
		t.Errorf("it has %v", found)
	}
	if status, _, err := mayNot.get(rpc, "/node/state"); err != nil || status != 200 {
		t.Errorf("it serves on: %d %v", status, err)
	}
}
