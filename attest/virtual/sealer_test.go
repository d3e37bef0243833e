package virtual_test

import (
	"bytes"
	"strings"
	"testing"

	"chancery/attest/virtual"
	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
)

// TestSealer: the key comes again from the file, and for the same code alone.
func TestSealer(t *testing.T) {
	fs := memfs.New()
	key := func(path string, code byte, tcb string) []byte {
		t.Helper()
		s, err := virtual.NewSealer(fs, path, [32]byte{code})
		if err != nil {
			t.Fatal(err)
		}
		key, err := s.SealingKey(tcb)
		if err != nil || len(key) != 32 {
			t.Fatalf("%d bytes, %v", len(key), err)
		}
		return key
	}
	first := key("a", 1, "00")
	for name, c := range map[string]struct {
		key  []byte
		same bool
	}{
		"again": {key("a", 1, "00"), true}, "another file": {key("b", 1, "00"), false},
		"other code": {key("a", 2, "00"), false}, "another version": {key("a", 1, "01"), false},
	} {
		if bytes.Equal(first, c.key) != c.same {
			t.Errorf("%s: the same key: %v", name, !c.same)
		}
	}
	text, err := fs.ReadFile("a")
	if err != nil || !strings.Contains(string(text), "INSECURE") {
		t.Errorf("%s, %v", text, err)
	}
	for _, bad := range []string{"", "{}", `{"sealing_key":"00"}`, `{"sealing_key":"x"}`} {
		if err := durable.WriteFileAtomic(fs, "c", []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := virtual.NewSealer(fs, "c", [32]byte{}); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}
