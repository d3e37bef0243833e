package js

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"
)

// TestRequestObject looks at every property of the request.
func TestRequestObject(t *testing.T) {
	st := deploy(t, map[string]map[string]any{"POST /a/{b}/c": endpoint("x.js", "x")}, map[string]string{"/x.js": `
export function x(r) {
  const refused = (f) => { try { return f(); } catch (e) { return e.name + ": " + e.message; } };
  return { body: { keys: Object.keys(r), headers: r.headers, query: r.query, path: r.path, method: r.method, hostname: r.hostname, route: r.route, url: r.url, params: r.params,
    text: r.body.text(), json: r.body.json().a, bytes: r.body.arrayBuffer().byteLength, extra: refused(() => r.body.text(1)), bodyKeys: Object.keys(r.body),
    caller: { ...r.caller, content: ccf.bufToStr(r.caller.cose.content) } } };
}`})
	r := &Request{Method: "POST", Query: "x=1&y=é", Body: []byte(`{"a": [1]}`),
		Header: func(yield func(name, value string) bool) { _ = yield("x-one", "1") && yield("accept", "*/*") },
		Caller: Object{{"policy", "user_cose_sign1"}, {"id", "ab"}, {"data", json.RawMessage(`{"isAdmin": true}`)}, {"cose", Object{{"content", []byte("payload")}}}, {"none", nil}, {"list", []string{"a", "b"}}}}
	got, err := ask(t, st, new(Apps), r, "/a/%20/c")
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	want := `{"keys":["headers","query","path","method","hostname","route","url","params","body","caller"],"headers":{"x-one":"1","accept":"*/*"},"query":"x=1&y=é",` +
		`"path":"/app/a/%20/c","method":"POST","hostname":null,"route":"/app/a/{b}/c","url":"/app/a/%20/c?x=1&y=é","params":{"b":"%20"},"text":"{\"a\": [1]}","json":[1],"bytes":10,` +
		`"extra":"TypeError: Passed 1 arguments, but expected 0","bodyKeys":["text","json","arrayBuffer"],` +
		`"caller":{"policy":"user_cose_sign1","id":"ab","data":{"isAdmin":true},"cose":{"content":{}},"none":null,"list":["a","b"],"content":"payload"}}`
	if string(got.Body) != want {
		t.Errorf("got  %s\nwant %s", got.Body, want)
	}
}

// TestResponses are answers that the probe does not ask for, or that CCF's are not known of.
func TestResponses(t *testing.T) {
	for code, want := range map[string]*Response{
		`({body: null})`:  {Status: 200, Header: map[string]string{"content-type": "application/json"}, Body: []byte("null")},
		`({body: false})`: {Status: 200, Header: map[string]string{"content-type": "application/json"}, Body: []byte("false")},
		`({body: new Float32Array([1]), statusCode: 201})`: {Status: 201, Header: map[string]string{"content-type": "application/octet-stream"}, Body: []byte{0, 0, 128, 63}},
		`({body: new DataView(new ArrayBuffer(1))})`:       {Status: 200, Header: map[string]string{"content-type": "application/json"}, Body: []byte("{}")},
		`({headers: {"X-A": 1, b: [1, 2]}})`:               {Status: 200, Header: map[string]string{"x-a": "1", "b": "1,2"}},
		`({statusCode: 400 / 2})`:                          {Status: 200},
		`[]`:                                               {Status: 200},
		`(() => 1)`:                                        {Status: 200},
		`null`:                                             nil,
		`7`:                                                nil,
		`({statusCode: 200.5})`:                            nil,
		`({statusCode: 99})`:                               nil,
		`({statusCode: 1000})`:                             nil,
		`({statusCode: 100})`:                              nil,
		`({statusCode: "200"})`:                            nil,
		`({headers: {"a b": 1}})`:                          nil,
		`({headers: {a: "x\r\nset-cookie: y"}})`:           nil,
		`({headers: {a: Symbol("x")}})`:                    nil,
		`({get body() { throw new Error("x"); }})`:         nil,
		`({body: {toJSON() { throw 1; }}})`:                nil,
	} {
		st := oneEndpoint(t, ModeReadWrite, "export function x() { return "+code+"; }")
		got, err := ask(t, st, new(Apps), &Request{Method: "GET"}, "/x")
		if want == nil {
			var failed *EndpointError
			if !errors.As(err, &failed) {
				t.Errorf("%s: %+v, %v; want an EndpointError", code, got, err)
			}
			continue
		}
		if err != nil || got.Status != want.Status || string(got.Body) != string(want.Body) || !maps.Equal(got.Header, want.Header) {
			t.Errorf("%s: got %+v, %v; want %+v", code, got, err, want)
		}
	}
}
