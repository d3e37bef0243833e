package tests

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// typescript is the compiler that checks the sample's types. Building an application
// needs none: types are dropped without being looked at.
const typescript = "typescript@5.9.3"

// TestTypeScriptSample has TypeScript's own compiler check the sample's types.
func TestTypeScriptSample(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches a compiler")
	}
	npx, err := exec.LookPath("npx")
	if err != nil {
		t.Skip("skipped: the types of samples/logging/ts are checked where npx is installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, npx, "--yes", "--package", typescript, "--", "tsc", "--project", "../samples/logging/ts").CombinedOutput()
	if err == nil {
		return
	}
	if strings.Contains(string(out), "error TS") {
		t.Errorf("%v\n%s", err, out)
		return
	}
	t.Skipf("skipped: the compiler could not be fetched: %v\n%.500s", err, out)
}
