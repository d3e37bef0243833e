package js

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"chancery/kv"
	"chancery/kv/writeset"
)

func TestTemplate(t *testing.T) {
	for _, c := range []struct {
		template, path string
		want           []string // nil: no match
	}{
		{"/a/{b}", "/a/x", []string{"x"}},
		{"/a/{b}", "/a/", nil},
		{"/a/{b}", "/a/x/y", nil},
		{"/a/{b}", "/a/x/", nil},
		{"/{a}/{b}", "/1/%2F", []string{"1", "%2F"}},
		{"/p/{id}:withdraw", "/p/7:withdraw", []string{"7"}},
		{"/p/{id}:withdraw", "/p/7:x:withdraw", nil},
		{"/p/{id}:withdraw", "/p/7", nil},
		{"/p/{id}.json", "/p/a.json", []string{"a"}},
		{"/{a}", "/x", []string{"x"}},
		{"/{a}-{b}", "/x-y", []string{"x", "y"}},
	} {
		p, err := parseTemplate(c.template)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := p.match(c.path)
		if ok != (c.want != nil) || ok && !cmp.Equal(got, c.want) {
			t.Errorf("%s against %s: %q %t, want %q", c.path, c.template, got, ok, c.want)
		}
	}
	for _, bad := range []string{"/{a", "/{}", "/{a}/{a}"} {
		if _, err := parseTemplate(bad); err == nil {
			t.Errorf("template %s is accepted", bad)
		}
	}
}

func TestMatch(t *testing.T) {
	eps := map[string]map[string]any{}
	for _, k := range []string{"GET /echo/{a}/{b}", "POST /echo/{a}/{b}", "GET /echo/fixed/{b}", "GET /echo/exact/path", "PUT /x"} {
		eps[k] = endpoint("x.js", "x")
	}
	app, err := load(deploy(t, eps, map[string]string{"/x.js": ""}).Begin(), Tables{}.named())
	if err != nil {
		t.Fatal(err)
	}
	m, err := app.Match("GET", "/echo/1/2")
	if err != nil || m.Endpoint.Path != "/echo/{a}/{b}" || !cmp.Equal(m.Params, []Param{{"a", "1"}, {"b", "2"}}) {
		t.Errorf("template: %+v, %v", m, err)
	}
	if m, err = app.Match("GET", "/echo/exact/path"); err != nil || m.Endpoint.Path != "/echo/exact/path" || m.Params != nil {
		t.Errorf("exact: %+v, %v", m, err)
	}
	_, err = app.Match("GET", "/echo/fixed/2")
	var ambiguous *AmbiguousError
	if !errors.As(err, &ambiguous) || err.Error() != "Multiple potential matches for path: /echo/fixed/2\n  /echo/{a}/{b}\n  /echo/fixed/{b}" {
		t.Errorf("ambiguous: %v", err)
	}
	if m, err = app.Match("DELETE", "/echo/1/2"); err != nil || m.Endpoint != nil || !cmp.Equal(m.Allowed, []string{"GET", "POST"}) {
		t.Errorf("wrong method: %+v, %v", m, err)
	}
	if m, err = app.Match("GET", "/none"); err != nil || m.Endpoint != nil || m.Allowed != nil {
		t.Errorf("unknown: %+v, %v", m, err)
	}
	if m, _ = app.Match("GET", "/echo/{a}/{b}"); m.Endpoint == nil || len(m.Params) != 2 {
		t.Errorf("the template as a path: %+v", m)
	}
}

func TestParseEndpoint(t *testing.T) {
	e, err := parseEndpoint("GET /a", []byte(`{"js_module": "m.js", "js_function": "f", "authn_policies": ["user_cert", {"all_of": ["user_cert", "jwt"]}], "openapi_hidden": true, "interpreter_reuse": {"key": "k"}}`))
	if err != nil {
		t.Fatal(err)
	}
	e.Raw = nil
	want := &Endpoint{Method: "GET", Path: "/a", Module: "/m.js", Function: "f", Mode: ModeReadWrite, Forwarding: "always", Redirection: "to_primary",
		Policies: []Policy{{Name: "user_cert"}, {Name: "jwt+user_cert", AllOf: []string{"jwt", "user_cert"}}}, Hidden: true, ReuseKey: "k"}
	if d := cmp.Diff(want, e, cmp.AllowUnexported(Endpoint{})); d != "" {
		t.Error(d)
	}
	for key, value := range map[string]string{
		"GET":    `{}`,
		"GET /a": `{"mode": "odd"}`,
		"GET /b": `{"authn_policies": [{"all_of": ["a", "a"]}]}`,
		"GET /c": `{"authn_policies": [{"all_of": []}]}`,
		"GET /d": `{"authn_policies": [7]}`,
		"GET /e": `[]`,
		"GET /{": `{}`,
	} {
		if _, err := parseEndpoint(key, []byte(value)); err == nil {
			t.Errorf("%s %s is accepted", key, value)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("GET /a/{b}", `{"js_module":"a.js","js_function":"f","mode":"readonly","authn_policies":["jwt"]}`)
	f.Add("POST /{a}:{b}", `{"authn_policies":[{"all_of":["a"]}],"interpreter_reuse":{"key":"k"}}`)
	f.Fuzz(func(t *testing.T, key, value string) {
		e, err := parseEndpoint(key, []byte(value))
		if err != nil {
			return
		}
		if e.Method+" "+e.Path != key || !json.Valid(e.Raw) {
			t.Errorf("%q read as %q %q", key, e.Method, e.Path)
		}
		if e.template != nil {
			e.template.match(e.Path)
		}
	})
}

// TestDeployments: the kept application is replaced by what is deployed, also when the
// state goes back and another history takes its place at the same seqno.
func TestDeployments(t *testing.T) {
	version := func(text string) map[string]string {
		return map[string]string{"/x.js": `export function x() { return {body: "` + text + `"}; }`}
	}
	put := func(st *kv.Store, seqno uint64, text string) {
		tx := st.Begin()
		for k, v := range version(text) {
			tx.Put(modulesTable, []byte(k), []byte(v))
		}
		tx.Put(flushTable, singleton, []byte("true"))
		if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: seqno}); err != nil {
			t.Fatal(err)
		}
	}
	st := deploy(t, map[string]map[string]any{"GET /x": endpoint("x.js", "x")}, version("one"))
	apps := new(Apps)
	expect := func(want string) {
		t.Helper()
		got, err := ask(t, st, apps, &Request{Method: "GET"}, "/x")
		if err != nil || string(got.Body) != want {
			t.Fatalf("got %+v, %v; want %s", got, err, want)
		}
	}
	expect("one")
	first, _ := apps.At(st.Begin())
	if again, _ := apps.At(st.Begin()); again != first {
		t.Error("the same application was read twice")
	}
	put(st, 2, "two")
	expect("two")
	st.Rollback(1)
	expect("one")
	put(st, 2, "three")
	expect("three")
}

