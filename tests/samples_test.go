package tests

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crypto/tls"

	"chancery/client"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// TestSamples deploys the samples one after the other to one service, by governance, and
// uses them as users and members do. (Their own tests run in internal/apptest.)
func TestSamples(t *testing.T) {
	s := newSandbox(t)
	s.up()
	s.sh("bin/chancery key gen bob --dir keys && bin/chancery gov add-user keys/bob_cert.pem")
	p := &people{s: s, ann: s.client(), bob: s.clientAs(keyPair(t, filepath.Join(s.dir, "keys", "bob"))),
		member: s.clientAs(keyPair(t, filepath.Join(s.dir, "workspace", "sandbox_common", "member0")))}
	defer p.ann.Close()
	defer p.bob.Close()
	defer p.member.Close()
	p.annID, p.bobID = p.id("workspace/sandbox_common/user0_cert.pem"), p.id("keys/bob_cert.pem")
	t.Run("banking", p.banking)
	t.Run("reconciliation", p.reconciliation)
	t.Run("roles", p.roles)
}

// people are two users and a member of a service.
type people struct {
	s                *sandbox
	ann, bob, member *client.Client
	annID, bobID     string
}

func keyPair(t *testing.T, stem string) *tls.Certificate {
	t.Helper()
	own, err := tls.LoadX509KeyPair(stem+"_cert.pem", stem+"_privk.pem")
	if err != nil {
		t.Fatal(err)
	}
	return &own
}

// id is the id of a user with this certificate.
func (p *people) id(file string) string {
	p.s.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.s.dir, file))
	if err != nil {
		p.s.t.Fatal(err)
	}
	cert, err := client.ParseCertificate(text)
	if err != nil {
		p.s.t.Fatal(err)
	}
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// deploy proposes a sample, and the lone member's proposal is accepted.
func (p *people) deploy(t *testing.T, sample string) {
	t.Helper()
	dir, err := filepath.Abs("../samples/" + sample)
	if err != nil {
		t.Fatal(err)
	}
	if out := p.s.sh("bin/chancery app deploy " + dir); !strings.Contains(out, "Accepted") {
		t.Fatalf("deploying %s: %s", sample, out)
	}
}

// wants asks and compares status and body.
func wants(t *testing.T, c *client.Client, method, path string, body any, want string) {
	t.Helper()
	if got := said(t, c, client.Request{Method: method, Path: "/app" + path, JSON: body}); got != want {
		t.Errorf("%s %s %v: %s, want %s", method, path, body, got, want)
	}
}

type object = map[string]any

func (p *people) banking(t *testing.T) {
	p.deploy(t, "banking")
	for _, account := range []string{p.annID + "/current", p.bobID + "/current"} {
		wants(t, p.member, "PUT", "/account/"+account, nil, "204 ")
	}
	wants(t, p.ann, "PUT", "/account/"+p.annID+"/more", nil, "401 Invalid authentication credentials.")
	wants(t, p.member, "POST", "/deposit/"+p.annID+"/current", object{"value": 100}, "204 ")
	wants(t, p.ann, "POST", "/transfer/current", object{"value": 101, "user_id_to": p.bobID, "account_name_to": "current"}, "400 The balance is too low")
	resp, err := p.ann.Do(t.Context(), client.Request{Method: "POST", Path: "/app/transfer/current", Wait: client.ForCommit,
		JSON: object{"value": 30, "user_id_to": p.bobID, "account_name_to": "current"}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, p.ann, "GET", "/balance/current", nil, `200 {"balance":70}`)
	wants(t, p.bob, "GET", "/balance/current", nil, `200 {"balance":30}`)
	wants(t, p.bob, "GET", "/statement/current?limit=1", nil,
		fmt.Sprintf(`200 {"movements":[{"number":1,"kind":"received","value":30,"other":{"user":%q,"account":"current"},"balance":30}]}`, p.annID))
	p.proof(t, resp.TxID)
}

// proof: whoever was paid proves it offline, with the receipt that the application gave.
func (p *people) proof(t *testing.T, id writeset.TxID) {
	resp, err := p.bob.Do(t.Context(), client.Request{Method: "GET", Path: "/app/proof?transaction_id=" + id.String(), Fetched: true})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Claim   string
		Receipt struct {
			Signature, Cert string
			Leaf            struct {
				Claims string `json:"claims_digest"`
			} `json:"leaf_components"`
		}
	}
	if err := json.Unmarshal(resp.Body, &got); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(got.Claim))
	if got.Receipt.Leaf.Claims != hex.EncodeToString(sum[:]) || !strings.Contains(got.Claim, p.bobID) {
		t.Errorf("the receipt's claims digest is not that of %s: %s", got.Claim, resp.Body)
	}
	receipt, err := p.bob.Receipt(t.Context(), id, ledger.ExpectClaims(sum))
	if err != nil {
		t.Fatal(err)
	}
	if receipt.NodeCert != got.Receipt.Cert {
		t.Error("the application's receipt is another one than the service's")
	}
	wants(t, p.ann, "GET", "/proof?transaction_id=2.1", nil, "404 Transaction 2.1 is no transfer of yours")
	wants(t, p.ann, "GET", "/proof?transaction_id=x", nil, "400 transaction_id is view.seqno")
}

