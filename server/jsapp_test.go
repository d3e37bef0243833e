package server

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/server/api"
)

const script = `
export function put(r) { ccf.kv["records"].set(ccf.strToBuf(r.params.key), ccf.strToBuf(r.body.text())); return { body: true }; }
export function get(r) { const v = ccf.kv["records"].get(ccf.strToBuf(r.params.key)); return v ? { body: ccf.bufToStr(v) } : { statusCode: 404, body: "none" }; }
export function fail(r) { ccf.kv["records"].set(ccf.strToBuf("f"), ccf.strToBuf("x")); ccf.rpc.setApplyWrites(r.params.how === "apply"); return { statusCode: 400, body: "refused" }; }
export function who(r) { return { body: r.caller }; }
export function request(r) { return { body: { q: r.query, p: r.path, route: r.route, url: r.url, a: r.params.a, h: r.headers["x-own"], host: r.hostname } }; }
export function throws() { throw new Error("secret"); }
export function past(r) { return { body: r.route }; }
`

// deploy puts an application into the tables, as set_js_app does.
func (s *service) deploy(t *testing.T) {
	t.Helper()
	endpoint := func(fn, mode, auth string) []byte {
		return []byte(`{"js_module":"/a.js","js_function":"` + fn + `","mode":"` + mode + `","forwarding_required":"always","authn_policies":` + auth + `,"openapi":{"summary":"own words"}}`)
	}
	s.node.put(t, func(tx *kv.Tx) {
		tx.Put(tables.NameModules, []byte("/a.js"), []byte(script))
		tx.Put(tables.NameInterpreterFlush, tables.SingletonKey, []byte("true"))
		for key, value := range map[string][]byte{
			"PUT /rec/{key}":       endpoint("put", "readwrite", `["no_auth"]`),
			"GET /rec/{key}":       endpoint("get", "readonly", `["no_auth"]`),
			"POST /fail/{how}":     endpoint("fail", "readwrite", `[]`),
			"GET /who":             endpoint("who", "readonly", `["user_cert","no_auth"]`),
			"GET /whoall":          endpoint("who", "readonly", `[{"all_of":["user_cert","any_cert"]}]`),
			"GET /unknown_policy":  endpoint("who", "readonly", `["nope"]`),
			"GET /request/{a}":     endpoint("request", "readonly", `[]`),
			"GET /throws":          endpoint("throws", "readonly", `[]`),
			"GET /twice/{a}/{b}":   endpoint("who", "readonly", `[]`),
			"GET /twice/fixed/{b}": endpoint("who", "readonly", `[]`),
			"GET /past":            endpoint("past", "historical", `[]`),
			"GET /commit":          endpoint("who", "readonly", `[]`),
		} {
			tx.Put(tables.NameEndpoints, []byte(key), value)
		}
	})
}

// TestJSApp asks a deployed application, and checks what the server makes of it.
func TestJSApp(t *testing.T) {
	s := testService(t, nil)
	c := s.client(t, nil)
	if a := s.do(t, c, "GET", "/app/rec/a", ""); a.StatusCode != 404 {
		t.Fatalf("before the deployment: %d", a.StatusCode)
	}
	s.deploy(t)
	tests := []struct {
		method, path, body string
		status             int
		want               string
		tx                 bool
	}{
		{"PUT", "/app/rec/a", "one", 200, "true", true},
		{"GET", "/app/rec/a", "", 200, "one", true},
		{"GET", "/app/rec/b", "", 404, "none", false},
		{"POST", "/app/fail/no", "", 400, "refused", false},
		{"GET", "/app/rec/f", "", 404, "none", false},
		{"POST", "/app/fail/apply", "", 400, "refused", true},
		{"GET", "/app/rec/f", "", 200, "x", true},
		{"GET", "/app/who", "", 200, `{"policy":"no_auth"}`, true},
		{"GET", "/app/request/%41?x=%26y", "", 200, `{"q":"x=&y","p":"/app/request/%41","route":"/app/request/{a}","url":"/app/request/%41?x=&y","a":"%41","h":"Mixed","host":"` + s.addr + `"}`, true},
		{"GET", "/app/throws", "", 500, `{"error":{"code":"InternalError","message":"Exception thrown while executing."}}`, false},
		{"GET", "/app/unknown_policy", "", 500, "Exception: Unknown auth policy: nope", false},
		{"GET", "/app/twice/fixed/x", "", 500, `Exception: Multiple potential matches for path: /twice/fixed/x\n  /twice/{a}/{b}\n  /twice/fixed/{b}`, false},
		{"PATCH", "/app/rec/a", "", 405, "Allowed methods for '/rec/a' are: OPTIONS, GET, PUT.", false},
		{"GET", "/app/commit", "", 200, "null", true}, // the application's own wins
		{"GET", "/app/past", "", 404, "Could not extract Transaction Id", false},
		{"GET", "/app/api", "", 200, `"summary":"own words"`, true},
	}
	for _, tt := range tests {
		a := s.do(t, c, tt.method, tt.path, tt.body, "x-own", "Mixed")
		if a.StatusCode != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, a.StatusCode, a.body, tt.status, tt.want)
		}
		if got := a.Header.Get(api.HeaderTxID) != ""; got != tt.tx {
			t.Errorf("%s %s: TxID %q", tt.method, tt.path, a.Header.Get(api.HeaderTxID))
		}
	}
}

