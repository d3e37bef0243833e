// Package ccftest finds what CCF itself wrote, for tests to compare with: ledgers and
// receipts (vectors), and its answers to some thousand questions (answers). They lie in
// a folder "shared" beside the checkout. A newcomer's clone has none: such tests then
// skip, and say so.
package ccftest

import (
	"os"
	"path/filepath"
	"testing"
)

// Vectors returns the folder with the ledgers, receipts and secrets, or skips the test.
func Vectors(t testing.TB) string {
	t.Helper()
	return shared(t, "vectors")
}

// Answers returns the folder with the questions and CCF's answers, or skips the test.
func Answers(t testing.TB) string {
	t.Helper()
	return shared(t, "answers")
}

// shared finds a folder of shared beside the directory that has go.mod.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		found := filepath.Join(filepath.Dir(dir), "shared", name)
		if _, err := os.Stat(found); err != nil {
			t.Skipf("SKIPPED: what CCF wrote is not beside the repository: %v", err)
		}
		return found
	}
	t.Fatal("no go.mod above the test")
	return ""
}
