package js

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/kv"
	"chancery/kv/writeset"
)

// walked deploys one endpoint that walks over the map t, which has the keys, and answers
// with the keys found and, behind a bar, the cursor.
func walked(t *testing.T, keys []string, options string) (string, error) {
	t.Helper()
	st := oneEndpoint(t, ModeReadOnly, `const b = ccf.strToBuf, s = ccf.bufToStr;
export function x() {
	const options = `+options+`, r = ccf.chancery.kv.range(ccf.kv.t, options), k = ccf.chancery.kv.keys(ccf.kv.t, options);
	const keys = r.entries.map((e) => { if (s(e.value) !== "v" + s(e.key)) throw new Error("another value"); return s(e.key); }).join();
	if (k.keys.map((e) => s(e)).join() !== keys || (k.cursor === undefined) !== (r.cursor === undefined)) throw new Error("keys differ");
	return {body: keys + (r.cursor === undefined ? "" : "|" + s(r.cursor))};
}`)
	tx := st.Begin()
	for _, k := range keys {
		tx.Put("t", []byte(k), []byte("v"+k))
	}
	if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: 2}); err != nil {
		t.Fatal(err)
	}
	got, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x")
	if err != nil {
		return "", errors.Unwrap(err)
	}
	return string(got.Body), nil
}

func TestOrdered(t *testing.T) {
	keys := []string{"c", "a", "ab", "b", "abc", "ac"}
	for options, want := range map[string]string{
		`undefined`:                              "a,ab,abc,ac,b,c",
		`{}`:                                     "a,ab,abc,ac,b,c",
		`{reverse: true}`:                        "c,b,ac,abc,ab,a",
		`{from: b("ab")}`:                        "ab,abc,ac,b,c",
		`{to: b("ac")}`:                          "a,ab,abc",
		`{from: b("ab"), to: b("b")}`:            "ab,abc,ac",
		`{from: b("b"), to: b("a")}`:             "",
		`{to: b("")}`:                            "",
		`{prefix: b("ab")}`:                      "ab,abc",
		`{prefix: b("")}`:                        "a,ab,abc,ac,b,c",
		`{prefix: b("a"), from: b("abc")}`:       "abc,ac",
		`{prefix: b("a"), to: b("ab")}`:          "a",
		`{prefix: b("x")}`:                       "",
		`{limit: 2}`:                             "a,ab|ab",
		`{limit: 6}`:                             "a,ab,abc,ac,b,c",
		`{limit: 2, cursor: b("ab")}`:            "abc,ac|ac",
		`{limit: 2, cursor: b("ac")}`:            "b,c",
		`{cursor: b("c")}`:                       "",
		`{limit: 2, reverse: true}`:              "c,b|b",
		`{reverse: true, cursor: b("b")}`:        "ac,abc,ab,a",
		`{cursor: b("ab"), prefix: b("ab")}`:     "abc",
		`{limit: undefined, cursor: undefined}`:  "a,ab,abc,ac,b,c",
		`{from: b("a"), cursor: b("")}`:          "a,ab,abc,ac,b,c",
		`{prefix: b("a"), limit: 1, reverse: 1}`: "ac|ac",
	} {
		got, err := walked(t, keys, options)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", options, got, err, want)
		}
	}
	for options, want := range map[string]string{
		`{limit: 0}`:       "RangeError: limit must be",
		`{limit: 1.5}`:     "RangeError: limit must be",
		`{limit: "x"}`:     "RangeError: limit must be",
		`{limit: 2 ** 40}`: "RangeError: limit must be",
		`{from: "a"}`:      "TypeError: from must be an ArrayBuffer",
		`{form: b("a")}`:   `TypeError: Unknown option "form"`,
		`"a"`:              "TypeError: The options must be an object",
		`null`:             "TypeError: The options must be an object",
		`{get to() { return b("b"); }, get limit() { throw new Error("mine"); }}`: "Error: mine",
	} {
		if got, err := walked(t, keys, options); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", options, got, err, want)
		}
	}
}

