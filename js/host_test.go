package js

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"
	"github.com/google/go-cmp/cmp"

	"chancery/kv"
	"chancery/kv/writeset"
)

// history has the transactions 2.5 and 2.6, which are there at the second question.
type history struct{ asked, dropped int }

func (h *history) StateRange(handle, first, last uint64, expiry time.Duration) ([]*HistoricalState, bool, error) {
	if h.asked++; h.asked == 1 {
		return nil, false, nil
	}
	if last > 6 {
		return nil, false, errors.New("no such transaction")
	}
	var out []*HistoricalState
	for seqno := first; seqno <= last; seqno++ {
		out = append(out, pastState(seqno))
	}
	return out, true, nil
}

func (h *history) Drop(handle uint64) bool { h.dropped++; return handle == 7 }

func pastState(seqno uint64) *HistoricalState {
	return &HistoricalState{
		ID: writeset.TxID{View: 2, Seqno: seqno},
		Writes: writeset.WriteSet{{Name: "public:records", Writes: []writeset.Write{
			{Key: []byte("b"), Value: []byte("two")}, {Key: []byte("a"), Value: fmt.Appendf(nil, "one at %d", seqno)}}}},
		Receipt: Receipt{Signature: "c2ln", Cert: "pem", NodeID: "node", WriteSetDigest: "aa", CommitEvidence: "ce:2.5:x", ClaimsDigest: "bb",
			Proof: []ProofStep{{Left: true, Hash: "01"}, {Hash: "02"}}},
	}
}

// oneEndpoint deploys a module with one endpoint, GET /x, of the mode.
func oneEndpoint(t *testing.T, mode Mode, source string) *kv.Store {
	t.Helper()
	e := endpoint("x.js", "x")
	e["mode"] = string(mode)
	return deploy(t, map[string]map[string]any{"GET /x": e}, map[string]string{"/x.js": source})
}

func TestHistoricalRange(t *testing.T) {
	st := oneEndpoint(t, ModeReadOnly, `export function x() {
		const states = ccf.historical.getStateRange(7, 5, 6, 100);
		if (states === null) return {statusCode: 202};
		const m = states[1].kv["public:records"], out = [];
		m.forEach((v, k, self) => out.push(ccf.bufToStr(k), ccf.bufToStr(v), self === m));
		const refused = (f) => { try { f(); } catch (e) { return e.message; } };
		return { body: [states.length, states[1].transactionId, states[1].receipt, out, m.size, m.has(ccf.strToBuf("c")),
			m.getVersionOfPreviousWrite(ccf.strToBuf("a")), refused(() => m.delete(ccf.strToBuf("a"))), refused(() => states[0].kv["ccf.gov.a"].clear()),
			ccf.historical.dropCachedStates(7), ccf.historical.dropCachedStates(8), refused(() => ccf.historical.getStateRange(7, 5, 9, 100))] };
	}`)
	apps, h := new(Apps), new(history)
	got, err := ask(t, st, apps, &Request{Method: "GET", History: h}, "/x")
	if err != nil || got.Status != 202 {
		t.Fatalf("while fetching: %+v, %v", got, err)
	}
	got, err = ask(t, st, apps, &Request{Method: "GET", History: h}, "/x")
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	want := `[2,"2.6",{"signature":"c2ln","cert":"pem","node_id":"node","is_signature_transaction":false,"proof":[{"left":"01"},{"right":"02"}],"leaf_components":{"write_set_digest":"aa","commit_evidence":"ce:2.5:x","claims_digest":"bb"}},` +
		`["a","one at 6",true,"b","two",true],2,false,6,"Cannot call \"delete\" on table named public:records. All tables are read-only during historical transaction.",` +
		`"Cannot call \"clear\" on table named ccf.gov.a. This table is inaccessible in current (read-only application) execution context. See https://microsoft.github.io/CCF/main/audit/read_write_restrictions.html for more detail.",true,false,"Failed to get state range: no such transaction"]`
	if d := cmp.Diff(want, string(got.Body)); d != "" {
		t.Error(d)
	}
}

