package js

import (
	"errors"
	"testing"

	"github.com/dop251/goja"

	"chancery/kv/writeset"
)

// TestRestriction: a caller may narrow what an endpoint does with maps, and never widen it.
func TestRestriction(t *testing.T) {
	source := `const k = ccf.strToBuf("k"), all = {
	get: (m) => m.get(k), has: (m) => m.has(k), keys: (m) => ccf.chancery.kv.keys(m), set: (m) => m.set(k, k), delete: (m) => m.delete(k), clear: (m) => m.clear(), size: (m) => m.size };
export function x() {
	const out = {};
	for (const name of ["free", "ours", "secret", "public:ccf.gov.members.info"]) {
		out[name] = Object.keys(all).filter((f) => { try { all[f](ccf.kv[name]); return true; } catch (e) { out.why = e.message; return false; } }).join();
	}
	return {body: out};
}`
	st := oneEndpoint(t, ModeReadWrite, source)
	got, err := ask(t, st, new(Apps), &Request{Method: "GET", Restrict: func(table string) (bool, bool, string) {
		switch table {
		case "ours":
			return true, false, "It is ours."
		case "secret":
			return false, false, "It is secret."
		}
		return true, true, ""
	}}, "/x")
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	want := `{"free":"get,has,keys,set,delete,clear,size","why":"Cannot call \"clear\" on table named public:ccf.gov.members.info. This table is read-only in current (application) execution context. See https://microsoft.github.io/CCF/main/audit/read_write_restrictions.html for more detail.","ours":"get,has,keys,size","secret":"","public:ccf.gov.members.info":"get,has,keys,size"}`
	if string(got.Body) != want {
		t.Errorf("got  %s\nwant %s", got.Body, want)
	}
	st = oneEndpoint(t, ModeReadWrite, `export function x() { try { ccf.kv.t.set(1, 2); } catch (e) { return {body: e.message}; } }`)
	got, err = ask(t, st, new(Apps), &Request{Method: "GET", Restrict: func(string) (bool, bool, string) { return true, false, "It is ours." }}, "/x")
	if err != nil || string(got.Body) != `Cannot call "set" on table named t. It is ours.` {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestGlobals: a caller's globals are there for its call, and for no other.
func TestGlobals(t *testing.T) {
	st := oneEndpoint(t, ModeReadWrite, `export function x() { return {body: typeof own === "undefined" ? "none" : own("a")}; }`)
	apps := new(Apps)
	for range 2 {
		got, err := ask(t, st, apps, &Request{Method: "GET", Extend: func(vm *goja.Runtime, global *goja.Object) {
			_ = global.Set("own", func(c goja.FunctionCall) goja.Value { return vm.ToValue("own " + c.Argument(0).String()) })
		}}, "/x")
		if err != nil || string(got.Body) != "own a" {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err = ask(t, st, apps, &Request{Method: "GET"}, "/x"); err != nil || string(got.Body) != "none" {
			t.Errorf("without: %+v, %v", got, err)
		}
	}
}

// TestOtherTables: an application may be deployed in other tables than governance's.
func TestOtherTables(t *testing.T) {
	st := oneEndpoint(t, ModeReadWrite, `export function x() { return {body: "governance's"}; }`)
	under := TablesUnder("public:own")
	tx := st.Begin()
	tx.Put(under.Endpoints, []byte("GET /x"), []byte(`{"js_module": "y.js", "js_function": "y", "mode": "readonly"}`))
	tx.Put(under.Modules, []byte("/y.js"), []byte(`export function y() { return {body: "own"}; }`))
	if err := under.Check(tx); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: 2}); err != nil {
		t.Fatal(err)
	}
	for want, apps := range map[string]*Apps{"governance's": {}, "own": {Tables: under}} {
		if got, err := ask(t, st, apps, &Request{Method: "GET"}, "/x"); err != nil || string(got.Body) != want {
			t.Errorf("got %+v, %v, want %s", got, err, want)
		}
	}
	tx = st.Begin()
	tx.Put(under.Modules, []byte("/y.js"), []byte(`import "./none.js"; export function y() {}`))
	if err := under.Check(tx); err == nil {
		t.Error("a module that does not link passes")
	}
	tx.Put(under.Endpoints, []byte("GET /x"), []byte(`{"mode": "nonsense"}`))
	if err := under.Check(tx); err == nil {
		t.Error("an endpoint that is none passes")
	}
}
