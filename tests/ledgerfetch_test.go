package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLedgerFetch mirrors a running service's ledger with the command, in two calls with
// an interruption in between, and refuses what a node serves damaged.
func TestLedgerFetch(t *testing.T) {
	s := prepared(t)
	s.configure(withSnapshots(8)) // each ends a chunk
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	write := func(from, to int) {
		t.Helper()
		for id := from; id < to; id++ {
			if _, err := c.Do(t.Context(), put(id, fmt.Sprint("record ", id))); err != nil {
				t.Fatal(err)
			}
		}
	}
	chunks := func(dir string) []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "ledger_*.committed"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	own, copies := filepath.Join(s.home(), "ledger"), filepath.Join(s.dir, "mirror")
	write(1, 8)
	until(t, "a chunk is closed", func() bool { return len(chunks(own)) > 1 })
	const fetch = "bin/chancery ledger fetch mirror"
	out := s.sh(shellBlocks(t, "../docs/audit.md", 1)[0])
	for _, text := range []string{"chunks fetched", "the ledger is good", "2.1 ", "the snapshot is good", "the proof is good"} {
		if !strings.Contains(out, text) {
			t.Errorf("the commands of docs/audit.md do not print %q:\n%s", text, out)
		}
	}
	have := len(chunks(copies))
	write(8, 30)
	until(t, "more chunks are closed", func() bool { return len(chunks(own)) > have+2 })
	next := chunks(own)[have]
	for _, path := range chunks(own) { // Glob sorts ledger_10 before ledger_2
		if _, err := os.Stat(filepath.Join(copies, filepath.Base(path))); err != nil && firstOf(t, path) < firstOf(t, next) {
			next = path
		}
	}
	whole, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	// As an interrupted download leaves it.
	if err := os.WriteFile(filepath.Join(copies, "."+filepath.Base(next)+".part"), whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s.sh(fetch)
	if len(chunks(copies)) <= have+2 {
		t.Errorf("the mirror has %d chunks", len(chunks(copies)))
	}
	for _, path := range chunks(copies) {
		a, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(own, filepath.Base(path))); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs (%v)", filepath.Base(path), err)
		}
	}
	s.sh("bin/chancery ledger verify mirror --service-cert workspace/sandbox_common/service_cert.pem")

	before := map[string]bool{}
	for _, path := range chunks(own) {
		before[path] = true
	}
	write(30, 44)
	var bad string
	until(t, "yet another chunk is closed", func() bool {
		for _, path := range chunks(own) {
			if !before[path] {
				bad = path
			}
		}
		return bad != ""
	})
	data, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(bad, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out = s.sh(fetch + " 2>&1 || test $? = 5")
	if _, err := os.Stat(filepath.Join(copies, filepath.Base(bad)+".ignored")); err != nil || !strings.Contains(out, filepath.Base(bad)) {
		t.Errorf("of a damaged chunk: %v\n%s", err, out)
	}
}

// firstOf is the first seqno in a chunk's name.
func firstOf(t *testing.T, path string) int {
	t.Helper()
	var first, last int
	if _, err := fmt.Sscanf(filepath.Base(path), "ledger_%d-%d.committed", &first, &last); err != nil {
		t.Fatal(err)
	}
	return first
}