// TestOrderedBytes: keys are compared as bytes, and those that are no text come back whole.
func TestOrderedBytes(t *testing.T) {
	st := oneEndpoint(t, ModeReadWrite, `export function x() {
	const m = ccf.kv.t, key = (...b) => new Uint8Array(b).buffer;
	for (const k of [key(255), key(0), key(), key(255, 255), key(10), key(9), key(128)]) m.set(k, k);
	const all = [], step = {prefix: key(255)};
	for (let cursor; ;) {
		const page = ccf.chancery.kv.keys(m, {limit: 3, cursor});
		all.push(page.keys.map((k) => [...new Uint8Array(k)].join(".")).join());
		if ((cursor = page.cursor) === undefined) break;
	}
	return {body: [all, ccf.chancery.kv.keys(m, step).keys.length]};
}`)
	got, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x")
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if d := cmp.Diff(`[[",0,9","10,128,255","255.255"],2]`, string(got.Body)); d != "" {
		t.Error(d)
	}
}

// TestOrderedRights: walks need the right to read, by the rules of every other method;
// and they work on maps of the past.
func TestOrderedRights(t *testing.T) {
	for _, method := range []string{"range", "keys"} {
		source := fmt.Sprintf(`const f = (m) => { try { ccf.chancery.kv.%s(m); } catch (e) { return e.name + ": " + e.message; } };
export function x() { return [f(ccf.kv["ccf.gov.x"]), f({}), f(undefined)].join("\n"); }`, method)
		v, err := call(t, Env{Access: AppReadOnly}, source, "x")
		if err != nil {
			t.Fatal(err)
		}
		const none = "TypeError: Internal: No map name stored on handle"
		want := "TypeError: " + refusal(method, "ccf.gov.x", inaccessible, AppReadOnly) + "\n" + none + "\n" + none
		if got, _ := v.Text(); got != want {
			t.Errorf("%s: got %q, want %q", method, got, want)
		}
	}
	st := oneEndpoint(t, ModeHistorical, `export function x() {
	return { body: ccf.chancery.kv.range(ccf.historicalState.kv["public:records"], {reverse: true}).entries.map((e) => ccf.bufToStr(e.value)) }; }`)
	got, err := ask(t, st, new(Apps), &Request{Method: "GET", Past: pastState(5)}, "/x")
	if err != nil || string(got.Body) != `["two","one at 5"]` {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestOrderedReads: what a walk with a limit did not look at is no read of the
// transaction, and what it looked at is.
func TestOrderedReads(t *testing.T) {
	for touched, conflict := range map[string]bool{"a": true, "aa": true, "b": true, "c": true, "d": false, "cc": false} {
		st := oneEndpoint(t, ModeReadWrite, `const b = ccf.strToBuf; export function x() { ccf.chancery.kv.keys(ccf.kv.t, {limit: 2}); ccf.kv.out.set(b("k"), b("v")); return {}; }`)
		tx := st.Begin()
		for _, k := range []string{"a", "b", "c", "d"} {
			tx.Put("t", []byte(k), nil)
		}
		commit := func(tx *kv.Tx) error {
			_, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: st.Head().TxID().Seqno + 1})
			return err
		}
		if err := commit(tx); err != nil {
			t.Fatal(err)
		}
		mine, other := st.Begin(), st.Begin()
		app, err := new(Apps).At(mine)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := app.Execute(t.Context(), app.endpoints[0], &Request{Method: "GET", Tx: mine}); err != nil {
			t.Fatal(err)
		}
		other.Put("t", []byte(touched), []byte("new"))
		if err := commit(other); err != nil {
			t.Fatal(err)
		}
		if err := commit(mine); errors.Is(err, kv.ErrConflict) != conflict {
			t.Errorf("with %q written beside it: %v, want a conflict: %v", touched, err, conflict)
		}
	}
}
