package js

import (
	"testing"

	"chancery/kv"
)

// benchApp is a small application of the shape of CCF's logging sample.
const benchApp = `
const parse = (request) => Object.fromEntries(request.query.split("&").map((p) => p.split("=")));
const table = (request) => ccf.kv["records"];
const idOf = (request) => ccf.strToBuf(parse(request).id);
export function empty() { return {}; }
export function read(request) {
  const v = table(request).get(idOf(request));
  if (v === undefined) return { statusCode: 404, body: { error: { code: "ResourceNotFound" } } };
  return { body: { msg: ccf.bufToStr(v) } };
}
export function write(request) {
  const { id, msg } = request.body.json();
  table(request).set(ccf.strToBuf(String(id)), ccf.strToBuf(msg));
  return { body: true };
}
export function digest(request) { ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", request.body.arrayBuffer())); return {}; }
export class Store { #kv = new Map(); get(k) { return this.#kv.get(k); } }
export const codes = { ok: 200, missing: 404 };
`

func benchRequest(method, query, body string) *Request {
	return &Request{Method: method, Query: query, Host: "localhost", Body: []byte(body), Caller: Object{{"policy", "no_auth"}},
		Header: func(yield func(name, value string) bool) {
			_ = yield("host", "localhost") && yield("user-agent", "bench") && yield("accept", "*/*") && yield("content-type", "application/json")
		}}
}

func benchStore(b *testing.B, reuse bool) (*kv.Store, *Apps) {
	b.Helper()
	eps := map[string]map[string]any{}
	for k, f := range map[string]string{"GET /empty": "empty", "GET /log": "read", "POST /log": "write", "POST /digest": "digest"} {
		eps[k] = endpoint("app.js", f)
		if reuse {
			eps[k]["interpreter_reuse"] = map[string]string{"key": "k"}
		}
	}
	st := deploy(b, eps, map[string]string{"/app.js": benchApp})
	apps := new(Apps)
	if _, err := ask(b, st, apps, benchRequest("POST", "", `{"id": 1, "msg": "hello"}`), "/log"); err != nil {
		b.Fatal(err)
	}
	return st, apps
}

func BenchmarkExecute(b *testing.B) {
	for _, reuse := range []bool{false, true} {
		name := "fresh"
		if reuse {
			name = "reused"
		}
		for _, c := range []struct{ name, method, path, query, body string }{
			{"empty", "GET", "/empty", "", ""},
			{"read", "GET", "/log", "id=1", ""},
			{"write", "POST", "/log", "", `{"id": 1, "msg": "hello"}`},
			{"digest", "POST", "/digest", "", "hello"},
		} {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				st, apps := benchStore(b, reuse)
				b.ReportAllocs()
				for b.Loop() {
					tx := st.Begin()
					app, err := apps.At(tx)
					if err != nil {
						b.Fatal(err)
					}
					m, _ := app.Match(c.method, c.path)
					r := benchRequest(c.method, c.query, c.body)
					r.Tx, r.Path = tx, "/app"+c.path
					if resp, err := app.Execute(b.Context(), m.Endpoint, r); err != nil || resp.Status != 200 {
						b.Fatal(resp, err)
					}
				}
			})
		}
	}
}
