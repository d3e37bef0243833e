package apptest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/appbuild"
	"chancery/js"
)

// TestSamples runs the samples' own tests.
func TestSamples(t *testing.T) {
	for _, sample := range []string{"empty", "banking", "reconciliation", "roles", "logging/js"} {
		t.Run(sample, func(t *testing.T) {
			dir := filepath.Join("../../samples", sample)
			bundle, err := appbuild.Build(dir)
			if err != nil {
				t.Fatal(err)
			}
			tests, err := appbuild.Tests(dir)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			err = Run(t.Context(), bundle, tests, func(r Result) {
				if n++; r.Err != nil {
					t.Errorf("%s %s: %v\n%s", r.File, r.Name, describe(r.Err), strings.Join(r.Log, "\n"))
				}
			})
			if err != nil || n == 0 {
				t.Errorf("%d tests, %v", n, err)
			}
		})
	}
}

// write makes an application directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const appJSON = `{"endpoints": {
	"/x/{id}": {"get": {"js_module": "a.js", "js_function": "get", "mode": "readonly", "forwarding_required": "never", "authn_policies": ["user_cert", {"all_of": ["user_cert", "jwt"]}]},
		"post": {"js_module": "a.js", "js_function": "post", "mode": "readwrite", "forwarding_required": "always", "authn_policies": []}},
	"/past": {"get": {"js_module": "a.js", "js_function": "get", "mode": "historical", "forwarding_required": "never", "authn_policies": []}}}}`

const appSource = `interface T { n: number }

function fail(t: T): never {
  throw new RangeError("no " + t.n);
}
export function get(request: Request) { return {body: {id: request.params.id, q: request.query, h: request.headers, c: request.caller}}; }
export function post(request: Request) {
  const body = request.body.json();
  console.warn("posted", body);
  if (body.fail) fail({ n: 7 });
  ccf.kv.t.set(ccf.strToBuf("k"), ccf.strToBuf(body.text));
  return {statusCode: body.status ?? 200, body: new Uint8Array([1, 2]), headers: {"x-own": "yes"}};
}`

// outcomes runs one test file over the application, and returns why each test failed,
// "" where it passed, with the log.
func outcomes(t *testing.T, source string) map[string]Result {
	t.Helper()
	dir := write(t, map[string]string{"app.json": appJSON, "src/a.ts": appSource, "test/a.test.ts": source, "test/helper.ts": "export const two = 2;"})
	bundle, err := appbuild.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := appbuild.Tests(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]Result)
	if err := Run(t.Context(), bundle, tests, func(r Result) { out[r.Name] = r }); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOutcomes: what passes and what fails, with the reason and the line that the
// developer wrote.
func TestOutcomes(t *testing.T) {
	got := outcomes(t, `import { two } from "./helper";
export function testPasses() {
	const user = chancery.user({a: 1});
	const r = chancery.call({path: "/x/7?a=b%20c", headers: {"X-Own": 1}, caller: user});
	chancery.equal(r.body.json(), {id: "7", q: "a=b c", h: {"x-own": "1"}, c: user});
	chancery.equal(ccf.pemToId(user.cert), user.id);
	const p = chancery.call({method: "post", path: "/x/7", body: {text: "stored"}});
	chancery.equal([p.statusCode, p.body.arrayBuffer(), p.headers["x-own"], p.applied], [200, new Uint8Array([1, 2]), "yes", true]);
	chancery.equal(ccf.bufToStr(chancery.get("t", "k")), "stored");
	const refused = chancery.call({method: "POST", path: "/x/7", body: {text: "other", status: 400}});
	chancery.equal([refused.applied, ccf.bufToStr(chancery.get("t", "k"))], [false, "stored"]);
	chancery.equal([chancery.call({path: "/y"}).statusCode, chancery.call({method: "PUT", path: "/x/1"}).statusCode], [404, 405]);
	chancery.equal([undefined, {}, chancery.member()].map((caller) => chancery.call({path: "/x/1", caller: caller && {policy: "jwt", ...caller}}).statusCode), [401, 401, 401]);
	chancery.equal(chancery.call({path: "/x/1", caller: {policy: ["user_cert", "jwt"]}}).statusCode, 200);
	chancery.equal(ccf.bufToStr(ccf.strToBuf("x")), "x");
}
export function testFresh() { chancery.equal(chancery.get("t", "k"), undefined); }
export function testUnequal() {
	chancery.equal({a: two, b: [1]}, {b: [1], a: 3}, "what");
}
export function testThrows() { throw "thrown"; }
export function testAppFails() {
	const r = chancery.call({method: "POST", path: "/x/1", body: {fail: true}});
	chancery.equal(r.statusCode, 200, r.body.json().error.details[0].trace);
}
export function testPast() { chancery.call({path: "/past"}); }
export function testWrites() { ccf.kv.t.set(ccf.strToBuf("a"), ccf.strToBuf("b")); }
export const helper = () => { throw new Error("no test"); };
`)
	for name, want := range map[string]string{
		"testPasses": "", "testFresh": "",
		"testUnequal":  `Error: what: got {"a":2,"b":[1]}, want {"a":3,"b":[1]}`,
		"testThrows":   "thrown",
		"testAppFails": "src/a.ts:4",
		"testPast":     "historical",
		"testWrites":   "read-only application",
	} {
		r, ok := got[name]
		switch {
		case !ok:
			t.Errorf("%s was not run", name)
		case want == "" && r.Err != nil:
			t.Errorf("%s: %v", name, describe(r.Err))
		case want != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), want)):
			t.Errorf("%s: %v, want %q", name, r.Err, want)
		}
	}
	if len(got) != 7 {
		t.Errorf("%d tests ran, want 7", len(got))
	}
	var x *js.Exception
	if !errors.As(got["testUnequal"].Err, &x) || !strings.Contains(x.Trace, "test/a.test.ts:19") {
		t.Errorf("the trace is %q", x.Trace)
	}
	if log := strings.Join(got["testAppFails"].Log, "\n"); !strings.Contains(log, `WARN  posted {"fail":true}`) || !strings.Contains(log, "src/a.ts:4") {
		t.Errorf("the log is %q", log)
	}
}

// TestCannotRun: an application that a service would refuse, and tests that do not compile.
func TestCannotRun(t *testing.T) {
	good := &appbuild.Bundle{Metadata: []byte(appJSON), Modules: []appbuild.Module{{Name: "a.js", Module: "export function get() {}\nexport function post() {}"}}}
	for want, run := range map[string]func() error{
		"the constitution refuses the application": func() error {
			return Run(t.Context(), &appbuild.Bundle{Metadata: []byte(`{"endpoints": {"/x": {"get": {}}}}`)}, nil, nil)
		},
		"Module 'none.js' could not be loaded": func() error {
			b := &appbuild.Bundle{Metadata: []byte(appJSON), Modules: []appbuild.Module{{Name: "a.js", Module: `import "./none.js"; export function get() {}`}}}
			return Run(t.Context(), b, nil, nil)
		},
		"test/a.test.js: SyntaxError": func() error {
			return Run(t.Context(), good, []appbuild.Module{{Name: "test/a.test.js", Module: "export function ("}}, nil)
		},
	} {
		if err := run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
