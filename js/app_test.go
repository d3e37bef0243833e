package js

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"chancery/kv"
	"chancery/kv/writeset"
)

// deploy stores an application in a fresh store, as set_js_app does.
func deploy(t testing.TB, endpoints map[string]map[string]any, modules map[string]string) *kv.Store {
	t.Helper()
	st := kv.NewStore()
	tx := st.Begin()
	for k, props := range endpoints {
		b, err := json.Marshal(props)
		if err != nil {
			t.Fatal(err)
		}
		tx.Put(endpointsTable, []byte(k), b)
	}
	for k, text := range modules {
		tx.Put(modulesTable, []byte(k), []byte(text))
	}
	tx.Put(flushTable, singleton, []byte("true"))
	if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: 1}); err != nil {
		t.Fatal(err)
	}
	return st
}

func endpoint(module, function string) map[string]any {
	return map[string]any{"js_module": module, "js_function": function, "mode": "readwrite", "forwarding_required": "always", "authn_policies": []string{}}
}

// ask runs one request over the store's head and commits its writes.
func ask(t testing.TB, st *kv.Store, apps *Apps, r *Request, path string) (*Response, error) {
	t.Helper()
	tx := st.Begin()
	app, err := apps.At(tx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := app.Match(r.Method, path)
	if err != nil {
		return nil, err
	}
	if m.Endpoint == nil {
		t.Fatalf("no endpoint for %s %s; allowed %v", r.Method, path, m.Allowed)
	}
	r.Tx, r.Path, r.Params = tx, "/app"+path, m.Params
	resp, err := app.Execute(t.Context(), m.Endpoint, r)
	if err == nil && tx.Dirty() {
		if _, err := st.Commit(tx, writeset.TxID{View: 2, Seqno: st.Head().TxID().Seqno + 1}); err != nil {
			t.Fatal(err)
		}
	}
	return resp, err
}

func probeModules(t testing.TB) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for name, path := range map[string]string{"/probe.js": "probe.js", "/lib/show.js": "lib/show.js"} {
		b, err := os.ReadFile(filepath.Join("../../shared/answers/app/src", path))
		if err != nil {
			t.Skipf("SKIPPED: the probe application is not here: %v", err)
		}
		out[name] = string(b)
	}
	return out
}

func TestProbe(t *testing.T) {
	eps := map[string]map[string]any{}
	for p, f := range map[string]string{"globals": "globals", "kvargs": "kvArgs", "convert": "convert", "crypto": "crypto", "kvwalk": "kvWalk", "claims": "claims", "logs": "logs", "rangeargs": "rangeArgs", "kvshape": "kvShape", "kvin": "kvIn", "kvkeys": "kvKeys", "tcbbad": "tcbBad", "kvsize": "kvSize"} {
		eps["POST /"+p] = endpoint("probe.js", f)
	}
	eps["GET /respond/{how}"] = endpoint("probe.js", "respond")
	st := deploy(t, eps, probeModules(t))
	var apps Apps
	for _, p := range []string{"globals", "kvargs", "convert", "kvwalk", "claims", "logs", "rangeargs", "kvshape", "kvin", "kvkeys", "tcbbad", "kvsize", "crypto"} {
		r, err := ask(t, st, &apps, &Request{Method: "POST"}, "/"+p)
		if err != nil {
			var e *EndpointError
			errors.As(err, &e)
			t.Logf("%s: %v %+v", p, err, e.Exception)
			continue
		}
		t.Logf("%s: %d %v %s", p, r.Status, r.Header, r.Body)
	}
}
