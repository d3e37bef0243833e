package tests

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"chancery/client"
	"chancery/gov/constitution"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// TestNativeApp runs the logging application that is compiled into a node, and the one
// in JavaScript, and asks both the same: status, code and body are the same.
func TestNativeApp(t *testing.T) {
	native := newSandbox(t)
	native.install("logging")
	native.up("--node", "bin/logging")
	script := newSandbox(t)
	script.up()
	a, b := native.client(), script.client()
	defer a.Close()
	defer b.Close()
	post := func(path string, body any) client.Request {
		return client.Request{Method: "POST", Path: path, JSON: body}
	}
	for _, kind := range []string{"private", "public"} {
		at := "/app/log/" + kind
		for _, r := range []client.Request{
			post(at, map[string]any{"id": 7, "msg": "seven"}),
			post(at, map[string]any{"id": 8, "msg": "eight"}),
			{Method: "GET", Path: at + "?id=7"},
			{Method: "GET", Path: at + "?id=9"},
			{Method: "GET", Path: at + "/count"},
			post(at, map[string]any{"id": 7, "msg": ""}),
			post(at, map[string]any{"msg": "no id"}),
			{Method: "DELETE", Path: at + "?id=7"},
			{Method: "GET", Path: at + "?id=7"},
			{Method: "DELETE", Path: at + "/all"},
			{Method: "GET", Path: at + "/count"},
			{Method: "PUT", Path: at + "/count"},
		} {
			if got, want := said(t, a, r), said(t, b, r); got != want {
				t.Errorf("%s %s %v: in Go %s, in JavaScript %s", r.Method, r.Path, r.JSON, got, want)
			}
		}
	}
	sameBeyondRecords(t, a, b)
	nativeOnly(t, a, native)
	claim := post("/app/log/public", map[string]any{"id": 1, "msg": "claimed", "record_claim": true})
	claim.Wait = client.ForReceipt
	resp, err := a.Do(t.Context(), claim)
	if err != nil || resp.Receipt == nil {
		t.Fatalf("a claim with its receipt: %+v, %v", resp, err)
	}
	native.interrupt()
	native.up("--node", "bin/logging") // resumes
	if got := said(t, a, client.Request{Method: "GET", Path: "/app/log/public?id=1"}); got != `200 {"msg":"claimed"}` {
		t.Errorf("after a restart: %s", got)
	}
}

// sameBeyondRecords asks both applications about callers and about the past.
func sameBeyondRecords(t *testing.T, a, b *client.Client) {
	for _, r := range []client.Request{
		{Method: "POST", Path: "/app/log/private/prefix_cert", JSON: object{"id": 3, "msg": "three"}},
		{Method: "POST", Path: "/app/log/private/admin_only", JSON: object{"id": 3, "msg": "three"}},
		{Method: "POST", Path: "/app/log/private/raw_text/4", Body: []byte("raw"), ContentType: "text/plain"},
		{Method: "POST", Path: "/app/log/private/raw_text/4", Body: []byte("raw"), ContentType: "text/html"},
		{Method: "GET", Path: "/app/log/private?id=4"},
		{Method: "POST", Path: "/app/log/private?scope=s", JSON: object{"id": 5, "msg": "scoped"}},
		{Method: "GET", Path: "/app/log/private?id=5"},
		{Method: "GET", Path: "/app/log/private?id=5&scope=s"},
		{Method: "GET", Path: "/app/log/private/backup?id=4"},
		{Method: "GET", Path: "/app/log/private/historical?id=4"},
	} {
		if got, want := said(t, a, r), said(t, b, r); got != want {
			t.Errorf("%s %s %v: in Go %s, in JavaScript %s", r.Method, r.Path, r.JSON, got, want)
		}
	}
	for name, c := range map[string]*client.Client{"Go": a, "JavaScript": b} {
		write := func(path string, body any) *client.Response {
			resp, err := c.Do(t.Context(), client.Request{Method: "POST", Path: path, JSON: body, Wait: client.ForCommit})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return resp
		}
		id := write("/app/log/public", object{"id": 6, "msg": "first", "record_claim": true}).TxID
		second := write("/app/log/public", object{"id": 6, "msg": "second"}).TxID
		about := func(path string) string {
			resp, err := c.Do(t.Context(), client.Request{Path: path, Header: http.Header{"X-Ms-Ccf-Transaction-Id": {id.String()}}, Fetched: true})
			if err != nil {
				t.Fatalf("%s: %s: %v", name, path, err)
			}
			return string(resp.Body)
		}
		if got := about("/app/log/public/historical?id=6"); got != `{"msg":"first"}` {
			t.Errorf("%s: historical: %s", name, got)
		}
		if got := about("/app/log/public/historical_receipt?id=6"); !strings.Contains(got, `"write_set_digest"`) || strings.Contains(got, "claims_digest") {
			t.Errorf("%s: historical_receipt: %s", name, got)
		}
		want := fmt.Sprintf(`{"entries":[{"seqno":%d,"id":6,"msg":"first"},{"seqno":%d,"id":6,"msg":"second"}]}`, id.Seqno, second.Seqno)
		if got := about(fmt.Sprintf("/app/log/public/historical/range?id=6&from_seqno=%d", id.Seqno)); got != want {
			t.Errorf("%s: range: %s, want %s", name, got, want)
		}
		describes := said(t, c, client.Request{Method: "POST", Path: "/app/multi_auth"})
		if !strings.HasPrefix(describes, "200 User TLS cert\nThe caller is a user with ID: ") || !strings.Contains(describes, "\nThe caller's user data is: null\nThe caller's cert is:\n-----BEGIN CERTIFICATE-----") {
			t.Errorf("%s: multi_auth: %s", name, describes)
		}
	}
}

