package js

import (
	"context"
	"errors"
	"testing"
	"time"

	"chancery/kv"
)

func call(t *testing.T, env Env, source, export string, args ...any) (Value, error) {
	t.Helper()
	m, err := Compile("test", source)
	if err != nil {
		t.Fatalf("compiling: %v", err)
	}
	if env.Tx == nil {
		env.Tx = kv.NewStore().Begin()
	}
	return m.Call(t.Context(), env, export, args...)
}

func TestCall(t *testing.T) {
	v, err := call(t, Env{}, "export function f(a, b) { return {sum: a + b, ok: true}; }", "f", 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := v.Field("sum").Number(); !ok || n != 3 || !v.Field("ok").IsTrue() {
		t.Errorf("got %+v", v)
	}
}

func TestThrow(t *testing.T) {
	_, err := call(t, Env{}, "// c\nfunction g() {\n  throw new TypeError('no ' + 1);\n}\nexport function f() { g(); }", "f")
	var ex *Exception
	if !errors.As(err, &ex) {
		t.Fatalf("got %v", err)
	}
	t.Logf("%s\n%s", ex.Reason, ex.Trace)
}

func TestForever(t *testing.T) {
	start := time.Now()
	_, err := call(t, Env{Limits: Limits{MaxExecutionTime: 50 * time.Millisecond}}, "export function f() { for(;;); }", "f")
	if !errors.Is(err, ErrTimeout) {
		t.Fatalf("got %v", err)
	}
	t.Log(time.Since(start))
}

func TestSyntax(t *testing.T) {
	_, err := Compile("bad", "export function f( {\n\n return 1 +; }")
	t.Logf("%v %+v", err, err)
	_, err = Compile("bad", "import x from './y.js'; export function f() { }")
	t.Logf("%v %+v", err, err)
}

func TestKV(t *testing.T) {
	v, err := call(t, Env{}, `export function f() { const m = ccf.kv["x"]; m.set(ccf.strToBuf("a"), ccf.strToBuf("é")); const out=[]; m.forEach((v,k,s)=>out.push(ccf.bufToStr(v), s===m, s.size)); return [Object.keys(m), ...out, ccf.bufToStr(m.get(ccf.strToBuf("a"))), JSON.stringify(ccf.bufToJsonCompatible(ccf.strToBuf('{"a":[1,2.5,"x\\u00e9",null]}')))]; }`, "f")
	if err != nil {
		t.Fatalf("%v %s", err, err.(*Exception).Trace)
	}
	for _, i := range v.Items() {
		t.Log(i.String(), i.Items())
	}
}

func TestReserved(t *testing.T) {
	_, err := call(t, Env{}, `export function f() { try { return ccf.kv["public:ccf.other"] } catch (e) { return 1 } finally { return 2 } }`, "f")
	t.Logf("%T %v", err, err)
}

func BenchmarkFresh(b *testing.B) {
	m, err := Compile("test", "export function f(a) { return 1; }")
	if err != nil {
		b.Fatal(err)
	}
	tx := kv.NewStore().Begin()
	for b.Loop() {
		if _, err := m.Call(context.Background(), Env{Tx: tx}, "f", 1); err != nil {
			b.Fatal(err)
		}
	}
}
