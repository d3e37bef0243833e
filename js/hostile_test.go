package js

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostile are handlers that would end the process, or never end, in a bare engine. Each
// must come to an end, by an error or otherwise, soon after the time limit at the latest.
var hostile = map[string]string{
	"parse deep":           `JSON.parse("[".repeat(5e6))`,
	"parse deep reviver":   `JSON.parse("[".repeat(5e6), (k, v) => v)`,
	"eval deep":            `eval("[".repeat(1e6))`,
	"eval unary":           `eval("!".repeat(1e6) + "1")`,
	"eval chain":           `eval("1" + "+1".repeat(1e6))`,
	"eval dots":            `eval("a" + ".a".repeat(1e6))`,
	"function deep":        `new Function("(".repeat(1e6))`,
	"function by instance": `(() => 1).constructor("[".repeat(1e6))`,
	"generator deep":       `(function* () {}).constructor("[".repeat(1e6))`,
	"async deep":           `(async () => {}).constructor("[".repeat(1e6))`,
	"regexp deep":          `new RegExp("(".repeat(1e6))`,
	"regexp by match":      `"x".match("(".repeat(1e6) + ")".repeat(1e6))`,
	"regexp classes":       `/a/.compile("(?:".repeat(1e6))`,
	"backtracking":         `/^(?=(a+)+$)a/.test("a".repeat(32) + "b")`,
	"backtracking replace": `("a".repeat(32) + "b").replace(/^(?=(a+)+$)a/g, "")`,
	"backtracking split":   `("a".repeat(32) + "b").split(/(?=(a+)+$)b/)`,
	"stringify deep":       `let a = []; for (let i = 0; i < 3e5; i++) a = [a]; JSON.stringify(a)`,
	"stringify deep list":  `let a = {}; for (let i = 0; i < 3e5; i++) a = {a}; JSON.stringify(a, ["a"])`,
	"stringify endless":    `JSON.stringify({toJSON() { return {a: this}; }})`,
	"string of arrays":     `let a = []; for (let i = 0; i < 3e5; i++) a = [a]; String(a)`,
	"stringify holes":      `return {body: new Array(4294967295)}`,
	"stringify length":     `const a = [1]; a.length = 4294967295; return {body: a}`,
	"stringify list holes": `JSON.stringify(new Array(4294967295), ["a"])`,
	"stringify many holes": `const a = new Array(4294967295); JSON.stringify([a, a, {a}], ["a"])`,
	"stringify proxy":      `JSON.stringify(new Proxy([], {get: (t, k) => k === "length" ? 2 ** 53 - 1 : undefined}))`,
	"stringify proxy list": `JSON.stringify(new Proxy(new Array(4294967295), {}), ["a"])`,
	"print holes":          `const a = []; a.length = 4294967295; console.log(a)`,
	"groups":               `const r = /x/; Object.defineProperty(r, "exec", {value: () => ({length: 2 ** 32, index: 0, 0: "x"})}); "xx".replace(r, "y")`,
	"groups by getter":     `let n = 0; class R extends RegExp { get exec() { return n++ ? () => ({length: 2 ** 32, index: 0, 0: "x"}) : RegExp.prototype.exec; } } "xx".replace(new R("x"), "y")`,
	"groups by split":      `class R extends RegExp { exec() { this.lastIndex = 1; return {length: 2 ** 32, index: 0, 0: "x"}; } } "xx".split(new R("x"))`,
	"groups by proxy":      `RegExp.prototype[Symbol.replace].call(new Proxy(/x/, {get: (t, k) => k === "exec" ? () => ({length: 2 ** 32, index: 0, 0: "x"}) : k === "flags" ? "" : t[k]}), "x", "y")`,
	"bigint shift":         `let n = 100000000000n; return {body: String((1n << n) > 0n)}`,
	"bigint shift back":    `let n = -100000000000n; 1n >> n`,
	"bigint shift literal": `1n << 100000000000n`,
	"bigint shift assign":  `let a = 1n; let n = 100000000000n; a <<= n`,
	"bigint shift object":  `1n << ({valueOf: () => 100000000000n})`,
	"bigint shift eval":    `eval("1n << 100000000000n")`,
	"bigint shift new":     `new Function("n", "return 1n << n")(100000000000n)`,
	"bigint shift async":   `(async () => {}).constructor("n", "return 1n << n")(100000000000n)`,
	"bigint shift shadow":  `Object.defineProperty(globalThis, "%shiftBy", {value: (x) => x}); let n = 100000000000n; 1n << n`,
	"bigint shift proto":   `Object.setPrototypeOf(globalThis, {"%shiftBy": (x) => x}); let n = 100000000000n; 1n << n`,
	"bigint shift member":  `const o = {a: 1n, n: 100000000000n}; o.a <<= o.n`,
	"bigint power":         `let n = 1000000000000n; 2n ** n`,
	"bigint power literal": `3n ** 100000000000n`,
	"bigint power nested":  `let a = 2n ** 1000000n; let n = 1000000n; a ** n`,
	"bigint power assign":  `let a = 2n; a **= 1000000000000n`,
	"bigint power member":  `const o = {a: 2n, n: 1000000000000n}; o.a **= o.n`,
	"bigint power of one":  `let n = 10000000000000000000000n; return {body: String(1n ** n)}`,
	"bigint asUintN":       `BigInt.asUintN(2 ** 40, -1n)`,
	"bigint asIntN":        `BigInt.asIntN(2 ** 40, -1n)`,
	"bigint text":          `BigInt("9".repeat(3e6))`,
	"bigint digits":        `eval("9".repeat(4e6) + "n")`,
	"match all":            `for (;;) [..."a".repeat(1e6).matchAll(/a/g)]`,
	"bigint squares":       `let a = 3n; for (;;) a = a * a`,
	"flat":                 `let a = []; for (let i = 0; i < 3e5; i++) a = [a]; a.flat(Infinity)`,
	"proxies":              `let p = {}; for (let i = 0; i < 1e6; i++) p = new Proxy(p, {}); p.x`,
	"revocable proxies":    `let p = {}; for (let i = 0; i < 1e6; i++) p = Proxy.revocable(p, {}).proxy; p.x`,
	"bound":                `let f = () => 1; for (let i = 0; i < 1e6; i++) f = f.bind(null); f()`,
	"prototypes":           `let o = {}; for (let i = 0; i < 3e5; i++) o = Object.create(o); o.missing`,
	"getter":               `({get a() { return this.a; }}).a`,
	"recursion":            `const f = () => f(); f()`,
	"native recursion":     `const f = () => [1].map(f); f()`,
	"sort recursion":       `const f = () => [2, 1].sort(f); f()`,
	"repeat":               `"x".repeat(2 ** 31)`,
	"repeat twice":         `"x".repeat(2 ** 26).repeat(2 ** 10)`,
	"pad":                  `"x".padStart(2 ** 31)`,
	"buffer":               `new ArrayBuffer(2 ** 33)`,
	"buffer huge":          `new ArrayBuffer(2 ** 52)`,
	"buffer by instance":   `new (ccf.strToBuf("").constructor)(2 ** 40)`,
	"typed array":          `new Float64Array(2 ** 33)`,
	"typed array like":     `new Uint8Array({length: 2 ** 33})`,
	"typed array parent":   `Object.getPrototypeOf(Uint8Array).from({length: 2 ** 33})`,
	"array of holes":       `new Array(4294967295).indexOf(1)`,
	"fill holes":           `new Array(4294967295).fill(0)`,
	"join holes":           `new Array(4294967295).join("xxxx")`,
	"array like":           `Array.prototype.forEach.call({length: 2 ** 53 - 1}, Math.abs)`,
	"array like sort":      `Array.prototype.sort.call({length: 2 ** 53 - 1})`,
	"array from":           `Array.from({length: 2 ** 53 - 1})`,
	"spread holes":         `[...new Array(4294967295)]`,
	"set of holes":         `new Set(new Array(4294967295))`,
	"apply":                `Math.max.apply(null, {length: 2 ** 53 - 1})`,
	"reflect apply":        `Reflect.apply(Math.max, null, {length: 2 ** 53 - 1})`,
	"raw":                  `String.raw({raw: {length: 2 ** 53 - 1}})`,
	"concat":               `[].concat({length: 2 ** 53 - 1, [Symbol.isConcatSpreadable]: true})`,
	"replace grows":        `"a".repeat(1e6).replaceAll("a", "b".repeat(1e6))`,
	"replace pattern":      `"a".repeat(1e5).replace(/a/g, "$'$'")`,
	"doubling":             `let s = "x"; for (;;) s += s`,
	"growing array":        `const a = []; for (;;) a.push({})`,
	"growing buffers":      `const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1))`,
	"growing map":          `const m = new Map(); for (let i = 0; ; i++) m.set(i, "x" + i)`,
	"loop":                 `for (;;);`,
	"loop in toString":     `return {body: {toJSON() { for (;;); }}}`,
	"loop in header":       `return {headers: {a: {toString() { for (;;); }}}}`,
	"loop in catch":        `for (;;) { try { for (;;); } catch {} finally { continue; } }`,
	"loop in thrown":       `throw {toString() { for (;;); }}`,
	"jobs":                 `const f = () => Promise.resolve().then(f); return f()`,
	"never settles":        `return new Promise(() => {})`,
	"generator chain":      `function* g(n) { yield* g(n + 1); } [...g(0)]`,
	"rsa":                  `for (;;) ccf.crypto.generateRsaKeyPair(8192)`,
	"kv loop":              `ccf.kv.a.set(ccf.strToBuf("k"), ccf.strToBuf("v")); for (;;) ccf.kv.a.forEach(Math.abs)`,
	"tampering":            `ccf.strToBuf = 1; delete ccf.kv; JSON.parse = null; globalThis.ccf = undefined; return {body: 1}`,
}

