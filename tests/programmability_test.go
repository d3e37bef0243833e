package tests

import (
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/client"
	"chancery/internal/cose"
)

// TestProgrammability runs the sample whose users install endpoints: by an admin alone,
// signed or not, within what the application lets them do, and never twice by one
// signature.
func TestProgrammability(t *testing.T) {
	s := newSandbox(t)
	s.install("programmability")
	s.up("--node", "bin/programmability")
	c := s.client()
	defer c.Close()
	p := &people{s: s}
	user := p.id("workspace/sandbox_common/user0_cert.pem")
	wants(t, c, "POST", "/records", object{"a": "in Go"}, "204 ")

	module := `
		const buf = ccf.strToBuf;
		const tries = (f) => { try { f(); return "done"; } catch (e) { return e.message; } };
		export function read() { return { body: ccf.bufToStr(ccf.kv["programmability.records"].get(buf("a"))) }; }
		export function write() { return { body: [tries(() => ccf.kv["programmability.records"].set(buf("a"), buf("b"))), tries(() => ccf.kv["programmability.x"].get(buf("a"))), tries(() => ccf.kv.mine.set(buf("a"), buf("b")))] }; }
		export function role(request) { return { body: [my_object.my_constant, my_object.hasRole(request.caller.id, "dance"), tries(() => my_object.hasRole(1))] }; }`
	endpoint := func(function, mode string) object {
		return object{"js_module": "a.js", "js_function": function, "mode": mode, "forwarding_required": "always", "authn_policies": []string{"user_cert"}, "openapi": object{}}
	}
	bundle := object{
		"metadata": object{"endpoints": object{"/js/read": object{"get": endpoint("read", "readonly")}, "/js/write": object{"post": endpoint("write", "readwrite")}, "/js/role": object{"get": endpoint("role", "readonly")}}},
		"modules":  []object{{"name": "a.js", "module": module}},
	}
	wants(t, c, "PUT", "/custom_endpoints", bundle, "403 Only admins may access this endpoint.")
	proposal := fmt.Sprintf(`{"actions": [{"name": "set_user_data", "args": {"user_id": %q, "user_data": {"isAdmin": true, "roles": ["dancer"]}}}, {"name": "set_role_definition", "args": {"role": "dancer", "actions": ["dance"]}}]}`, user)
	if err := os.WriteFile(filepath.Join(s.dir, "admin.json"), []byte(proposal), 0o600); err != nil {
		t.Fatal(err)
	}
	s.sh("bin/chancery gov propose admin.json")
	wants(t, c, "GET", "/js/read", nil, "404 Unknown path: /js/read.")
	wants(t, c, "PUT", "/custom_endpoints", bundle, "204 ")
	wants(t, c, "GET", "/js/read", nil, "200 in Go")
	wants(t, c, "GET", "/js/role", nil, `200 ["Hello world",true,"hasRole takes a user's id and an action, both text"]`)
	wants(t, c, "POST", "/js/write", nil, `200 ["Cannot call \"set\" on table named programmability.records. The programmability.records map is managed by endpoints in Go, so is read-only in JS.","Cannot call \"get\" on table named programmability.x. The 'programmability.' prefix is reserved by the endpoints in Go for future use.","done"]`)
	wants(t, c, "GET", "/records/a", nil, "200 in Go")
	got := said(t, c, client.Request{Path: "/app/custom_endpoints"})
	if !strings.Contains(got, `"/js/read":{"GET":{`) || !strings.Contains(got, `"name":"/a.js"`) {
		t.Errorf("installed: %.500s", got)
	}
	wants(t, c, "GET", "/custom_endpoints/modules?module_name=a.js", nil, "200 "+module)
	wants(t, c, "GET", "/custom_endpoints/modules?module_name=b.js", nil, "500 Failed to get module: NotFound")
	wants(t, c, "PUT", "/custom_endpoints", object{"metadata": object{"endpoints": object{}}, "modules": []object{{"name": "a.js", "module": "import './b.js'"}}}, "500 Failed to install endpoints: Module 'b.js' could not be loaded")
	wants(t, c, "GET", "/js/read", nil, "200 in Go") // what failed changed nothing
	if got := said(t, c, client.Request{Path: "/app/api"}); !strings.Contains(got, `"/app/js/read"`) || !strings.Contains(got, `"/app/custom_endpoints"`) {
		t.Errorf("the API document lacks them: %.300s", got)
	}
	signedActions(t, c, keyPair(t, filepath.Join(s.dir, "workspace", "sandbox_common", "user0")).PrivateKey.(crypto.Signer), user)
	s.interrupt()
	s.up("--node", "bin/programmability")
	wants(t, c, "GET", "/js/read", nil, "404 Unknown path: /js/read.") // the signed bundle, which is empty, survived
	out := s.sh("bin/chancery ledger tables workspace/sandbox_0/ledger")
	if !strings.Contains(out, "public:custom_endpoints.audit.info") {
		t.Errorf("the actions are not in the ledger:\n%.500s", out)
	}
}