func TestCheckModules(t *testing.T) {
	if err := CheckModules(deploy(t, nil, map[string]string{"/a.js": `import "./b.js"`, "/b.js": ""}).Begin()); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{"export const = 1": "SyntaxError", `import "./c.js"`: "'c.js' could not be loaded"} {
		err := CheckModules(deploy(t, nil, map[string]string{"/a.js": text}).Begin())
		var ex *Exception
		if !errors.As(err, &ex) || !strings.Contains(ex.Reason, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]byte(`{"max_heap_bytes": 1, "max_stack_bytes": 0, "max_execution_time_ms": 18446744073709551615, "return_exception_details": true, "max_cached_interpreters": 0}`))
	if err != nil || o.MaxHeapBytes != 1 || o.MaxStackBytes != DefaultMaxStackBytes || o.MaxExecutionTime.Hours() != 1 || !o.ReturnExceptionDetails || o.MaxCachedInterpreters != 0 {
		t.Errorf("got %+v, %v", o, err)
	}
	if l := o.AtLeastDefaults(); l.MaxHeapBytes != DefaultMaxHeapBytes || l.MaxExecutionTime != o.MaxExecutionTime {
		t.Errorf("for governance: %+v", l)
	}
	if _, err := parseOptions([]byte("[]")); err == nil {
		t.Error("options that are no object are accepted")
	}
}

// TestTinyLimits: under limits that no call keeps, calls fail as any that exceed theirs.
func TestTinyLimits(t *testing.T) {
	st := deploy(t, map[string]map[string]any{"GET /x": endpoint("x.js", "x")},
		map[string]string{"/x.js": "export function x() { const end = Date.now() + 20; while (Date.now() < end); return {}; }"})
	for options, want := range map[string][2]string{
		`{"max_heap_bytes": 100}`:      {reasonThrown, "InternalError: out of memory"},
		`{"max_stack_bytes": 100}`:     {reasonThrown, "InternalError: stack overflow"},
		`{"max_execution_time_ms": 0}`: {reasonTimeout, "InternalError: interrupted"},
	} {
		tx := st.Begin()
		tx.Put(optionsTable, singleton, []byte(options))
		app, err := load(tx, Tables{}.named())
		if err != nil {
			t.Fatal(err)
		}
		m, _ := app.Match("GET", "/x")
		_, err = app.Execute(t.Context(), m.Endpoint, &Request{Tx: tx, Method: "GET", Path: "/app/x"})
		var failed *EndpointError
		if !errors.As(err, &failed) || failed.Message != want[0] || failed.Exception == nil || failed.Exception.Reason != want[1] {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// TestManyTemplates: as many endpoints as a proposal has room for, with templates that
// almost match, take a request some milliseconds.
func TestManyTemplates(t *testing.T) {
	const parts = 12
	endpoints := map[string]map[string]any{}
	for i := range 5000 {
		path := fmt.Sprintf("/p%d", i%7)
		for part := range parts {
			path += fmt.Sprintf("/{a%d}-{b%d}", part, part)
		}
		endpoints[fmt.Sprintf("GET %s/end%d", path, i)] = endpoint("x.js", "x")
	}
	st := deploy(t, endpoints, map[string]string{"/x.js": "export function x() { return {}; }"})
	app, err := new(Apps).At(st.Begin())
	if err != nil {
		t.Fatal(err)
	}
	used := ownCPU(t)
	for range 10 {
		path := "/p3" + strings.Repeat("/"+strings.Repeat("x", 100)+"-"+strings.Repeat("-", 100), parts)
		if m, err := app.Match("GET", path+"/end"); err != nil || m.Endpoint != nil {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if used = ownCPU(t) - used; used > 5*time.Second {
		t.Errorf("ten requests took %v", used)
	}
}

// TestNoBytecode: what the tables for QuickJS's bytecode hold has no say.
func TestNoBytecode(t *testing.T) {
	st := oneEndpoint(t, ModeReadOnly, `export function x() { return { body: "from source" }; }`)
	tx := st.Begin()
	tx.Put("public:ccf.gov.modules_quickjs_bytecode", []byte("/x.js"), []byte("poisoned"))
	tx.Put("public:ccf.gov.modules_quickjs_version", singleton, []byte(`"goja"`))
	if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: 2}); err != nil {
		t.Fatal(err)
	}
	if resp, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x"); err != nil || string(resp.Body) != "from source" {
		t.Errorf("%+v, %v", resp, err)
	}
}
