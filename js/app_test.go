package js

import (
	"encoding/json"
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
	tx.Put("public:ccf.gov.members.info", []byte("m"), []byte("{}"))
	tx.Put("public:ccf.internal.signatures", singleton, []byte("{}"))
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