// nativeOnly asks for what CCF's C++ application has and its JavaScript one does not.
func nativeOnly(t *testing.T, c *client.Client, s *sandbox) {
	at := func(method, path string, body any, want string, header ...string) *client.Response {
		t.Helper()
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		r := client.Request{Method: method, Path: "/app" + path, JSON: body, Header: h, Fetched: true}
		resp, err := c.Do(t.Context(), r)
		got := said1(t, r, resp, err)
		if got != want {
			t.Errorf("%s %s %v %v: %s, want %s", method, path, body, header, got, want)
		}
		return resp
	}
	sum := sha256.Sum256([]byte("tagged"))
	tag := hex.EncodeToString(sum[:])
	if resp := at("POST", "/log/public", object{"id": 20, "msg": "tagged"}, "200 true"); resp.Header.Get("etag") != tag {
		t.Errorf("ETag %q, want %s", resp.Header.Get("etag"), tag)
	}
	at("GET", "/log/public?id=20", nil, `200 {"msg":"tagged"}`, "if-match", `"`+tag+`"`)
	at("GET", "/log/public?id=20", nil, "412 Resource has changed.", "if-match", `"x"`)
	at("GET", "/log/public?id=20", nil, "304 ", "if-none-match", `"`+tag+`"`)
	at("POST", "/log/public", object{"id": 20, "msg": "other"}, "412 Resource has changed.", "if-none-match", "*")
	at("POST", "/log/public", object{"id": 21, "msg": "new"}, "200 true", "if-none-match", "*")
	at("POST", "/log/public", object{"id": 20, "msg": "other"}, "400 Invalid If-Match header", "if-match", tag)
	at("DELETE", "/log/public?id=20", nil, "412 Resource has changed.", "if-match", `"x"`)
	at("DELETE", "/log/public?id=20", nil, "200 true", "if-match", `"`+tag+`"`)

	etagRace(t, c)

	at("GET", "/custom_auth", nil, `200 {"age":42,"description":"Your name is Ann and you are 42","name":"Ann"}`, "x-custom-auth-name", "Ann", "x-custom-auth-age", "42")
	at("GET", "/custom_auth", nil, "401 Invalid authentication credentials.", "x-custom-auth-name", "Ann", "x-custom-auth-age", "15")
	at("GET", "/custom_auth", nil, "500 Exception: boom", "x-custom-auth-explode", "boom")
	at("GET", "/log/request_query?a=b&c", nil, "200 a=b&c")
	at("POST", "/log/private/anonymous", object{"id": 22, "msg": "who"}, "200 true")
	at("GET", "/log/private?id=22", nil, `200 {"msg":"Anonymous: who"}`)

	for path, status := range map[string]string{"/log/blocking/private": "200 true", "/log/private/optional_commit?wait_for_commit=true": "200 true"} {
		resp := at("POST", path, object{"id": 23, "msg": "held"}, status)
		id, err := writeset.ParseTxID(resp.Header.Get("x-ms-ccf-transaction-id"))
		if err != nil {
			t.Fatal(err)
		}
		if last, err := c.Commit(t.Context()); err != nil || last.Seqno < id.Seqno {
			t.Errorf("%s answered at %v before its commit: %v, %v", path, id, last, err)
		}
	}
	at("GET", "/log/blocking/private?id=23", nil, `200 {"msg":"held"}`)
	receipt, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/log/blocking/private/receipt", JSON: object{"id": 24, "msg": "receipt"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ledger.VerifyCOSEReceipt(receipt.Body, s.service()); err != nil || !strings.HasPrefix(got.Proofs[0].Leaf.Evidence, "ce:"+receipt.TxID.String()+":") {
		t.Errorf("the receipt in the answer: %+v, %v", got, err)
	}
	verify := client.Request{Path: "/app/log/public/verify_cose_receipt", Body: receipt.Body, ContentType: "application/cose"}
	if got := said(t, c, verify); got != "204 " {
		t.Errorf("verify_cose_receipt: %s", got)
	}
	verify.Body = append([]byte{}, receipt.Body...)
	verify.Body[len(verify.Body)-1] ^= 1
	if got := said(t, c, verify); !strings.HasPrefix(got, "400 COSE receipt verification failed: ") {
		t.Errorf("verify_cose_receipt of a damaged one: %s", got)
	}
	var v2 struct {
		Success bool
		TxID    string `json:"tx_id"`
	}
	resp, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/log/private/anonymous/v2", JSON: object{"id": 25, "msg": "v2"}, Wait: client.ForCommit})
	if err != nil || json.Unmarshal(resp.Body, &v2) != nil || !v2.Success || v2.TxID != resp.TxID.String() {
		t.Errorf("anonymous/v2: %+v, %v", resp, err)
	}
	at("POST", "/log/private/anonymous/v2?fail=true", object{"id": 25, "msg": "v2"}, "500 Failed to execute local commit handler func: didn't set user_data!")
	at("GET", fmt.Sprintf("/log/private/historical/sparse?id=25&seqnos=%d,1", resp.TxID.Seqno), nil, fmt.Sprintf(`200 {"entries":[{"seqno":%d,"id":25,"msg":"v2"}]}`, resp.TxID.Seqno))
	at("GET", "/log/private/historical/sparse?id=25&seqnos=x", nil, "400 Unable to parse 'x' as a seqno")
	served, err := c.COSEReceiptBytes(t.Context(), resp.TxID)
	if err != nil {
		t.Fatal(err)
	}
	at("GET", "/log/public/cose_receipt", nil, "200 "+string(served), "x-ms-ccf-transaction-id", resp.TxID.String())

	coseDocuments(t, c, s, resp.TxID)

	at("GET", "/log/private/committed?id=26", nil, "412 ")
	at("POST", "/log/private/install_committed_index", nil, "200 ")
	at("POST", "/log/private/install_committed_index", nil, "412 ")
	at("POST", "/log/private", object{"id": 26, "msg": "indexed"}, "200 true")
	until(t, "the record is in the index", func() bool {
		return said(t, c, client.Request{Path: "/app/log/private/committed?id=26"}) == `200 {"msg":"indexed"}`
	})
	at("DELETE", "/log/private?id=26", nil, "200 true")
	until(t, "the record is out of the index", func() bool {
		return strings.HasPrefix(said(t, c, client.Request{Path: "/app/log/private/committed?id=26"}), "400 No such record: 26.")
	})
	shown := said(t, c, client.Request{Path: "/node/index/strategies"})
	for _, name := range []string{"SeqnosByKey records", "SeqnosByKey public:records", "CommittedRecords records"} {
		if !strings.Contains(shown, fmt.Sprintf(`"name":%q`, name)) {
			t.Errorf("no strategy %s in %s", name, shown)
		}
	}
	at("POST", "/log/private/uninstall_committed_index", nil, "200 ")
	at("POST", "/log/private/uninstall_committed_index", nil, "412 ")
}

