package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"chancery/ledger"
)

// TestEndorsements: the statements that lead to the identity of a transaction are given; one
// that they do not reach back to is refused by name, not put off.
func TestEndorsements(t *testing.T) {
	service, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	earlier, err := x509.MarshalPKIXPublicKey(&service.PublicKey)
	must(t, err)
	next, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	s := testService(t, nil)
	endorse := func(begin, end TxID) string {
		raw, err := ledger.EndorseIdentity(next, earlier, ledger.Epoch{Begin: begin, End: end}, time.Now())
		must(t, err)
		e, err := ledger.ParseIdentityEndorsement(raw)
		must(t, err)
		s.node.endorsements = []*ledger.IdentityEndorsement{e}
		return base64.StdEncoding.EncodeToString(raw)
	}
	c := s.client(t, nil)
	first := TxID{View: 2, Seqno: 1}
	ask := func(id string) answer {
		return s.do(t, c, "GET", "/node/service/endorsements?transaction_id="+id, "")
	}
	if a := ask(first.String()); a.StatusCode != 200 || a.body != `{"endorsements":[]}` {
		t.Errorf("of the present life: %d %s", a.StatusCode, a.body)
	}
	raw := endorse(first, TxID{View: 2, Seqno: 2})
	if a := ask(first.String()); a.StatusCode != 200 || a.body != `{"endorsements":["`+raw+`"]}` {
		t.Errorf("of an earlier life: %d %s", a.StatusCode, a.body)
	}
	endorse(TxID{View: 2, Seqno: 2}, TxID{View: 2, Seqno: 2})
	if a := ask(first.String()); a.StatusCode != 404 || !strings.Contains(a.body, "ResourceNotFound") || !strings.Contains(a.body, "does not reach back to it: its receipts verify under the service certificate of that time only") {
		t.Errorf("before what is stated: %d %s", a.StatusCode, a.body)
	}
	for id, want := range map[string]string{"": "Could not extract Transaction Id", "x": "Could not extract Transaction Id", "2.4000": "2.4000"} {
		if a := ask(id); a.StatusCode != 404 || !strings.Contains(a.body, want) {
			t.Errorf("about %q: %d %s", id, a.StatusCode, a.body)
		}
	}
}
