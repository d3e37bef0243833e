package tests

import (
	"os"
	"path/filepath"
	"testing"

	"chancery/client"
)

// TestFaultEditedChunk changes every byte of the ledger files under a running node:
// it must not issue a receipt from them (rows 15 to 17 of the fault matrix).
func TestFaultEditedChunk(t *testing.T) {
	s := newSandbox(t)
	s.up()
	c := s.client()
	defer c.Close()
	resp, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/log/private", Wait: client.ForCommit, JSON: map[string]any{"id": 1, "msg": "kept"}})
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(s.dir, "workspace", "sandbox_0", "ledger", "ledger_*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no ledger files: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			data[i] ^= 1
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(data, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.Do(t.Context(), client.Request{Method: "GET", Path: "/app/receipt?transaction_id=" + resp.TxID.String()})
	if err == nil && r.Status == 200 {
		t.Errorf("a receipt was issued from a damaged ledger: %s", r.Body)
	}
}
