package kv_test

import (
	"flag"
	"os"
	"testing"

	_ "pgregory.net/rapid" // defines the flags
)

// TestMain makes the random tests longer than rapid's defaults; the command
// line still has the last word.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "300", "rapid.steps": "60"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
