package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBuiltForSGX builds the node as it is built for EGo, and runs the tests of the
// platform in it: outside of an enclave it must refuse. EGo's own compiler is Go's.
func TestBuiltForSGX(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("SKIPPED: EGo's library needs a C compiler, and there is none")
	}
	if testing.Short() {
		t.Skip("builds the whole node")
	}
	for _, args := range [][]string{
		{"test", "-tags=ego", "-count=1", "chancery/attest/sgx"},
		{"build", "-tags=ego", "-o", filepath.Join(t.TempDir(), "chanceryd"), "chancery/cmd/chanceryd"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go %v: %v\n%s", args, err, out)
		}
	}
}
