package tests

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPeerFiles has a backup replace a ledger chunk that rots on its disk by the
// primary's copy.
func TestPeerFiles(t *testing.T) {
	w := newNetwork(t, 2, func(c map[string]any) { c["chancery"] = map[string]any{"scrub_rate": "100MB"} })
	primary := w.primary()
	backup := w.nodes[slices.IndexFunc(w.nodes, func(n *netNode) bool { return n != primary })]
	var chunk string
	same := func() error {
		found, err := filepath.Glob(filepath.Join(primary.dir, "ledger", "ledger_1-*.committed"))
		if err != nil || len(found) != 1 {
			return errors.New("the primary has not closed its first chunk")
		}
		want, err := os.ReadFile(found[0])
		if err != nil {
			return err
		}
		chunk = filepath.Join(backup.dir, "ledger", filepath.Base(found[0]))
		have, err := os.ReadFile(chunk)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, want) {
			return errors.New("the backup's first chunk differs")
		}
		return nil
	}
	w.until("the backup has the first chunk", same)
	flip(t, chunk)
	if same() == nil {
		t.Fatal("the chunk is not damaged")
	}
	w.until("the damaged chunk is replaced", same)
}
