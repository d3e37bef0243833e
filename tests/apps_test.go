package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"chancery/client"
)

// TestAppsDoc runs the commands of docs/applications.md, changes the application while
// its service runs, and sees the change served; one that does not build changes nothing.
func TestAppsDoc(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: the commands of docs/applications.md need curl")
	}
	text, err := os.ReadFile("../docs/applications.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) != 5 {
		t.Fatalf("docs/applications.md has %d shell blocks, want 5", len(blocks))
	}
	s := newSandbox(t)
	if out := s.sh(blocks[0]); !strings.Contains(out, "1 tests passed") {
		t.Errorf("no test passed:\n%s", out)
	}
	s.serve(strings.Fields(strings.TrimPrefix(strings.TrimSpace(blocks[1]), "bin/chancery "))...)
	if out := s.sh(blocks[2]); strings.Count(out, `{"greeting":"Hello, ann","count":1}`) != 2 {
		t.Errorf("asked: %s", out)
	}

	c := s.client()
	defer c.Close()
	ask := func() string { return said(t, c, client.Request{Method: "GET", Path: "/app/hello/ann"}) }
	editIn := func(file, from, to string) {
		source, err := os.ReadFile(filepath.Join(s.dir, "hello", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, "hello", file), []byte(strings.ReplaceAll(string(source), from, to)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(from, to string) { editIn("src/app.ts", from, to) }
	edit("export function hello(", "export function hello((")
	until(t, "the mistake is reported", func() bool { return strings.Contains(s.out.text(), "not deployed: ") })
	if got := ask(); got != `200 {"greeting":"Hello, ann","count":1}` {
		t.Errorf("after a change that does not build: %s", got)
	}
	edit("hello((", "hello(")
	edit("Hello, ", "Good day, ")
	until(t, "the change is served", func() bool { return ask() == `200 {"greeting":"Good day, ann","count":1}` })
	edit("return { body: { greeting", `if (name === "bad") throw new Error("I am bad"); console.log("greeting", name); return { body: { greeting`)
	until(t, "what is printed is shown", func() bool { ask(); return strings.Contains(s.out.text(), "info  greeting ann") })
	bad := client.Request{Method: "GET", Path: "/app/hello/bad"}
	var thrown *client.Error
	if _, err := c.Do(t.Context(), bad); !errors.As(err, &thrown) || !strings.Contains(fmt.Sprint(thrown), "Exception thrown") {
		t.Errorf("the endpoint throws: %v", err)
	}
	until(t, "what is thrown is shown", func() bool {
		return strings.Contains(s.out.text(), "fail  Error: I am bad\n          at hello (/src/app.ts:13)")
	})
	if out := s.sh(blocks[3]); !strings.Contains(out, "Accepted") {
		t.Errorf("deployed: %s", out)
	}

	// Requests are kept from now on, and executed again: as they were, and by a changed
	// application.
	editIn("app.json", `"js_module"`, `"chancery": { "record": true }, "js_module"`)
	edit("Good day, ", "Good night, ")
	until(t, "requests are kept", func() bool { return ask() == `200 {"greeting":"Good night, ann","count":1}` })
	begin := blocks[2][:strings.Index(blocks[2], "$CURL -X")]
	const same = "the writes are those in the ledger"
	if out := s.sh(begin + blocks[4]); strings.Count(out, same) != 2 || strings.Count(out, `{"greeting":"Good night, bea","count":1}`) != 2 {
		t.Errorf("replayed: %s", out)
	}
	s.sh(`cp -r hello other && sed -i 's/countOf(name) + 1/countOf(name) + 2/' other/src/app.ts`) // hello is watched
	out := s.sh(begin + strings.Replace(blocks[4], "--app hello", "--app other || test $? = 5", 1))
	if strings.Count(out, same) != 1 || !strings.Contains(out, "greetings[\"bea\"]\n  ledger: \"2\"\n  replay: \"3\"\n") {
		t.Errorf("replayed with another application: %s", out)
	}
	if out := s.sh("bin/chancery app replay 2.1 2>&1 || test $? = 1"); !strings.Contains(out, "it keeps no request") {
		t.Errorf("a transaction without a record: %s", out)
	}
	s.interrupt()
}

// TestAppInit: every template passes its tests, types included where there is a compiler.
func TestAppInit(t *testing.T) {
	s := newSandbox(t)
	for _, template := range []string{"empty", "logging", "banking"} {
		out := s.sh("bin/chancery app init --template " + template + " " + template + " && bin/chancery app test " + template + " && bin/chancery app build " + template + " -o " + template + ".json")
		if !strings.Contains(out, "tests passed") {
			t.Errorf("%s: %s", template, out)
		}
		if out := s.sh("cd " + template + " && ../bin/chancery app test && ../bin/chancery app test . && ../bin/chancery app build -o ../again.json && cmp ../again.json ../" + template + ".json"); strings.Count(out, "tests passed") != 2 {
			t.Errorf("%s, from inside: %s", template, out)
		}
		checkTypes(t, filepath.Join(s.dir, template))
	}
}
