package js

import "testing"

// TestBigIntOperators: what the checks on operators leave alone means what it meant.
func TestBigIntOperators(t *testing.T) {
	st := oneEndpoint(t, ModeReadWrite, `
		let calls = 0;
		const once = () => { calls++; return box; };
		const box = { a: 3, b: 2n, get n() { return 5; } };
		class P { #x = 1; shift(n) { this.#x <<= n; this.#x **= n; return this.#x; } }
		const f = (a, b = a << 2 ** a, ...rest) => ({ b, [a << a]: rest.map((x) => x >> a) });
		export function x() {
			let i = 1; const n = 4, big = 70n;
			i <<= n; i **= 2; i >>= n;
			once().a <<= box.n; once().b **= 3n; once().b <<= big;
			const of = (g) => { try { return g(); } catch (e) { return String(e); } };
			return { body: [
				i, box.a, calls, String(box.b), String(1n << big), String((1n << big) >> big), String(2n ** big), String((-2n) ** 3n), new P().shift(n),
				2 ** -1, (-8) >> n, -1 >>> n, 2 ** n ** 2, "3" ** "2", "3" << "2", null << n, NaN ** 0, f(1, undefined, 8),
				of(() => 1n << n), of(() => 2n ** -big), of(() => 1 ** big), of(() => Symbol() << n), of(() => BigInt("x")), of(() => new BigInt(1)),
				typeof BigInt, BigInt.name, String(BigInt.asIntN(8, 255n)), BigInt(7) === 7n, Object(1n) instanceof BigInt, Object(2n).constructor === BigInt,
				eval("3 << " + n), new Function("a", "b", "return a ** b")(2, n), [...(function* () {}).constructor("yield 1 << 3")()], "%shiftBy" in globalThis, Object.keys(globalThis).length,
			] };
		}`)
	resp, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x")
	if err != nil {
		t.Fatal(err)
	}
	const want = `[16,96,3,"9444732965739290427392","1180591620717411303424","1","1180591620717411303424","-8",65536,` +
		`0.5,-1,268435455,65536,9,12,0,1,{"2":[4],"b":4},` +
		`"TypeError: Cannot mix BigInt and other types, use explicit conversions","RangeError: exponent must be positive","TypeError: Cannot mix BigInt and other types, use explicit conversions",` +
		`"TypeError: Cannot convert a Symbol value to a number","SyntaxError: Cannot convert x to a BigInt","TypeError: Value is not a constructor",` +
		`"function","BigInt","-1",true,true,true,48,16,[8],true,3]`
	if string(resp.Body) != want {
		t.Errorf("got\n%s, want\n%s", resp.Body, want)
	}
}
