package tests

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
	found, files := s.found()
	for _, f := range found {
		s.t.Errorf("the private value stands in %s", f)
	}
	if files == 0 {
		s.t.Fatal("there was nothing to scan")
	}
}

// found lists the files that hold the private value, and counts those looked at.
func (s *sandbox) found() (found []string, files int) {
	s.t.Helper()
	forms := map[string][]byte{
		"plain": []byte(canary), "hex": []byte(hex.EncodeToString([]byte(canary))),
		"HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(canary)))), "UTF-16": utf16LE(canary),
	}
	for i := range 3 { // base64 looks otherwise by where in the text the canary begins
		text := base64.RawStdEncoding.EncodeToString([]byte("xx"[:i] + canary))
		forms[fmt.Sprint("base64 at ", i)] = []byte(text[4 : len(text)-4])
	}
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
				found = append(found, path+" ("+form+")")
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found, files
}

// utf16LE is an ASCII text in UTF-16, as it would stand in the memory of an interpreter.
func utf16LE(s string) []byte {
	out := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		out = append(out, s[i], 0)
	}
	return out
}

// TestLeakScanSees: the scan finds what it looks for, in each form.
func TestLeakScanSees(t *testing.T) {
	s := &sandbox{t: t, dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.dir, "workspace"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "workspace", "file")
	for _, text := range []string{
		canary, "..." + canary, hex.EncodeToString([]byte("a" + canary)), string(utf16LE(canary)),
		base64.StdEncoding.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte("a" + canary + "bc")), base64.URLEncoding.EncodeToString([]byte("ab" + canary)),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if found, _ := s.found(); len(found) == 0 {
			t.Errorf("not seen: %q", text)
		}
	}
	if err := os.WriteFile(file, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, _ := s.found(); len(found) != 0 {
		t.Errorf("seen where nothing is: %v", found)
	}
}

// TestHardening looks at a running node from outside: no core dumps, keys in memory that
// is locked and left out of dumps, and in no file but the key file, which is its
// owner's alone (rows 73 and 74 of the fault matrix).
func TestHardening(t *testing.T) {
	s := prepared(t)
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	proc := func(name string) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", n.cmd.Process.Pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if !regexp.MustCompile(`Max core file size +0 +0 `).MatchString(proc("limits")) {
		t.Errorf("the node may dump core:\n%s", proc("limits"))
	}
	locked := false
	for line := range strings.Lines(proc("smaps")) {
		flags, ok := strings.CutPrefix(line, "VmFlags:")
		locked = locked || ok && strings.Contains(flags, " lo") && strings.Contains(flags, " dd")
	}
	if !locked {
		t.Error("no memory is locked and left out of dumps")
	}
	info, err := os.Stat(filepath.Join(s.home(), "insecure_keys.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info.Mode(), err)
	}
	n.stop()
}
