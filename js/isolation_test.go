package js

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"chancery/kv/writeset"
)

// leaks are pairs of handlers: what the first leaves behind must not reach the second.
var leaks = map[string][2]string{
	"module variable":    {`n++; return {body: n}`, `n++; return {body: n === 1}`},
	"module object":      {`o.x = 1; return {}`, `return {body: o.x === undefined}`},
	"global":             {`globalThis.leak = 1; return {}`, `return {body: typeof leak === "undefined" && globalThis.leak === undefined}`},
	"global by eval":     {`(0, eval)("var leak = 1"); return {}`, `return {body: typeof leak === "undefined"}`},
	"global replaced":    {`globalThis.Date = 1; return {}`, `return {body: typeof Date === "function"}`},
	"ccf":                {`ccf.leak = 1; return {}`, `return {body: ccf.leak === undefined}`},
	"ccf removed":        {`delete ccf.kv; return {}`, `return {body: typeof ccf.kv === "object"}`},
	"ccf replaced":       {`globalThis.ccf = 1; return {}`, `return {body: typeof ccf === "object"}`},
	"ccf function":       {`try { ccf.strToBuf.leak = 1 } catch {} return {}`, `return {body: ccf.strToBuf.leak === undefined}`},
	"crypto":             {`ccf.crypto.leak = 1; return {}`, `return {body: ccf.crypto.leak === undefined}`},
	"chancery":           {`ccf.chancery.leak = 1; ccf.chancery.kv.range = 2; return {}`, `return {body: ccf.chancery.leak === undefined && typeof ccf.chancery.kv.range === "function"}`},
	"chancery function":  {`try { ccf.chancery.kv.keys.leak = 1 } catch {} return {}`, `return {body: ccf.chancery.kv.keys.leak === undefined}`},
	"console":            {`console.log.leak = 1; return {}`, `return {body: console.log.leak === undefined}`},
	"handle":             {`try { Object.getPrototypeOf(ccf.kv.a).leak = 1 } catch {} return {}`, `return {body: ccf.kv.a.leak === undefined}`},
	"Object.prototype":   {`try { Object.prototype.leak = 1 } catch {} return {}`, `return {body: ({}).leak === undefined}`},
	"by proto":           {`try { ({}).__proto__.leak = 1 } catch {} return {}`, `return {body: ({}).leak === undefined}`},
	"built-in method":    {`try { [].__proto__.map = () => 1 } catch {} return {}`, `return {body: [1].map((x) => x)[0] === 1}`},
	"built-in function":  {`try { [].map.leak = 1 } catch {} return {}`, `return {body: [].map.leak === undefined}`},
	"generator":          {`try { (function* () {}).__proto__.leak = 1 } catch {} return {}`, `return {body: (function* () {}).leak === undefined}`},
	"async":              {`try { (async () => {}).__proto__.leak = 1 } catch {} return {}`, `return {body: (async () => {}).leak === undefined}`},
	"iterator":           {`try { [].values().__proto__.leak = 1 } catch {} return {}`, `return {body: [].values().leak === undefined}`},
	"regexp iterator":    {`try { "".matchAll(/a/g).__proto__.leak = 1 } catch {} return {}`, `return {body: "".matchAll(/a/g).leak === undefined}`},
	"typed array":        {`try { Uint8Array.__proto__.leak = 1 } catch {} return {}`, `return {body: Uint8Array.leak === undefined}`},
	"error class":        {`try { ccf.pemToId("x") } catch (e) { try { e.constructor.leak = e.__proto__.leak = 1 } catch {} } return {}`, `try { ccf.pemToId("x") } catch (e) { return {body: e.constructor.leak === undefined && e.leak === undefined} }`},
	"request body":       {`r.body.leak = 1; r.body.text = () => 1; return {}`, `return {body: r.body.leak === undefined && r.body.text() === ""}`},
	"metrics logging":    {`ccf.enableMetricsLogging(false); return {}`, `return {body: ccf.enableMetricsLogging(true) === true}`},
	"settings of errors": {`try { Error.stackTraceLimit = 0 } catch {} return {}`, `return {body: true}`},
}

// TestNoLeaks runs both handlers one after the other, with sources that do and do not
// look like changing built-ins, in the same process and so in the same interpreters.
func TestNoLeaks(t *testing.T) {
	for name, pair := range leaks {
		t.Run(name, func(t *testing.T) {
			source := fmt.Sprintf("let n = 0; const o = {}; export function a(r) { %s }\nexport function b(r) { %s }", pair[0], pair[1])
			st := deploy(t, map[string]map[string]any{"GET /a": endpoint("x.js", "a"), "GET /b": endpoint("x.js", "b")}, map[string]string{"/x.js": source})
			var apps Apps
			for range 2 {
				if _, err := ask(t, st, &apps, &Request{Method: "GET"}, "/a"); err != nil {
					t.Fatalf("first: %v", errors.Unwrap(err))
				}
				got, err := ask(t, st, &apps, &Request{Method: "GET"}, "/b")
				if err != nil || string(got.Body) != "true" {
					t.Fatalf("second: %+v, %v %v", got, err, errors.Unwrap(errOr(err)))
				}
			}
		})
	}
}

