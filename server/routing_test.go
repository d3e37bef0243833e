package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/server/api"
)

func TestTemplate(t *testing.T) {
	tests := []struct {
		template, path string
		want           Params // nil: no match
	}{
		{"/tx", "/tx", Params{}},
		{"/tx", "/tx/", nil},
		{"/a/{b}", "/a/1", Params{{"b", "1"}}},
		{"/a/{b}", "/a/", nil},
		{"/a/{b}", "/a/1/2", nil},
		{"/a/{b}", "/a/%2F%41", Params{{"b", "%2F%41"}}},
		{"/a/{b}:c", "/a/1:c", Params{{"b", "1"}}},
		{"/a/{b}:c", "/a/1:2:c", nil},
		{"/a/{b}:c", "/a/:c", nil},
		{"/a/{b}/{c}:d", "/a/x:y/z:d", Params{{"b", "x:y"}, {"c", "z"}}},
		{"/{a}-{b}", "/1-2", Params{{"a", "1"}, {"b", "2"}}},
		{"/{a}-{b}", "/1-2-3", Params{{"a", "1"}, {"b", "2-3"}}},
	}
	for _, tt := range tests {
		tpl, err := parseTemplate(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := tpl.match(tt.path)
		if ok != (tt.want != nil) || ok && len(tt.want) > 0 && cmp.Diff(tt.want, got) != "" {
			t.Errorf("%s on %s: got %v, %t, want %v", tt.template, tt.path, got, ok, tt.want)
		}
	}
}

func TestTemplateMalformed(t *testing.T) {
	for _, text := range []string{"/{", "/{}", "/{a", "/{a}{b}", "/{a}/{a}", "/{a{b}}"} {
		if _, err := parseTemplate(text); err == nil {
			t.Errorf("parseTemplate(%q) accepted it", text)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("/a/{b}:c", "/a/1:c")
	f.Add("/{a}-{b}", "/1-2-3")
	f.Fuzz(func(t *testing.T, text, path string) {
		tpl, err := parseTemplate(text)
		if err != nil {
			return
		}
		params, ok := tpl.match(path)
		if !ok {
			return
		}
		// Putting the values back into the template gives the path.
		got := text
		for _, p := range params {
			got = strings.Replace(got, "{"+p.Name+"}", p.Value, 1)
			if p.Value == "" || strings.Contains(p.Value, "/") {
				t.Errorf("%s on %s: %s is %q", text, path, p.Name, p.Value)
			}
		}
		if got != path && !strings.Contains(path, "{") {
			t.Errorf("%s with %v is %s, want %s", text, params, got, path)
		}
	})
}

func TestQuery(t *testing.T) {
	q := Query(decodeQuery("a=1&b&c=&a=2&d=x%26e=3&f=+%2B&g=%zz%2"))
	for name, want := range map[string]string{"a": "1", "b": "", "c": "", "d": "x", "e": "3", "f": " +", "g": "%zz%2"} {
		if got, ok := q.Get(name); !ok || got != want {
			t.Errorf("Get(%q) = %q, %t, want %q", name, got, ok, want)
		}
	}
	if _, ok := q.Get("h"); ok {
		t.Error("an absent parameter was found")
	}
}

func TestAllowHeader(t *testing.T) {
	if got, want := allowHeader([]string{"PATCH", "GET", "PUT", "POST", "DELETE", "GET"}), "OPTIONS, DELETE, GET, POST, PUT, PATCH"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// errorOf decodes an error answer.
func errorOf(t *testing.T, a answer) (code, message string) {
	t.Helper()
	var body api.ErrorBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Error == nil {
		t.Fatalf("%d %q is no error answer", a.StatusCode, a.body)
	}
	return string(body.Error.Code), body.Error.Message
}

// TestAnswers asks a running node and compares what a client sees, as CCF 7.0.2 answers.
func TestAnswers(t *testing.T) {
	s := testService(t, nil)
	c := s.client(t, nil)
	id := s.node.info.ID
	const ver = "?api-version=2024-07-01"
	tests := []struct {
		method, path  string
		header        []string
		status        int
		code, message string
		has           string // in the body of a success
	}{
		{"GET", "/node/commit", nil, 200, "", "", `{"transaction_id":"2.2"}`},
		{"GET", "/node/commit?view_history=true", nil, 200, "", "", `"view_history":["1.1","2.1"]`},
		{"GET", "/node/commit?view_history_since=2", nil, 200, "", "", `"view_history":["2.1"]`},
		{"GET", "/node/commit?view_history_since=2&view_history=false", nil, 200, "", "", `{"transaction_id":"2.2"}`},
		{"GET", "/node/commit?view_history_since=x", nil, 200, "", "", `{"transaction_id":"2.2"}`},
		{"GET", "/node/commit?view_history=maybe", nil, 400, "InvalidQueryParameterValue", "Invalid value for view_history, must be one of [true, false] when present", ""},
		{"GET", "/node/commit?view_history_since=0", nil, 400, "InvalidQueryParameterValue", "Invalid value for view_history_since, must be in range [1, current_term]", ""},
		{"GET", "/node/commit?view_history_since=99", nil, 404, "InvalidQueryParameterValue", "Invalid value for view_history_since, must be in range [1, current_term]", ""},
		{"GET", "/node/tx?transaction_id=2.1", nil, 200, "", "", `{"status":"Committed","transaction_id":"2.1"}`},
		{"GET", "/node/tx?transaction_id=9.1", nil, 200, "", "", `"Invalid"`},
		{"GET", "/node/tx?transaction_id=1.1", nil, 200, "", "", `"Invalid"`},
		{"GET", "/node/tx?transaction_id=2.99999", nil, 200, "", "", `"Unknown"`},
		{"GET", "/node/tx", nil, 400, "InvalidQueryParameterValue", "Missing query parameter 'transaction_id'", ""},
		{"GET", "/node/tx?transaction_id=+2.1", nil, 400, "InvalidQueryParameterValue", "The value ' 2.1' passed as query parameter 'transaction_id' could not be converted to a valid Transaction ID.", ""},
		{"GET", "/node/receipt", nil, 404, "TransactionInvalid", "Could not extract Transaction Id", ""},
		{"GET", "/node/receipt?transaction_id=9.1", nil, 404, "TransactionInvalid", "Only committed transactions can be queried. Transaction 9.1 is Invalid", ""},
		{"GET", "/node/receipt?transaction_id=2.99999", nil, 404, "TransactionPendingOrUnknown", "Only committed transactions can be queried. Transaction 2.99999 is Unknown", ""},
		{"GET", "/node/receipt?transaction_id=2.1", nil, 202, "", "", "2.1"},
		{"GET", "/node/receipt/cose?transaction_id=2.1", nil, 200, "", "", "\xd2"},
		{"GET", "/node/receipt/cose?transaction_id=2.2", nil, 404, "ResourceNotFound", "No COSE receipt available for this transaction.", ""},
		{"PUT", "/app/commit", nil, 405, "UnsupportedHttpVerb", "Allowed methods for '/commit' are: OPTIONS, GET.", ""},
		{"HEAD", "/app/commit", nil, 405, "", "", ""},
		{"OPTIONS", "/app/commit", nil, 204, "", "", ""},
		{"GET", "/app", nil, 404, "ResourceNotFound", "Unknown path: /app.", ""},
		{"GET", "/app/", nil, 404, "ResourceNotFound", "Unknown path: /.", ""},
		{"GET", "/app/commit/", nil, 404, "ResourceNotFound", "Unknown path: /commit/.", ""},
		{"GET", "/node/../node/state", nil, 404, "ResourceNotFound", "Unknown path: /../node/state.", ""},
		{"GET", "/gov/%63ommit", nil, 404, "ResourceNotFound", "Unknown path: /%63ommit.", ""},
		{"GET", "/other/thing", nil, 404, "ResourceNotFound", "Unknown path: /other/thing.", ""},
		{"GET", "/commit", nil, 200, "", "", "2.2"}, // no prefix: the application's
		{"GET", "/gov/commit", []string{"accept", "application/xml"}, 406, "UnsupportedContentType", "No supported content type in accept header: application/xml\nOnly application/json is currently supported", ""},
		{"GET", "/gov/commit", []string{"accept", "text/html, application/json;q=0.5"}, 200, "", "", "2.2"},
		{"GET", "/gov/commit", []string{"accept", "application/*"}, 200, "", "", "2.2"},
		{"GET", "/gov/commit", []string{"accept", "nonsense"}, 400, "InvalidHeaderValue", "Entry in Accept header is not a valid MIME type: nonsense", ""},
		{"GET", "/gov/tx", []string{"accept", "application/xml"}, 400, "InvalidQueryParameterValue", "Missing query parameter 'transaction_id'", ""},
		{"GET", "/node/state", nil, 200, "", "", `"last_signed_seqno":2`},
		{"HEAD", "/node/state", nil, 405, "", "", ""},
		{"GET", "/node/network", nil, 200, "", "", `"service_status":"Open"`},
		{"GET", "/node/network/nodes", nil, 200, "", "", `"last_written":1`},
		{"GET", "/node/network/nodes?status=Odd", nil, 400, "InvalidQueryParameterValue", "Query parameter 'Odd' is not a valid node status", ""},
		{"GET", "/node/network/nodes?host=nowhere", nil, 200, "", "", `{"nodes":[]}`},
		{"GET", "/node/network/nodes?port=8000", nil, 200, "", "", id},
		{"GET", "/node/network/nodes/abc", nil, 404, "ResourceNotFound", "Node not found", ""},
		{"GET", "/node/network/nodes/self", nil, 200, "", "", `"status":"Trusted"`},
		{"GET", "/node/network/nodes/primary", nil, 200, "", "", `"primary":true`},
		{"GET", "/node/network/removable_nodes", nil, 200, "", "", `{"nodes":[]}`},
		{"DELETE", "/node/network/nodes/abc", nil, 404, "ResourceNotFound", "No such node", ""},
		{"DELETE", "/node/network/nodes/" + id, nil, 400, "NodeNotRetiredCommitted", "Node is not completely retired", ""},
		{"POST", "/node/network/nodes/set_retired_committed", nil, 401, "InvalidAuthenticationInfo", "Invalid authentication credentials.", ""},
		{"POST", "/node/jwt_keys/refresh", nil, 401, "InvalidAuthenticationInfo", "Invalid authentication credentials.", ""},
		{"GET", "/node/primary", nil, 200, "", "", ""},
		{"HEAD", "/node/primary", nil, 200, "", "", ""},
		{"GET", "/node/backup", nil, 404, "ResourceNotFound", "Node is not backup", ""},
		{"GET", "/node/service/previous_identity", nil, 404, "ResourceNotFound", "This service is not a recovery of a previous service.", ""},
		{"GET", "/node/service/configuration", nil, 200, "", "", `{"recovery_threshold":1}`},
		{"GET", "/node/index/strategies", nil, 200, "", "", `[]`},
		{"GET", "/node/ready/app", nil, 204, "", "", ""},
		{"GET", "/node/ready/gov", nil, 204, "", "", ""},
		{"GET", "/node/join", nil, 405, "UnsupportedHttpVerb", "Allowed methods for '/join' are: OPTIONS, POST.", ""},
		{"GET", "/gov/service/info", nil, 400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests. The supported api-versions are: 2023-06-01-preview, 2024-07-01", ""},
		{"GET", "/gov/service/info?api-version=2000-01-01", nil, 400, "UnsupportedApiVersionValue", "Unsupported api-version '2000-01-01'. The supported api-versions are: 2023-06-01-preview, 2024-07-01", ""},
		{"GET", "/gov/service/transactions/2.1" + ver, nil, 200, "", "", `{"status":"Committed","transactionId":"2.1"}`},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			a := s.do(t, c, tt.method, tt.path, "", tt.header...)
			if a.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", a.StatusCode, tt.status, a.body)
			}
			if tt.code == "" {
				if !strings.Contains(a.body, tt.has) {
					t.Errorf("body %q lacks %q", a.body, tt.has)
				}
				return
			}
			code, message := errorOf(t, a)
			if code != tt.code || message != tt.message {
				t.Errorf("got %s %q, want %s %q", code, message, tt.code, tt.message)
			}
			if got := a.Header.Get("content-type"); got != "application/json" {
				t.Errorf("content type %q", got)
			}
		})
	}
}

// TestTxIDHeader checks which answers carry a TxID.
func TestTxIDHeader(t *testing.T) {
	s := testService(t, nil)
	c := s.client(t, nil)
	for path, want := range map[string]string{
		"/node/state": "2.2", "/node/network": "2.2", "/node/quotes": "2.2", "/node/js_metrics": "2.2", "/node/receipt/cose?transaction_id=2.1": "2.2",
		"/node/commit": "", "/node/tx?transaction_id=2.1": "", "/node/version": "", "/node/consensus": "", "/node/config": "", "/node/metrics": "",
		"/node/ready/app": "", "/node/primary": "", "/node/network/nodes/abc": "", "/gov/commit": "", "/app/commit": "2.2",
	} {
		a := s.do(t, c, http.MethodGet, path, "")
		if got := a.Header.Get(api.HeaderTxID); got != want {
			t.Errorf("%s: TxID %q, want %q", path, got, want)
		}
	}
}

// TestOpenness checks when the frontends open.
func TestOpenness(t *testing.T) {
	n := newMemNode()
	n.auto = false
	s := serveNode(t, n, nil)
	c := s.client(t, nil)
	n.open(t)
	for _, fe := range []string{"app", "gov"} {
		a := s.do(t, c, http.MethodGet, "/"+fe+"/commit", "")
		if code, message := errorOf(t, a); a.StatusCode != 404 || code != "FrontendNotOpen" || message != "Frontend is not open." {
			t.Errorf("/%s before the commit: %d %s %q", fe, a.StatusCode, code, message)
		}
	}
	if a := s.do(t, c, http.MethodGet, "/node/ready/app", ""); a.StatusCode != 503 || a.body != "" {
		t.Errorf("/node/ready/app before the commit: %d %q", a.StatusCode, a.body)
	}
	n.sign()
	for _, fe := range []string{"app", "gov"} {
		if a := s.do(t, c, http.MethodGet, "/"+fe+"/commit", ""); a.StatusCode != 200 {
			t.Errorf("/%s after the commit: %d %s", fe, a.StatusCode, a.body)
		}
	}
}