func TestJSCaller(t *testing.T) {
	s := testService(t, nil)
	s.deploy(t)
	user := validIdentity(t)
	s.register(t, user, false, "")
	a := s.do(t, s.client(t, &user), "GET", "/app/who", "")
	if a.StatusCode != 200 || !strings.HasPrefix(a.body, `{"policy":"user_cert","id":"`+user.id+`","data":{"x":1},"cert":"-----BEGIN`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	a = s.do(t, s.client(t, &user), "GET", "/app/whoall", "")
	if a.StatusCode != 200 || !strings.HasPrefix(a.body, `{"policy":["any_cert","user_cert"],"any_cert":{"policy":"any_cert","cert":`) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestCollectors gathers the figures through Prometheus' own registry while they move.
func TestCollectors(t *testing.T) {
	s := recordService(t, nil)
	r := prometheus.NewPedanticRegistry()
	for _, c := range s.Collectors() {
		must(t, r.Register(c))
	}
	value := func(name string, labels ...string) float64 {
		t.Helper()
		families, err := r.Gather()
		must(t, err)
		for _, f := range families {
			if f.GetName() != name {
				continue
			}
			for _, m := range f.GetMetric() {
				var got []string
				for _, l := range m.GetLabel() {
					got = append(got, l.GetValue())
				}
				if strings.Join(got, " ") == strings.Join(labels, " ") {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
		return -1
	}
	c := s.client(t, nil)
	for range 3 {
		s.do(t, c, "PUT", "/app/rec/secret-key", `{"value":"x"}`)
	}
	s.do(t, c, "GET", "/app/rec/none", "")
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"chancery_server_requests_total", []string{"PUT", "/app/rec/{key}", "200"}, 3},
		{"chancery_server_requests_total", []string{"GET", "/app/rec/{key}", "404"}, 1},
		{"chancery_server_execution_seconds", []string{"PUT", "/app/rec/{key}"}, 3},
		{"chancery_server_sessions", []string{"primary"}, 1},
		{"chancery_server_sessions_cap", []string{"primary", "hard"}, 1010},
	} {
		if got := value(tt.name, tt.labels...); got != tt.want {
			t.Errorf("%s%q = %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
}

// TestFiguresOfOldApplications deploys an application that lacks an endpoint of the one
// before: its figures go, those of the others stay.
func TestFiguresOfOldApplications(t *testing.T) {
	s := testService(t, nil)
	s.deploy(t)
	r := prometheus.NewRegistry()
	must(t, r.Register(s.Server.metrics.requests))
	routes := func() map[string]bool {
		t.Helper()
		families, err := r.Gather()
		must(t, err)
		found := map[string]bool{}
		for _, m := range families[0].GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "route" {
					found[l.GetValue()] = true
				}
			}
		}
		return found
	}
	c := s.client(t, nil)
	for _, path := range []string{"/app/who", "/app/commit", "/app/rec/a"} {
		s.do(t, c, "GET", path, "")
	}
	if got := routes(); !got["/app/who"] || !got["/app/commit"] || !got["/app/rec/{key}"] {
		t.Fatalf("figures of %v", got)
	}
	s.node.put(t, func(tx *kv.Tx) {
		tx.Delete(tables.NameEndpoints, []byte("GET /who"))
		tx.Delete(tables.NameEndpoints, []byte("GET /commit")) // the node has one of its own
		tx.Put(tables.NameInterpreterFlush, tables.SingletonKey, []byte("again"))
	})
	s.do(t, c, "GET", "/app/rec/a", "")
	if got := routes(); got["/app/who"] || !got["/app/commit"] || !got["/app/rec/{key}"] {
		t.Errorf("figures of %v", got)
	}
}

// TestJSFraming: an application cannot say how its answer is framed.
func TestJSFraming(t *testing.T) {
	s := testService(t, nil)
	s.node.put(t, func(tx *kv.Tx) {
		tx.Put(tables.NameModules, []byte("/a.js"), []byte(`export function f() {
			return { headers: { "Transfer-Encoding": "gzip", "Content-Length": "5", "X-Own": "kept" }, body: "hello world" };
		}`))
		tx.Put(tables.NameInterpreterFlush, tables.SingletonKey, []byte("true"))
		tx.Put(tables.NameEndpoints, []byte("GET /f"), []byte(`{"js_module":"/a.js","js_function":"f","mode":"readonly","forwarding_required":"always","authn_policies":[]}`))
	})
	a := s.do(t, s.client(t, nil), "GET", "/app/f", "")
	if a.body != "hello world" || a.ContentLength != 11 || len(a.TransferEncoding) != 0 || a.Header.Get("x-own") != "kept" {
		t.Errorf("%q, %d bytes, %v, %v", a.body, a.ContentLength, a.TransferEncoding, a.Header)
	}
}