func errOr(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// TestPatchedBuiltIns: an application may change built-ins, for its own request.
func TestPatchedBuiltIns(t *testing.T) {
	for name, source := range map[string]string{
		"at load":          `Array.prototype.second = function () { return this[1]; }; export function x() { return {body: [1, 2].second()}; }`,
		"in a handler":     `export function x() { Object.prototype.two = 2; return {body: ({}).two}; }`,
		"in disguise":      `const p = Object.getPrototypeOf([]); export function x() { p["sec" + "ond"] = function () { return this[1]; }; return {body: [1, 2].second()}; }`,
		"load in disguise": `const p = Object.getPrototypeOf([]); p["sec" + "ond"] = function () { return this[1]; }; export function x() { return {body: [1, 2].second()}; }`,
	} {
		t.Run(name, func(t *testing.T) {
			st := deploy(t, map[string]map[string]any{"GET /x": endpoint("x.js", "x")}, map[string]string{"/x.js": source})
			var apps Apps
			for range 3 {
				got, err := ask(t, st, &apps, &Request{Method: "GET"}, "/x")
				if err != nil || string(got.Body) != "2" {
					t.Fatalf("got %+v, %v %v", got, err, errors.Unwrap(errOr(err)))
				}
			}
		})
	}
}

// TestOverride: assignments that built-ins inherit must work although those are frozen.
func TestOverride(t *testing.T) {
	source := `
class MyError extends Error { constructor(m) { super(m); this.name = "MyError"; this.message = m + "!"; } }
function Old() {} Old.prototype.toString = function () { return "old"; };
export function x() {
  const o = {}; o.toString = () => "own"; o.constructor = 1; o.hasOwnProperty = 2; o.valueOf = 3;
  const e = new MyError("m"); const f = () => 1; f.toString = () => "f"; const a = []; a.push = () => 7; a.concat = 1;
  return { body: [String(o), o.constructor, e.name, e.message, String(e), String(new Old()), String(f), a.push(), Object.keys(o).join(), [1].push(2)] };
}`
	st := deploy(t, map[string]map[string]any{"GET /x": endpoint("x.js", "x")}, map[string]string{"/x.js": source})
	var apps Apps
	got, err := ask(t, st, &apps, &Request{Method: "GET"}, "/x")
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	const want = `["own",1,"MyError","m!","MyError: m!","old","f",7,"toString,constructor,hasOwnProperty,valueOf",2]`
	if string(got.Body) != want {
		t.Errorf("got  %s\nwant %s", got.Body, want)
	}
	app, _ := apps.At(st.Begin())
	if l, _ := app.bundle(app.endpoints[0]); l.patches.Load() {
		t.Error("taken for a program that changes built-ins")
	}
}

// TestHeapNeighbours: of nine calls, the one that holds too much is stopped, and only
// that one.
func TestHeapNeighbours(t *testing.T) {
	source := `
export function greedy() { const a = []; for (;;) a.push(new Array(100).fill(a.length)); }
export function busy() { const end = Date.now() + 1500; let n = 0; while (Date.now() < end) { n += [1, 2, 3].map((x) => x + 1).length; } return {body: n > 0}; }`
	st := deploy(t, map[string]map[string]any{"GET /greedy": endpoint("x.js", "greedy"), "GET /busy": endpoint("x.js", "busy")}, map[string]string{"/x.js": source})
	tx := st.Begin()
	tx.Put(optionsTable, singleton, []byte(`{"max_execution_time_ms": 60000, "max_heap_bytes": 33554432, "max_stack_bytes": 1048576}`))
	if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: 2}); err != nil {
		t.Fatal(err)
	}
	apps := new(Apps)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := ask(t, st, apps, &Request{Method: "GET"}, "/busy"); err != nil || string(got.Body) != "true" {
				t.Errorf("neighbour: %+v, %v", got, err)
			}
		})
	}
	start := time.Now()
	_, err := ask(t, st, apps, &Request{Method: "GET"}, "/greedy")
	if !errors.Is(err, ErrHeap) {
		t.Errorf("greedy call: %v after %v, want ErrHeap", err, time.Since(start))
	}
	t.Logf("stopped after %v", time.Since(start))
	wg.Wait()
}