func (p *people) reconciliation(t *testing.T) {
	p.deploy(t, "reconciliation")
	submit := func(c *client.Client, records ...object) {
		t.Helper()
		wants(t, c, "POST", "/records", object{"records": records}, "204 ")
	}
	submit(p.ann, object{"id": "x/1", "value": "a"}, object{"id": "y", "value": "b"})
	submit(p.bob, object{"id": "x/1", "value": "a"}, object{"id": "y", "value": "other"}, object{"id": "z", "value": "c"})
	wants(t, p.ann, "GET", "/report", nil, `200 {"records":[{"id":"x/1","value":"a","state":"agreed","parties":2},{"id":"y","value":"b","state":"minority","parties":2}]}`)
	wants(t, p.ann, "GET", "/report/x%2F1", nil, `200 {"id":"x/1","value":"a","state":"agreed","parties":2}`)
	wants(t, p.ann, "GET", "/report/z", nil, "404 You have no such record")
	wants(t, p.member, "GET", "/summary", nil, `200 {"alone":1,"agreed":1,"disputed":1}`)
	wants(t, p.bob, "GET", "/summary", nil, "401 Invalid authentication credentials.")
}

func (p *people) roles(t *testing.T) {
	p.deploy(t, "roles")
	govern := func(actions ...object) {
		t.Helper()
		text, err := json.Marshal(object{"actions": actions})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.s.dir, "proposal.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out := p.s.sh("bin/chancery gov propose proposal.json"); !strings.Contains(out, "Accepted") {
			t.Fatalf("proposing %s: %s", text, out)
		}
	}
	role := func(name string, actions ...string) object {
		return object{"name": "set_role_definition", "args": object{"role": name, "actions": actions}}
	}
	user := func(id string, roles ...string) object {
		return object{"name": "set_user_data", "args": object{"user_id": id, "user_data": object{"roles": roles}}}
	}
	put := func(c *client.Client, want string) {
		t.Helper()
		wants(t, c, "PUT", "/documents/a", object{"text": "one"}, want)
	}
	put(p.ann, "403 None of your roles allows the action write")
	govern(role("editor", "read", "write"), role("reader", "read"), user(p.annID, "editor"), user(p.bobID, "reader"))
	put(p.ann, "204 ")
	put(p.bob, "403 None of your roles allows the action write")
	wants(t, p.bob, "GET", "/documents/a", nil, `200 {"text":"one"}`)
	wants(t, p.bob, "GET", "/documents", nil, `200 ["a"]`)
	wants(t, p.bob, "GET", "/allowed/read", nil, `200 {"allowed":true,"role":"reader"}`)
	govern(role("editor", "read"), role("reader", "read", "delete"))
	put(p.ann, "403 None of your roles allows the action write")
	wants(t, p.bob, "DELETE", "/documents/a", nil, "204 ")
	wants(t, p.bob, "GET", "/documents/a", nil, "404 There is no document a")
	govern(user(p.bobID))
	wants(t, p.bob, "GET", "/documents/a", nil, "403 None of your roles allows the action read")
}