// signedActions changes options and endpoints by COSE envelopes.
func signedActions(t *testing.T, c *client.Client, key crypto.Signer, user string) {
	send := func(method, path, msgType string, created any, body string) (envelope []byte, answer string) {
		t.Helper()
		alg, err := cose.AlgorithmFor(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		header := []cose.Pair{{Key: int64(1), Value: int64(alg)}, {Key: int64(4), Value: []byte(user)}, {Key: "app.msg.type", Value: msgType}}
		if created != nil {
			header = append(header, cose.Pair{Key: "app.msg.created_at", Value: created})
		}
		protected, err := cose.EncodeMap(header...)
		if err != nil {
			t.Fatal(err)
		}
		if envelope, err = cose.SignAttached(key, protected, []byte(body)); err != nil {
			t.Fatal(err)
		}
		return envelope, said(t, c, client.Request{Method: method, Path: "/app" + path, Body: envelope, ContentType: "application/cose"})
	}
	const options = "/custom_endpoints/runtime_options"
	now := time.Now().Unix()
	changed := `200 {"max_heap_bytes":104857600,"max_stack_bytes":1048576,"max_execution_time_ms":1234,"log_exception_details":false,"return_exception_details":true,"max_cached_interpreters":10}`
	first, got := send("PATCH", options, "runtime_options", now, `{"max_execution_time_ms": 1234, "return_exception_details": true}`)
	if got != changed {
		t.Errorf("patched: %s", got)
	}
	again := client.Request{Method: "PATCH", Path: "/app" + options, Body: first, ContentType: "application/cose"}
	if got := said(t, c, again); got != "500 Action was already applied" {
		t.Errorf("replayed: %s", got)
	}
	for _, tt := range []struct {
		msgType string
		created any
		body    string
		want    string
	}{
		{"runtime_options", now - 1000, `{}`, "500 Action created_at timestamp is too old"},
		{"runtime_options", nil, `{}`, "400 Missing app.msg.created_at protected header"},
		{"runtime_options", now, `{`, "400 "},
		{"runtime_options", now, `{"max_heap_bytes": "x"}`, "400 "},
		{"runtime_options", now, `{"max_execution_time_ms": null, "return_exception_details": null}`, `200 {"max_heap_bytes":104857600,"max_stack_bytes":1048576,"max_execution_time_ms":5000,"log_exception_details":false,"return_exception_details":false,"max_cached_interpreters":10}`},
	} {
		if _, got := send("PATCH", options, tt.msgType, tt.created, tt.body); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.body, got, tt.want)
		}
	}
	// The type is checked: a signature for one endpoint is none for the other. The user's
	// certificate, the next policy, then lets the envelope in, whose body is no JSON.
	if _, got := send("PUT", "/custom_endpoints", "runtime_options", now, `{"metadata": {"endpoints": {}}, "modules": []}`); !strings.HasPrefix(got, "400 ") {
		t.Errorf("of another type: %s", got)
	}
	if _, got := send("PUT", "/custom_endpoints", "custom_endpoints", now, `{"metadata": {"endpoints": {}}, "modules": []}`); got != "204 " {
		t.Errorf("installed by a signature: %s", got)
	}
	resp, err := c.Do(t.Context(), client.Request{Path: "/app/custom_endpoints"})
	var left map[string]json.RawMessage
	if err != nil || resp.Status != http.StatusOK || json.Unmarshal(resp.Body, &left) != nil || string(left["modules"]) != "[]" {
		t.Errorf("left: %v, %v", resp, err)
	}
}
