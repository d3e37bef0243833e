package js

import (
	"errors"
	"testing"
)

func TestConstantNames(t *testing.T) {
	for source, want := range map[string]bool{
		`const a = 1, b = "x", c = [a, {d: b}]; export function f() { return c; }`:                                                                            true,
		`export class A { #x = new Map(); get x() { return this.#x; } static of() { return new A(); } } class B extends A {} export const f = () => new B();`: true,
		"const re = /^[0-9]+$/; const t = `a${1 + 2}`; export const f = (x) => re.test(x) && t;":                                                              true,
		`class Mine extends Error {} export function f() { let n = 0; n++; const o = {}; o.a = n; throw new Mine(o.a); }`:                                     true,
		`const table = () => ccf.kv.records; export function f() { table().clear(); }`:                                                                        true,
		`const handlers = { get() { return 1; }, "set"(v) { } }; export function f() { return handlers; }`:                                                    true,
		`let n = 0; export function f() { return n++; }`:                                                                                                      false,
		`let n; export function f() { return n; }`:                                                                                                            false,
		`const o = {}; export function f() { o.n = 1; }`:                                                                                                      false,
		`const o = {a: {}}; export function f() { o.a.n += 1; }`:                                                                                              false,
		`const o = {a: 1}; export function f() { delete o.a; }`:                                                                                               false,
		`let n = 0; export function f() { [n] = [1]; }`:                                                                                                       false,
		`let n = 0; export function f() { ({ a: n } = { a: 1 }); }`:                                                                                           false,
		`let n = 0; export function f() { for (n of [1, 2]); }`:                                                                                               false,
		`const o = {}; export function f() { for (o.k in {a: 1}); }`:                                                                                          false,
		`export function f() { f.count = (f.count || 0) + 1; return f.count; }`:                                                                               false,
		`const m = new Map(); export function f() { return m; }`:                                                                                              false,
		`const t = ccf.kv.records; export function f() { return t; }`:                                                                                         false,
		`const now = Date.now(); export function f() { return now; }`:                                                                                         false,
		`const g = /a/g; export function f() { return g.test("a"); }`:                                                                                         false,
		`class A { static cache = new Map(); } export const f = () => A.cache;`:                                                                               false,
		`class A { static { this.n = 1; } } export const f = () => A.n;`:                                                                                      false,
		`const count = (() => { let n = 0; return () => n++; })(); export function f() { return count(); }`:                                                   false,
		`const { stringify } = JSON; export function f() { return stringify(1); }`:                                                                            false,
		`console.log("loaded"); export function f() {}`:                                                                                                       false,
		`export let f = () => 1; f = () => 2;`:                                                                                                                false,
	} {
		l, err := link("/x.js", func(string) (string, bool) { return source, true })
		if err != nil {
			t.Errorf("%s: %v", source, err)
		} else if l.constant != want {
			t.Errorf("%s: constant is %v, want %v", source, l.constant, want)
		}
	}
}

// hidden are pairs of handlers of a constant module: the first changes an object of the
// module by another name than its own, the second must not see it.
var hidden = map[string][2]string{
	"array":     {`const l = list; l.push(3); return {body: l.length}`, `return {body: list.length === 2}`},
	"nested":    {`const o = table.inner; o.x = 1; return {body: o.x}`, `return {body: table.inner.x === undefined}`},
	"function":  {`const g = helper; g.cache = 1; return {body: g.cache}`, `return {body: helper.cache === undefined}`},
	"prototype": {`const p = A.prototype; p.m = () => 2; return {body: new A().m()}`, `return {body: new A().m() === 1}`},
	"instance":  {`const i = new A(); i.constructor.x = 1; return {body: A.x}`, `return {body: A.x === undefined}`},
	"arrow":     {`[arrow].forEach((f) => { f.x = 1; }); return {body: arrow.x}`, `return {body: arrow.x === undefined}`},
	"generator": {`const p = gen.prototype; p.x = 1; return {body: gen().x}`, `return {body: gen().x === undefined}`},
	"regexp":    {`const r = re; r.lastIndex = 7; return {body: r.lastIndex}`, `return {body: re.lastIndex === 0 && re.test("abc")}`},
	"accessor":  {`const d = Object.getOwnPropertyDescriptor(table, "g"); d.get.x = 1; return {body: 1}`, `return {body: Object.getOwnPropertyDescriptor(table, "g").get.x === undefined}`},
}

// TestConstantModulesDoNotLeak: what is written to an object of a constant module works
// for its request, also after a write to a map, and is gone in the next.
func TestConstantModulesDoNotLeak(t *testing.T) {
	const declared = `const list = [1, 2]; const table = { inner: {}, get g() { return 1; } }; function helper() {} class A { m() { return 1; } }
const arrow = () => 1; function* gen() {} const re = /b/;`
	for name, pair := range hidden {
		for _, write := range []string{"", `ccf.kv.t.set(ccf.strToBuf("k"), ccf.strToBuf("v"));`} {
			t.Run(name, func(t *testing.T) {
				source := declared + "\nexport function a() { " + write + pair[0] + " }\nexport function b() { " + pair[1] + " }"
				st := deploy(t, map[string]map[string]any{"GET /a": endpoint("x.js", "a"), "GET /b": endpoint("x.js", "b")}, map[string]string{"/x.js": source})
				var apps Apps
				app, err := apps.At(st.Begin())
				if err != nil {
					t.Fatal(err)
				}
				if l, err := app.bundle(app.endpoints[0]); err != nil || !l.constant {
					t.Fatalf("not taken for constant: %v", err)
				}
				for range 2 {
					_, err := ask(t, st, &apps, &Request{Method: "GET"}, "/a")
					if errors.Is(err, ErrAgain) {
						if write == "" {
							t.Error("to be executed again, and wrote nothing")
						}
						_, err = ask(t, st, &apps, &Request{Method: "GET"}, "/a")
					}
					if err != nil {
						t.Fatalf("first: %v %v", err, errors.Unwrap(err))
					}
					got, err := ask(t, st, &apps, &Request{Method: "GET"}, "/b")
					if err != nil || string(got.Body) != "true" {
						t.Fatalf("second: %+v, %v %v", got, err, errors.Unwrap(errOr(err)))
					}
				}
			})
		}
	}
}

// TestConstantModulesAreKept: an application that is replaced takes its modules along.
func TestConstantModulesAreKept(t *testing.T) {
	s := newSandbox(true, nil)
	load := func(a *App, text string) *exports {
		t.Helper()
		s.serve(a)
		l, err := link("/x.js", func(string) (string, bool) { return text, true })
		if err != nil {
			t.Fatal(err)
		}
		e, err := s.evaluated(l, "/x.js")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.evaluated(l, "/x.js"); err != nil || (again == e) != l.constant && s.loaded[l] == nil {
			t.Errorf("evaluated again: %v", err)
		}
		return e
	}
	first, second := new(App), new(App)
	load(first, "export function f() {}")
	if len(s.constants) != 1 {
		t.Errorf("%d constant modules, want 1", len(s.constants))
	}
	load(second, "let n = 0; export function f() { n++; }")
	if len(s.constants) != 0 {
		t.Errorf("%d constant modules of the old application are kept", len(s.constants))
	}
}
