package appbuild

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"chancery/samples"
)

const metadata = `{"endpoints": {"/x": {"get": {"js_module": "a.js", "js_function": "f"}}}}`

func names(b *Bundle) string {
	var all []string
	for _, m := range b.Modules {
		all = append(all, m.Name)
	}
	return strings.Join(all, " ")
}

func TestJavaScriptStaysAsItIs(t *testing.T) {
	const source = "import { g } from \"./b/c.js\";\nexport function f() { return g(); }\n"
	b, err := BuildFS(fstest.MapFS{
		"app.json":    {Data: []byte(metadata)},
		"src/b/c.js":  {Data: []byte("export function g() {}")},
		"src/a.js":    {Data: []byte(source)},
		"src/note.md": {Data: []byte("no module")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(b); got != "a.js b/c.js" {
		t.Errorf("modules %s", got)
	}
	if b.Modules[0].Module != source {
		t.Errorf("source changed: %q", b.Modules[0].Module)
	}
}

func TestTypeScriptAndPackages(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("app.json", metadata)
	write("src/a.ts", "import { g } from \"./g\"; import { p } from \"pack\";\nexport function f(n: number): number { return g(n) + p; }\n")
	write("src/g.ts", "export const g = (n: number) => n + 1;\n")
	write("node_modules/pack/package.json", `{"name": "pack", "module": "index.js"}`)
	write("node_modules/pack/index.js", "export const p = 40;\n")
	b, err := Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(b); got != "a.js" {
		t.Errorf("modules %s", got)
	}
	text := b.Modules[0].Module
	for _, want := range []string{"export {", "40"} {
		if !strings.Contains(text, want) {
			t.Errorf("module has no %q:\n%s", want, text)
		}
	}
	for _, unwanted := range []string{": number", "import "} {
		if strings.Contains(text, unwanted) {
			t.Errorf("module has %q:\n%s", unwanted, text)
		}
	}
}

func TestBadApplications(t *testing.T) {
	a := &fstest.MapFile{Data: []byte("export function f() {}")}
	tests := []struct {
		name  string
		files fstest.MapFS
		want  string
	}{
		{"no app.json", fstest.MapFS{"src/a.js": a}, "there is no app.json"},
		{"no src", fstest.MapFS{"app.json": {Data: []byte(metadata)}}, "there is no directory src"},
		{"not JSON", fstest.MapFS{"app.json": {Data: []byte("{")}, "src/a.js": a}, "app.json: unexpected end of JSON input"},
		{"no endpoints", fstest.MapFS{"app.json": {Data: []byte("{}")}, "src/a.js": a}, "app.json: endpoints is missing or empty"},
		{"missing module", fstest.MapFS{"app.json": {Data: []byte(metadata)}, "src/b.js": a}, `app.json names the module "a.js", which is not below src`},
		{"no js_module", fstest.MapFS{"app.json": {Data: []byte(`{"endpoints": {"/x": {"get": {}}}}`)}, "src/b.js": a}, "app.json: endpoint get /x has no js_module"},
		{"relative endpoint", fstest.MapFS{"app.json": {Data: []byte(`{"endpoints": {"x": {}}}`)}, "src/b.js": a}, `app.json: endpoint "x" does not begin with /`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := BuildFS(tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestSyntaxErrorNamesThePlace(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "src"), 0o755)
	os.WriteFile(filepath.Join(dir, "app.json"), []byte(metadata), 0o644)
	os.WriteFile(filepath.Join(dir, "src", "a.ts"), []byte("export function f( {\n"), 0o644)
	if _, err := Build(dir); err == nil || !strings.Contains(err.Error(), "a.ts:2:") {
		t.Errorf("got %v", err)
	}
}

// TestSamples builds what the repository ships.
func TestSamples(t *testing.T) {
	js, err := BuildFS(samples.Logging())
	if err != nil {
		t.Fatal(err)
	}
	if got := names(js); got != "callers.js history.js logging.js records.js request.js" {
		t.Errorf("modules %s", got)
	}
	ts, err := Build("../../samples/logging/ts")
	if err != nil {
		t.Fatal(err)
	}
	if got := names(ts); got != "logging.js" {
		t.Errorf("modules %s", got)
	}
	if string(js.Metadata) != string(ts.Metadata) {
		t.Error("the two samples have different endpoints")
	}
}

// TestLinkedPlaces: a bundle does not depend on where the application lies or on the
// working directory, and its source map names files of the application.
func TestLinkedPlaces(t *testing.T) {
	var texts []string
	for range 2 {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"app.json":   `{"endpoints": {"/x": {"get": {"js_module": "b/a.js", "js_function": "f"}}}}`,
			"src/b/a.ts": "import { g } from \"../c\";\nexport const f = () => g();\n", "src/c.ts": "export const g = (): number => 1;\n",
			"test/x.test.ts": "import { g } from \"../src/c\";\nexport const testG = () => g();\n", "test/b/y.test.js": "export const testY = () => 1;\n",
			"test/helper.ts": "export {};\n", "test/notes.test.md": "no module\n",
		} {
			file := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, b.Modules[0].Module)
		tests, err := Tests(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(&Bundle{Modules: tests}); got != "test/b/y.test.js test/x.test.ts" {
			t.Errorf("tests %s", got)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("two builds differ:\n%s\n%s", texts[0], texts[1])
	}
	_, encoded, ok := strings.Cut(texts[0], "sourceMappingURL=data:application/json;base64,")
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if !ok || err != nil || !strings.Contains(string(decoded), `"../src/c.ts"`) || strings.Contains(string(decoded), "number") {
		t.Errorf("the source map is %s, %v", decoded, err)
	}
	if tests, err := Tests(t.TempDir()); err != nil || len(tests) != 0 {
		t.Errorf("no tests: %v, %v", tests, err)
	}
}
