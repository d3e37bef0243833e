package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/client"
)

// forged is what a client sends to have it printed: a line of the log of its own making,
// with an escape sequence.
const forged = "hello\n2024-11-04T14:40:27.733657Z 0   [fail ] node/run.go:1 | forged \x1b[31m\u2028\u0085"

// echoApp writes a directory with an application that prints what it is sent.
func echoApp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"app.json":     `{"endpoints": {"/print": {"post": {"js_module": "print.js", "js_function": "print", "forwarding_required": "always", "authn_policies": ["no_auth"], "mode": "readwrite", "openapi": {}}}}}`,
		"src/print.js": `export function print (request) { console.warn(request.body.text()); return {} }`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLogInjection has an application print what a client sent: in both layouts it stays
// in its line, and the JSON layout says which node, in which view, at which transaction.
func TestLogInjection(t *testing.T) {
	s := newSandbox(t)
	s.up("--app", echoApp(t))
	c := s.anonymous()
	defer c.Close()
	print := client.Request{Method: "POST", Path: "/app/print", Body: []byte(forged), ContentType: "text/plain"}
	if _, err := c.Do(t.Context(), print); err != nil {
		t.Fatal(err)
	}
	s.interrupt()
	text, err := os.ReadFile(filepath.Join(s.home(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "forged") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "[fail ][app] ") || !strings.Contains(lines[0], `| hello\n2024-11-04T14:40:27.733657Z 0   [fail ] node/run.go:1 | forged \x1b[31m\u2028\u0085`) {
		t.Errorf("text: %q", lines)
	}

	s.configure(command("Resume"))
	s.configure(func(c map[string]any) { c["logging"] = map[string]any{"format": "Json"} })
	n := s.start()
	n.open(c)
	if _, err := c.Do(t.Context(), print); err != nil {
		t.Fatal(err)
	}
	n.stop()
	found := 0
	for line := range strings.Lines(n.log()) {
		var r struct {
			Time     string `json:"h_ts"`
			ThreadID string `json:"thread_id"`
			Level    string
			Tag      string
			File     string
			Number   string
			Msg      string
			Node     string
			View     uint64
			TxID     string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Time == "" || r.ThreadID == "" || r.Level == "" || r.File == "" || r.Number == "" {
			t.Fatalf("no record: %q (%v)", line, err)
		}
		if r.Tag == "app" {
			found++
			if r.Msg != forged || r.Level != "fail" || len(r.Node) != 64 || r.View < 3 || !strings.Contains(r.TxID, ".") {
				t.Errorf("%s", line)
			}
		}
	}
	if found != 1 {
		t.Errorf("JSON: %d records of the application\n%s", found, n.log())
	}
}