func TestHostile(t *testing.T) {
	const limit = 200 * time.Millisecond
	for name, code := range hostile {
		t.Run(name, func(t *testing.T) {
			st := deploy(t, map[string]map[string]any{"GET /x": endpoint("x.js", "x")},
				map[string]string{"/x.js": "export function x() { " + code + " }"})
			tx := st.Begin()
			tx.Put(optionsTable, singleton, []byte(`{"max_execution_time_ms": 200, "max_heap_bytes": 104857600, "max_stack_bytes": 1048576}`))
			app, err := load(tx, Tables{}.named())
			if err != nil {
				t.Fatal(err)
			}
			m, _ := app.Match("GET", "/x")
			start, used := time.Now(), ownCPU(t)
			resp, err := app.Execute(t.Context(), m.Endpoint, &Request{Tx: tx, Method: "GET", Path: "/app/x"})
			took := time.Since(start)
			// CPU time, the collector's and the kernel's included: both cost more on a busy machine.
			if used = ownCPU(t) - used; used > limit+10*time.Second || took > time.Minute {
				t.Errorf("took %v, %v of CPU", took, used)
			}
			var failed *EndpointError
			if err != nil && !errors.As(err, &failed) {
				t.Errorf("error %v is not an EndpointError", err)
			}
			reason := ""
			if failed != nil && failed.Exception != nil {
				reason = failed.Exception.Reason
			}
			if strings.Contains(reason, "runtime error") || strings.Contains(errText(err), "internal error") {
				t.Errorf("the engine failed: %v (%s)", err, reason)
			}
			t.Logf("%v, %v of CPU: %+v %v (%.120s)", took.Round(time.Millisecond), used.Round(time.Millisecond), resp, err, reason)
		})
	}
}

// ownCPU is the CPU time that this process has used.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
