package identity

import (
	"os"
	"path/filepath"
	"testing"
)

// vectorsDir finds the shared test vectors beside the repository, or skips.
func vectorsDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		v := filepath.Join(filepath.Dir(dir), "shared", "vectors")
		if _, err := os.Stat(v); err != nil {
			t.Skipf("SKIPPED: no test vectors at %s", v)
		}
		return v
	}
	t.Fatal("no go.mod above the test")
	return ""
}
