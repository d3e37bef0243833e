package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/server/api"
)

// TestAttestation asks with good and bad nonces, of a node that has evidence and of one
// that has none yet.
func TestAttestation(t *testing.T) {
	n := newMemNode()
	s := serveNode(t, n, nil)
	c := s.client(t, nil)
	good := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if a := s.do(t, c, "POST", "/node/attestation", `{"nonce":"`+good+`"}`); a.StatusCode != http.StatusNotFound {
		t.Errorf("without evidence: %d %s", a.StatusCode, a.body)
	}
	n.put(t, func(tx *kv.Tx) {
		must(t, tables.ServiceInfo.Put(tx, tables.Service{Cert: s.self.pem, Status: tables.ServiceOpen}))
		must(t, tables.NodesInfo.Put(tx, n.info.ID, tables.Node{
			Status: tables.NodeTrusted, Quote: tables.QuoteInfo{Format: tables.QuoteVirtual, Quote: []byte("quote"), Endorsements: []byte{}},
		}))
	})
	a := s.do(t, c, "POST", "/node/attestation", `{"nonce":"`+good+`"}`)
	var got api.NodeAttestation
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	signed, err := base64.StdEncoding.DecodeString(got.Statement)
	must(t, err)
	text, ok := strings.CutPrefix(string(signed), api.TypeAttestation)
	var stated api.AttestationStatement
	if err := json.Unmarshal([]byte(text), &stated); err != nil || !ok {
		t.Fatalf("signed %s", signed)
	}
	if stated.Nonce != good || stated.NodeID != n.info.ID || len(stated.ServiceCertificate) != 64 || got.Attestation.NodeID != n.info.ID {
		t.Errorf("%+v, %+v", stated, got)
	}
	for _, body := range []string{
		"", "{}", "x", `{"nonce":1}`, `{"nonce":""}`, `{"nonce":"?"}`,
		`{"nonce":"` + base64.StdEncoding.EncodeToString(make([]byte, 15)) + `"}`,
		`{"nonce":"` + base64.StdEncoding.EncodeToString(make([]byte, 65)) + `"}`,
	} {
		if a := s.do(t, c, "POST", "/node/attestation", body); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, a.StatusCode, a.body)
		}
	}
}