func TestHistoricalState(t *testing.T) {
	st := oneEndpoint(t, ModeHistorical, `export function x() {
		const s = ccf.historicalState; return { body: [s.transactionId, ccf.bufToStr(s.kv["public:records"].get(ccf.strToBuf("a"))), s.receipt.root_hex] }; }`)
	state := pastState(5)
	state.Receipt = Receipt{IsSignature: true, RootHex: "ff"}
	got, err := ask(t, st, new(Apps), &Request{Method: "GET", Past: state}, "/x")
	if err != nil || string(got.Body) != `["2.5","one at 5","ff"]` {
		t.Errorf("got %s, %v", got.Body, err)
	}
}

func TestRPC(t *testing.T) {
	st := oneEndpoint(t, ModeReadWrite, `export function x() { ccf.rpc.setApplyWrites(false); ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", ccf.strToBuf("claim"))); return {}; }`)
	got, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x")
	if err != nil {
		t.Fatal(err)
	}
	if got.ApplyWrites == nil || *got.ApplyWrites || got.Claims == nil || string(got.Claims[:]) != string(sum(crypto.SHA256, []byte("claim"))) {
		t.Errorf("got %+v", got)
	}
}

// TestNoHost: without what stands behind them, the functions throw.
func TestNoHost(t *testing.T) {
	st := oneEndpoint(t, ModeReadWrite, `export function x() { return {body: [() => ccf.consensus.getLastCommittedTxId(), () => ccf.historical.dropCachedStates(1)].map((f) => { try { f(); } catch (e) { return e.name; } })}; }`)
	got, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x")
	if err != nil || string(got.Body) != `["InternalError","InternalError"]` {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestReuse: interpreters with a key keep their state, apart for those that may write
// and those that may not, and are dropped when a call is stopped.
func TestReuse(t *testing.T) {
	source := `let n = 0; export function count() { globalThis.all = (globalThis.all || 0) + 1; return {body: [++n, all]}; } export function fail() { for (;;); }`
	eps := map[string]map[string]any{}
	for path, mode := range map[string]string{"GET /rw": "readwrite", "GET /rw2": "readwrite", "GET /ro": "readonly", "GET /stop": "readwrite"} {
		e := endpoint("x.js", "count")
		e["mode"], e["interpreter_reuse"] = mode, map[string]string{"key": "k"}
		if strings.HasSuffix(path, "stop") {
			e["js_function"] = "fail"
		}
		eps[path] = e
	}
	st := deploy(t, eps, map[string]string{"/x.js": source})
	tx := st.Begin()
	tx.Put(optionsTable, singleton, []byte(`{"max_execution_time_ms": 50, "max_heap_bytes": 33554432, "max_stack_bytes": 1048576}`))
	if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: 2}); err != nil {
		t.Fatal(err)
	}
	apps := new(Apps)
	for i, c := range []struct{ path, want string }{
		{"/rw", "[1,1]"}, {"/rw", "[2,2]"}, {"/rw2", "[3,3]"}, {"/ro", "[1,1]"}, {"/ro", "[2,2]"}, {"/stop", ""}, {"/rw", "[1,1]"},
	} {
		got, err := ask(t, st, apps, &Request{Method: "GET"}, c.path)
		if c.want == "" {
			if !errors.Is(err, ErrTimeout) {
				t.Errorf("%d: %v, want ErrTimeout", i, err)
			}
			continue
		}
		if err != nil || string(got.Body) != c.want {
			t.Errorf("%d: %s gave %+v, %v; want %s", i, c.path, got, err, c.want)
		}
	}
}

