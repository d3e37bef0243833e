package js

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"chancery/kv/writeset"
)

// TestRecord: a request that was recorded comes to the same when it is executed again, in
// what it says of itself, its time and its random numbers; credentials are left out.
func TestRecord(t *testing.T) {
	st := oneEndpoint(t, ModeReadWrite, `export function x(r) {
		const { caller } = r;
		return { body: { url: r.url, headers: r.headers, host: r.hostname, text: r.body.text(), now: [Date.now(), new Date().getTime()],
			random: [Math.random(), Math.random()], policy: caller.policy, cert: caller.user_cert, token: caller.jwt,
			signed: ccf.bufToStr(caller.user_cose_sign1.cose.content), committed: ccf.consensus.getLastCommittedTxId() } };
	}`)
	caller := &Caller{Policy: "jwt+user_cert+user_cose_sign1", All: map[string]*Caller{
		"user_cert":       {Policy: "user_cert", ID: "aa", Data: json.RawMessage(`{"b": [1], "a": null}`), Cert: "pem"},
		"jwt":             {Policy: "jwt", JWT: &Token{Issuer: "i", Header: json.RawMessage(`{"alg": "x"}`), Payload: json.RawMessage(`{"sub": "<s>"}`)}},
		"user_cose_sign1": {Policy: "user_cose_sign1", ID: "aa", COSE: &COSEContent{Content: []byte("signed")}},
	}}
	header := func(yield func(name, value string) bool) {
		_ = yield("authorization", "Bearer secret") && yield("content-type", "text/plain")
	}
	request := &Request{Method: "GET", Query: "a=b", Host: "h", Body: []byte{'b', 0xff}, Caller: caller, Header: header, Consensus: fixedConsensus{}}
	record, err := request.Record(time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	request.Path = "/app/x"
	record.Path = "/app/x"
	first, err := ask(t, st, new(Apps), request, "/x")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") {
		t.Errorf("a credential is in the record %s", text)
	}
	var kept Record
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	if kept.Committed != [2]uint64{2, 100} {
		t.Errorf("committed at %v", kept.Committed)
	}
	again, err := kept.Request()
	if err != nil {
		t.Fatal(err)
	}
	again.Consensus = fixedConsensus{}
	second, err := ask(t, st, new(Apps), again, "/x")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(second.Body), strings.Replace(string(first.Body), "Bearer secret", "", 1); got != want {
		t.Errorf("replayed:\n%s\nrecorded:\n%s", got, want)
	}
	if !strings.Contains(string(first.Body), `"now":[1767323045678,1767323045678]`) {
		t.Errorf("the time is another: %s", first.Body)
	}
	if _, err := (&Record{}).Request(); err == nil {
		t.Error("a record without a seed was taken")
	}
}

// TestRecordIsHidden: no application sees the table, of the present or of the past.
func TestRecordIsHidden(t *testing.T) {
	st := oneEndpoint(t, ModeHistorical, `export function x() {
		const tried = [];
		for (const kv of [ccf.kv, ccf.historicalState.kv]) {
			try { tried.push(kv["`+RecordTable+`"].size); } catch (e) { tried.push(e.message); }
		}
		return { body: tried };
	}`)
	past := pastState(5)
	past.Writes = append(past.Writes, writeset.MapWrites{Name: RecordTable, Writes: []writeset.Write{{Key: RecordKey, Value: []byte("{}")}}})
	resp, err := ask(t, st, new(Apps), &Request{Method: "GET", Past: past}, "/x")
	if err != nil || strings.Count(string(resp.Body), "Cannot call") != 2 {
		t.Errorf("%s, %v", resp.Body, err)
	}
}

// TestEndpointLimits: an endpoint's own limits hold in place of the application's, which
// may be narrower or wider; a floor holds for both.
func TestEndpointLimits(t *testing.T) {
	const module = `export function loop() { for (;;); }
		const fill = () => { const a = []; for (let i = 0; i < 32; i++) a.push(new Uint8Array(1 << 20).fill(1)); return a; };
		export function keep() { const a = fill(); for (;;) a[0][0]++; } // until the watchdog sees it
		export function hold() { return { body: String(fill().length) }; }
		export function deep() { const f = (n) => n === 0 ? 0 : 1 + f(n - 1); return { body: f(200) }; }`
	own := func(function string, limits map[string]any) map[string]any {
		e := endpoint("x.js", function)
		e["chancery"] = map[string]any{"limits": limits}
		return e
	}
	st := deploy(t, map[string]map[string]any{
		"GET /short": own("loop", map[string]any{"max_execution_time_ms": 30}),
		"GET /small": own("keep", map[string]any{"max_heap_bytes": 4 << 20}),
		"GET /large": endpoint("x.js", "hold"),
		"GET /flat":  own("deep", map[string]any{"max_stack_bytes": 1}), // the floor of 16 KiB: 32 calls
		"GET /deep":  endpoint("x.js", "deep"),
	}, map[string]string{"/x.js": module})
	apps := new(Apps)
	run := func(path string) (time.Duration, string) {
		start := time.Now()
		resp, err := ask(t, st, apps, &Request{Method: "GET"}, path)
		if err == nil {
			return time.Since(start), string(resp.Body)
		}
		return time.Since(start), err.Error()
	}
	if took, got := run("/short"); got != reasonTimeout || took >= DefaultMaxExecutionTime {
		t.Errorf("30 ms: %s after %v", got, took)
	}
	if _, got := run("/small"); got != reasonThrown {
		t.Errorf("4 MiB of heap: %s", got)
	}
	if _, got := run("/large"); got != "32" {
		t.Errorf("the default heap: %s", got)
	}
	if _, got := run("/flat"); got != reasonThrown {
		t.Errorf("16 KiB of stack: %s", got)
	}
	if _, got := run("/deep"); got != "200" {
		t.Errorf("the default stack: %s", got)
	}
}

// TestBrokenEndpoint: an entry of the table that is none fails alone.
func TestBrokenEndpoint(t *testing.T) {
	e := endpoint("x.js", "x")
	st := deploy(t, map[string]map[string]any{"GET /x": e, "GET /mode": {"mode": "nonsense"}, "GET /t/{a}": {"chancery": 1}, "GET /{a": e},
		map[string]string{"/x.js": `export function x() { return { body: "fine" }; }`})
	tx := st.Begin()
	app, err := new(Apps).At(tx)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/mode": "nonsense", "/t/1": "chancery", "/{a": "unclosed"} {
		var failed *EndpointError
		if _, err := app.Match("GET", path); !errors.As(err, &failed) || !strings.Contains(failed.Message, want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if resp, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x"); err != nil || string(resp.Body) != "fine" {
		t.Errorf("its neighbour: %+v, %v", resp, err)
	}
}
