package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/client"
)

// TestFaultEditedChunk changes every byte of the ledger files under a running node:
// what was a receipt is an error then, which says that the files are damaged; what is in
// memory is served on; and a node that begins over such files refuses to, naming the
// place (rows 13 to 17 of the fault matrix).
func TestFaultEditedChunk(t *testing.T) {
	s := prepared(t)
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	resp, err := c.Do(t.Context(), put(1, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	receipt := client.Request{Method: "GET", Path: "/app/receipt?transaction_id=" + resp.TxID.String()}
	if _, err := c.Do(t.Context(), receipt); err != nil {
		t.Fatalf("before anything was changed: %v", err)
	}
	// What was looked up is kept in memory; this one was not.
	if resp, err = c.Do(t.Context(), put(1, "kept")); err != nil {
		t.Fatal(err)
	}
	receipt.Path = "/app/receipt?transaction_id=" + resp.TxID.String()
	paths, err := filepath.Glob(filepath.Join(s.home(), "ledger", "ledger_*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no ledger files: %v", err)
	}
	for _, path := range paths {
		flip(t, path)
	}
	r, err := c.Do(t.Context(), receipt)
	switch {
	case err == nil:
		t.Errorf("a receipt was issued from a damaged ledger: %s", r.Body)
	case !strings.Contains(err.Error(), ": 500 ") || !strings.Contains(err.Error(), "ledger_") || !strings.Contains(err.Error(), "offset"):
		t.Errorf("the receipt's error: %v", err)
	}
	// The log comes over a pipe, the answer over another connection.
	until(t, "the log names the damaged file", func() bool { return strings.Contains(n.log(), "ledger_") })
	if !n.gone() {
		s.holds(c, map[int]string{0: "before", 1: "kept"})
	}
	n.kill()
	n = s.start()
	if code := n.await(20 * time.Second); code != 1 || !strings.Contains(lastLine(n.log()), "ledger_") {
		t.Errorf("over damaged files: exit code %d\n%s", code, n.log())
	}
}

// flip changes every byte of a file in place.
func flip(t *testing.T, path string) {
	t.Helper()
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
