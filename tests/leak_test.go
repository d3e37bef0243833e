package tests

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"chancery/client"
)

// canary is a private value that must stand in no file and no message.
const canary = "canary-5f1d0c9be27a4c33-private"

// TestLeak writes a canary into a private table and looks for it in every file of the
// workspace and in all that was printed (row 73 of the fault matrix).
func TestLeak(t *testing.T) {
	s := newSandbox(t)
	s.up()
	c := s.client()
	defer c.Close()
	post := client.Request{Method: "POST", Path: "/app/log/private", Wait: client.ForCommit, JSON: map[string]any{"id": 1, "msg": canary}}
	if _, err := c.Do(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	post.JSON = map[string]any{"id": []string{"no id"}, "msg": canary}
	if _, err := c.Do(t.Context(), post); err != nil && bytes.Contains([]byte(err.Error()), []byte(canary)) {
		t.Errorf("an error's body holds the private value: %v", err)
	}
	s.scan()
	s.interrupt()
	s.scan()
}

// scan looks through every file of the workspace, the logs and Raft's files included.
func (s *sandbox) scan() {
	s.t.Helper()
	forms := map[string][]byte{
		"plain": []byte(canary), "hex": []byte(hex.EncodeToString([]byte(canary))),
		"base64": []byte(base64.StdEncoding.EncodeToString([]byte(canary))[:40]),
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(s.dir, "workspace"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for form, text := range forms {
			if bytes.Contains(data, text) {
				s.t.Errorf("%s holds the private value (%s)", path, form)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		s.t.Fatalf("scanned %d files: %v", files, err)
	}
}
