package js

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestResolve follows QuickJS's rule for module names.
func TestResolve(t *testing.T) {
	for _, c := range []struct{ base, specifier, want string }{
		{"/probe.js", "./lib/show.js", "lib/show.js"},
		{"/probe.js", "lib/show.js", "lib/show.js"},
		{"/a/b/c.js", "./d.js", "/a/b/d.js"},
		{"/a/b/c.js", "../d.js", "/a/d.js"},
		{"/a/b/c.js", "../../d.js", "d.js"},
		{"/a/b/c.js", "../../../d.js", "../d.js"},
		{"/a/b/c.js", "./../d.js", "/a/d.js"},
		{"/a/b/c.js", "/x.js", "/x.js"},
		{"a/b.js", "./c.js", "a/c.js"},
		{"a/b.js", "./x/../c.js", "a/x/../c.js"},
	} {
		if got := resolve(c.base, c.specifier); got != c.want {
			t.Errorf("%s from %s: %s, want %s", c.specifier, c.base, got, c.want)
		}
	}
}

func TestBundle(t *testing.T) {
	modules := map[string]string{
		"/main.js":      `import d, { inc, n } from "./lib/count.js"; import * as all from "/lib/count.js"; import "./side.js"; export function f() { inc(); return [n, d, Object.keys(all).sort().join(), globalThis.side]; }`,
		"/lib/count.js": `export let n = 0; export function inc() { n++; } export default "default"; import "../main.js";`,
		"/side.js":      `globalThis.side = "ran";`,
		"/broken.js":    "export function f() {\n  return 1 +;\n}",
		"/lost.js":      `import { x } from "./nowhere.js"; export const f = () => x;`,
		"/unknown.js":   `import { nothing } from "./lib/count.js"; export const f = () => nothing;`,
		"/late.js":      `export const f = async () => { for await (const x of (async function* () { yield 1; })()) return x; };`,
		"/throws.js":    "\n\nthrow new Error('at load'); export function f() {}",
		"/dynamic.js":   `export function f() { return import("./side.js"); }`,
	}
	load := func(k string) (string, bool) { text, ok := modules[k]; return text, ok }
	run := func(entry string) (Value, error) {
		l, err := link(entry, load)
		if err != nil {
			return Value{}, err
		}
		return (&Module{name: entry, linked: l}).Call(t.Context(), Env{}, "f")
	}
	v, err := run("/main.js")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range v.Items() {
		got = append(got, i.String())
	}
	if s := strings.Join(got, " "); s != "1 default default,inc,n ran" {
		t.Errorf("got %q", s)
	}
	for entry, want := range map[string]string{
		"/broken.js":  "SyntaxError: Unexpected \";\" at /broken.js:2",
		"/lost.js":    "Module 'nowhere.js' could not be loaded",
		"/unknown.js": "SyntaxError: No matching export in \"lib/count.js\" for import \"nothing\" at /unknown.js:1",
		"/throws.js":  "Failed to execute /throws.js: Error: at load at <anonymous> (/throws.js:3)",
		"/none.js":    "Module '/none.js' could not be loaded",
	} {
		_, err := run(entry)
		var ex *Exception
		if !errors.As(err, &ex) {
			t.Errorf("%s: %v, want %s", entry, err, want)
			continue
		}
		first, _, _ := strings.Cut(strings.TrimSpace(ex.Trace), "\n")
		if got := strings.TrimSpace(ex.Reason + " " + first); got != want {
			t.Errorf("%s: got  %s\nwant %s", entry, got, want)
		}
	}
	if _, err := run("/late.js"); err != nil {
		t.Errorf("async generators: %v", err)
	}
}

// TestTracePositions: traces name lines of the modules as they were deployed.
func TestTracePositions(t *testing.T) {
	modules := map[string]string{
		"/a.js":     "// one\nimport { g } from './lib/b.js';\nexport function f() {\n  /* four */\n  return g();\n}\n",
		"/lib/b.js": "/* one\ntwo */\nexport const g = () => {\n  const x = null;\n  return x.y;\n};\n",
	}
	l, err := link("/a.js", func(k string) (string, bool) { text, ok := modules[k]; return text, ok })
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&Module{name: "/a.js", linked: l}).Call(t.Context(), Env{}, "f")
	var ex *Exception
	if !errors.As(err, &ex) {
		t.Fatal(err)
	}
	if want := "    at g (/lib/b.js:5)\n    at f (/a.js:5)\n"; ex.Trace != want {
		t.Errorf("trace:\n%swant:\n%s", ex.Trace, want)
	}
}

func TestModuleSize(t *testing.T) {
	_, err := Compile("big", "//"+strings.Repeat("x", MaxSourceBytes))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
	if _, err := Compile("nothing", ""); err != nil {
		t.Errorf("an empty module: %v", err)
	}
}

func TestNoExport(t *testing.T) {
	for _, source := range []string{"export const g = 1", "export const f = 1", "throw 1; export function f() {}"} {
		if _, err := call(t, Env{}, source, "f"); !errors.Is(err, ErrNoExport) {
			t.Errorf("%s: %v, want ErrNoExport", source, err)
		}
	}
	if _, err := call(t, Env{}, "export function f() { throw 1; }", "f"); errors.Is(err, ErrNoExport) {
		t.Error("a function that throws was called")
	}
}

// TestErrorStack: the stack property of errors has CCF's form.
func TestErrorStack(t *testing.T) {
	source := `class Mine extends TypeError { constructor(m) { super(m); this.name = "Mine"; } }
const g = () => { throw new Mine("x"); };
export function f() {
  try { g(); } catch (e) { return [e.stack, String(e), e instanceof Mine && e instanceof TypeError && e instanceof Error, Error("y").message, Object.getPrototypeOf(TypeError) === Error, Object.keys(e).join()]; }
}`
	v, err := call(t, Env{}, source, "f")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range v.Items() {
		got = append(got, i.String())
	}
	want := "    at <anonymous> (test:1)\n    at g (test:2)\n    at f (test:4)\n|Mine: x|true|y|true|name"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got  %q\nwant %q", s, want)
	}
}

// TestModuleNamesAreNoFiles: what lies in the working directory, and what esbuild reads
// into names, have no say in which module is meant.
func TestModuleNamesAreNoFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"constitution", "x.js", "a*b.js", "entry", "-", "a?b", `C:\x`, " ", "x.css", "x.json", "tsconfig.json", "package.json"} {
		if err := os.WriteFile(name, []byte("not JavaScript"), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Compile(name, "export function f() {}")
		if err != nil || len(m.Exports()) != 1 {
			t.Errorf("%q: %v", name, err)
		}
	}
}