// etagRace has many writers replace one record on the same condition: one does.
func etagRace(t *testing.T, c *client.Client) {
	resp, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/log/public", JSON: object{"id": 30, "msg": "first"}})
	if err != nil {
		t.Fatal(err)
	}
	tag := resp.Header.Get("etag")
	var won, lost atomic.Int32
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() {
			_, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/log/public", JSON: object{"id": 30, "msg": fmt.Sprint("by ", i)}, Header: http.Header{"If-Match": {`"` + tag + `"`}}})
			var refused *client.Error
			switch {
			case err == nil:
				won.Add(1)
			case errors.As(err, &refused) && refused.Status == http.StatusPreconditionFailed:
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if won.Load() != 1 || lost.Load() != 15 {
		t.Errorf("%d writers won, %d lost", won.Load(), lost.Load())
	}
}

// coseDocuments asks about what the service signed: a transaction's signature and receipt,
// a statement that is registered and fetched as a transparent one, the first transaction.
func coseDocuments(t *testing.T, c *client.Client, s *sandbox, id writeset.TxID) {
	get := func(id writeset.TxID, path string) (*client.Response, string) {
		t.Helper()
		r := client.Request{Path: "/app" + path, Fetched: true}
		if !id.IsZero() {
			r.Header = http.Header{"X-Ms-Ccf-Transaction-Id": {id.String()}}
		}
		resp, err := c.Do(t.Context(), r)
		return resp, said1(t, r, resp, err)
	}
	signatureOf := func(id writeset.TxID) []byte {
		t.Helper()
		var out struct {
			Signature []byte `json:"cose_signature"`
		}
		if resp, got := get(id, "/log/public/cose_signature"); json.Unmarshal(resp.Body, &out) != nil || len(out.Signature) == 0 {
			t.Fatalf("cose_signature of %s: %s", id, got)
		}
		return out.Signature
	}
	receipt, err := c.COSEReceiptBytes(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ledger.ParseCOSEReceipt(receipt)
	if err != nil {
		t.Fatal(err)
	}
	// The signature is the receipt's without its proof, and that of the signature transaction.
	bare, err := ledger.SignedStatement(receipt)
	if err != nil {
		t.Fatal(err)
	}
	if got, own := signatureOf(id), signatureOf(parsed.SignedAt); !bytes.Equal(got, bare) || !bytes.Equal(own, bare) {
		t.Errorf("signatures %x and %x, want %x", got, own, bare)
	}
	if _, got := get(id, "/log/public/cose_endorsements"); got != "404 No COSE endorsements available for this transaction" {
		t.Errorf("cose_endorsements: %s", got)
	}
	if _, got := get(writeset.TxID{}, "/cose_signatures_config"); got != `200 {"issuer":"","subject":""}` {
		t.Errorf("cose_signatures_config: %s", got)
	}
	if _, got := get(writeset.TxID{}, "/log/public/trusted_keys"); !strings.Contains(got, `"kid":"`+parsed.KeyID+`"`) || !strings.Contains(got, `"crv":"P-384"`) {
		t.Errorf("trusted_keys: %s", got)
	}
	byHandle := fmt.Sprintf("/log/private/historical/handle?handle=7&seqno=%d", id.Seqno)
	if resp, got := get(writeset.TxID{}, byHandle); !strings.HasPrefix(got, "200 ") {
		t.Errorf("historical/handle: %s", got)
	} else if r, err := ledger.ParseReceipt(resp.Body); err != nil || r.Verify(s.service(), ledger.ExpectTx(id)) != nil {
		t.Errorf("historical/handle: %s: %v", got, err)
	}
	for path, want := range map[string]string{
		"handle=7": "400 Missing query parameter 'seqno'", "seqno=1": "400 Missing query parameter 'handle'",
		"handle=7&seqno=99999": "400 Requested historical TxID is not committed",
	} {
		if _, got := get(writeset.TxID{}, "/log/private/historical/handle?"+path); got != want {
			t.Errorf("historical/handle?%s: %s, want %s", path, got, want)
		}
	}

	// A statement: the bare signature will do, it is a COSE_Sign1; what stands in its
	// unprotected header does not become part of it.
	register := client.Request{Method: "POST", Path: "/app/log/signed_statement", Body: receipt, ContentType: "application/cose", Wait: client.ForCommit}
	resp, err := c.Do(t.Context(), register)
	if err != nil || string(resp.Body) != "" {
		t.Fatalf("signed_statement: %+v, %v", resp, err)
	}
	of, err := c.COSEReceiptBytes(t.Context(), resp.TxID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.VerifyCOSEReceipt(of, s.service(), ledger.ExpectClaims(sha256.Sum256(bare))); err != nil {
		t.Errorf("the statement's receipt: %v", err)
	}
	want, err := ledger.TransparentStatement(bare, of)
	if err != nil {
		t.Fatal(err)
	}
	if _, got := get(resp.TxID, "/log/transparent_statement"); got != "200 "+string(want) {
		t.Errorf("transparent_statement: %x, want %x", got, want)
	}
	if _, got := get(id, "/log/transparent_statement"); got != "404 Transaction ID "+id.String()+" does not correspond to a COSE entry." {
		t.Errorf("transparent_statement of another: %s", got)
	}
	for body, want := range map[string]string{"": "400 Body must not be empty", "junk": "400 The body is no signed statement: "} {
		register.Body, register.Wait = []byte(body), 0
		if got := said(t, c, register); !strings.HasPrefix(got, want) {
			t.Errorf("signed_statement %q: %s, want %s", body, got, want)
		}
	}

	text, err := constitution.Source("sandbox+virtual+roles")
	if err != nil {
		t.Fatal(err)
	}
	first := writeset.TxID{View: 2, Seqno: 1}
	if _, err := c.Receipt(t.Context(), first, ledger.ExpectClaims(sha256.Sum256([]byte(text)))); err != nil {
		t.Errorf("the first transaction's claim is not the constitution: %v", err)
	}
}

// said is an answer's status and body.
func said(t *testing.T, c *client.Client, r client.Request) string {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	return said1(t, r, resp, err)
}

// said1 is said of an answer that is there.
func said1(t *testing.T, r client.Request, resp *client.Response, err error) string {
	t.Helper()
	var refused *client.Error
	switch {
	case err == nil:
		return fmt.Sprintf("%d %s", resp.Status, resp.Body)
	case errors.As(err, &refused):
		return fmt.Sprintf("%d %s", refused.Status, refused.Message)
	}
	t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	return ""
}