// TestStaleHandle: a handle that a kept interpreter remembers works on the map as it is
// now, with the rights of the call that uses it.
func TestStaleHandle(t *testing.T) {
	source := `let kept; export function x(r) { if (!kept) { kept = ccf.kv["a"]; } kept.set(ccf.strToBuf("k"), ccf.strToBuf(String(kept.size))); return {body: kept.size}; }`
	e := endpoint("x.js", "x")
	e["interpreter_reuse"] = map[string]string{"key": "k"}
	st := deploy(t, map[string]map[string]any{"GET /x": e}, map[string]string{"/x.js": source})
	apps := new(Apps)
	for range 3 {
		if got, err := ask(t, st, apps, &Request{Method: "GET"}, "/x"); err != nil || string(got.Body) != "1" {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if v, _, _ := st.Head().Get("a", []byte("k")); string(v) != "1" {
		t.Errorf("stored %q: the second call did not see the first one's write", v)
	}
}

func TestAsync(t *testing.T) {
	for body, want := range map[string]string{
		`return {body: await Promise.resolve(1)}`:                           "1",
		`let n = 0; for (const p of [1, 2]) n += await p; return {body: n}`: "3",
		`return Promise.resolve({body: "late"})`:                            "late",
		`await null; throw new TypeError("no")`:                             "TypeError: no",
		`await null; return 7`:                                              "Invalid endpoint function return value (not an object).",
		`await new Promise(() => {})`:                                       "Error: the promise that the function returned can never settle",
	} {
		st := oneEndpoint(t, ModeReadWrite, `export async function x() { `+body+` }`)
		got, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x")
		text := errText(errors.Unwrap(errOr(err)))
		if err == nil {
			text = string(got.Body)
		} else if text == "" {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s: %q, want %q", body, text, want)
		}
	}
}

func TestConsole(t *testing.T) {
	var lines []string
	env := Env{Log: func(l slog.Level, line string) { lines = append(lines, l.String()+" "+line) }}
	_, err := call(t, env, `export function f() { console.log("a", 1, {b: [null]}, undefined); console.info(new Error("e")); console.warn(); console.error(() => 1); }`, "f")
	want := []string{`INFO a 1 {"b":[null]} undefined`, "INFO Error: e", "WARN ", "ERROR undefined"}
	if d := cmp.Diff(want, lines); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

// TestExtend: host functions of the caller, and errors that they throw.
func TestExtend(t *testing.T) {
	cause := errors.New("service is not open")
	env := Env{Extend: func(vm *goja.Runtime, ccf *goja.Object) {
		node := vm.NewObject()
		_ = node.Set("fail", func(goja.FunctionCall) goja.Value { panic(Throw(vm, cause)) })
		_ = ccf.Set("node", node)
	}}
	_, err := call(t, env, `export function f() { ccf.node.fail(); }`, "f")
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), cause.Error()) {
		t.Errorf("got %v", err)
	}
	v, err := call(t, env, `export function f() { try { ccf.node.fail(); } catch (e) { return Object.keys(ccf).includes("node") && e.message; } }`, "f")
	if text, _ := v.Text(); err != nil || text != cause.Error() {
		t.Errorf("caught %q, %v", text, err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client is gone")
	time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
	m, err := Compile("loop", "export function f() { for (;;); }")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Call(ctx, Env{Tx: kv.NewStore().Begin()}, "f"); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	if _, err := m.Call(ctx, Env{Tx: kv.NewStore().Begin()}, "f"); !errors.Is(err, context.Canceled) {
		t.Errorf("begun after the end: %v", err)
	}
}

func TestTCBPolicy(t *testing.T) {
	for _, c := range []struct{ cpuid, tcb, want string }{
		{"00a00f11", "d315000000000004", "hexstring=d315000000000004 microcode=211 snp=21 tee=0 boot_loader=4"},
		{"00a10f11", "4815000000000709", "hexstring=4815000000000709 microcode=72 snp=21 tee=7 boot_loader=9"},
		{"00b00f21", "1100000004030201", "hexstring=1100000004030201 microcode=17 snp=4 tee=3 boot_loader=2 fmc=1"},
		{"00a00f1", "d315000000000004", "Input string '00a00f1' is not of even length: 7"},
		{"00a00f11", "d3", "Output container of size 8 cannot fit decoded hex str 1"},
	} {
		fields, err := tcbPolicy(c.cpuid, c.tcb)
		var parts []string
		for _, f := range fields {
			parts = append(parts, fmt.Sprintf("%s=%v", f.name, f.value))
		}
		got := strings.Join(parts, " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s: got  %s\nwant %s", c.cpuid, c.tcb, got, c.want)
		}
	}
	if _, err := tcbPolicy("00000000", "d315000000000004"); err == nil {
		t.Error("an unknown processor is accepted")
	}
}
