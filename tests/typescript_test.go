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
	checkTypes(t, "../samples/logging/ts")
}

// checkTypes has TypeScript's own compiler check the types of an application, in a test of
// its own, which is skipped where the compiler is out of reach.
func checkTypes(t *testing.T, dir string) {
	t.Run("types", func(t *testing.T) {
		if testing.Short() {
			t.Skip("fetches a compiler")
		}
		npx, err := exec.LookPath("npx")
		if err != nil {
			t.Skipf("SKIPPED: the types of %s are checked where npx is installed", dir)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, npx, "--yes", "--package", typescript, "--", "tsc", "--project", dir).CombinedOutput()
		switch {
		case err == nil:
		case strings.Contains(string(out), "error TS"):
			t.Errorf("%v\n%s", err, out)
		default:
			t.Skipf("SKIPPED: the compiler could not be fetched: %v\n%.500s", err, out)
		}
	})
}
