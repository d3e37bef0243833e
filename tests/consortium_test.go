package tests

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"chancery/gov/constitution"
)

// consortium is a service of three members, who use nothing but the command line.
type consortium struct {
	*sandbox
	node *node
}

// newConsortium makes keys, starts a node under the default constitution, and activates
// the members.
func newConsortium(t *testing.T) *consortium {
	t.Helper()
	c := &consortium{sandbox: newSandbox(t)}
	t.Cleanup(func() {
		if t.Failed() && c.node != nil {
			t.Logf("the node's log:\n%s", c.node.log())
		}
	})
	if err := os.MkdirAll(c.home(), 0o700); err != nil {
		t.Fatal(err)
	}
	c.sh("for m in alice bob carol; do bin/chancery key gen $m --enc --dir keys; done; bin/chancery key gen user --dir keys; bin/chancery key gen user2 --dir keys")
	source, err := constitution.Source("default+virtual")
	if err != nil {
		t.Fatal(err)
	}
	unanimous, err := constitution.Source("unanimous+virtual")
	if err != nil {
		t.Fatal(err)
	}
	c.write("constitution.js", source)
	c.write("unanimous.js", unanimous)
	var members []map[string]string
	for _, m := range []string{"alice", "bob", "carol"} {
		members = append(members, map[string]string{
			"certificate_file":           filepath.Join(c.dir, "keys", m+"_cert.pem"),
			"encryption_public_key_file": filepath.Join(c.dir, "keys", m+"_enc_pubk.pem"),
		})
	}
	config, err := json.Marshal(map[string]any{
		"network": map[string]any{
			"node_to_node_interface": map[string]any{"bind_address": "127.0.0.1:0"},
			"rpc_interfaces":         map[string]any{"main": map[string]any{"bind_address": "127.0.0.1:" + c.port}},
		},
		"command": map[string]any{
			"type": "Start", "service_certificate_file": filepath.Join(c.dir, "service_cert.pem"),
			"start": map[string]any{
				"members": members, "constitution_files": []string{filepath.Join(c.dir, "constitution.js")},
				"service_configuration": map[string]any{"recovery_threshold": 2}, "initial_service_certificate_validity_days": 90,
			},
		},
		"node_certificate": map[string]any{"subject_alt_names": []string{"iPAddress:127.0.0.1"}, "initial_validity_days": 90},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.home(), "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	c.node = c.start()
	until(t, "the service certificate is there", func() bool {
		_, err := os.Stat(filepath.Join(c.dir, "service_cert.pem"))
		return err == nil || c.node.gone()
	})
	for _, m := range []string{"alice", "bob", "carol"} {
		c.as(m, "gov activate")
	}
	return c
}

// deploy has the members agree on the logging sample.
func (c *consortium) deploy() {
	c.t.Helper()
	app, err := filepath.Abs("../samples/logging/js")
	if err != nil {
		c.t.Fatal(err)
	}
	c.sh("cp -r " + app + " app")
	c.agree("gov set-app app")
}

func (c *consortium) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// flags are those by which a command knows the service and who is asking.
func (c *consortium) flags(who string) string {
	return fmt.Sprintf(" --url https://127.0.0.1:%[1]s --service-cert service_cert.pem --cert keys/%[2]s_cert.pem --key keys/%[2]s_privk.pem", c.port, who)
}

// as runs a command as somebody.
func (c *consortium) as(who, command string) string {
	c.t.Helper()
	return c.sh("bin/chancery " + command + c.flags(who))
}

var proposalID = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// propose has a member propose, and returns the proposal's id and state.
func (c *consortium) propose(who, command string) (id, state string) {
	c.t.Helper()
	out := c.as(who, command)
	fields := strings.Fields(out)
	if len(fields) != 2 || !proposalID.MatchString(fields[0]) {
		c.t.Fatalf("%s: %s", command, out)
	}
	return fields[0], fields[1]
}

// vote has members vote, and checks the state that the proposal is in then.
func (c *consortium) vote(id, how, state string, who ...string) {
	c.t.Helper()
	var out string
	for _, m := range who {
		out = c.as(m, "gov vote "+id+" "+how)
	}
	if !strings.Contains(out, id+" "+state) {
		c.t.Fatalf("after %v voted %s: %s, want %s", who, how, out, state)
	}
}

// agree has a proposal made and accepted by a majority.
func (c *consortium) agree(command string) {
	c.t.Helper()
	id, _ := c.propose("alice", command)
	c.vote(id, "yes", "Accepted", "alice", "bob")
}

// says runs a command and wants texts in what it prints.
func (c *consortium) says(out string, texts ...string) {
	c.t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			c.t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// TestConsortium has three members open a service, vote changes in and down, swap the
// constitution and the application, remove a member and rotate a token key, all from the
// command line; then an auditor tells from the files who did what.
func TestConsortium(t *testing.T) {
	c := newConsortium(t)
	url := "https://127.0.0.1:" + c.port
	curl := "curl -sS --cacert service_cert.pem --cert keys/user_cert.pem --key keys/user_privk.pem "

	// Open, with a user and an application.
	id, state := c.propose("alice", "gov add-user keys/user_cert.pem")
	if state != "Open" {
		t.Errorf("a proposal without votes is %s", state)
	}
	c.says(c.as("carol", "gov show "+id), "set_user", "certificate of CN=user, id ", "vote missing: member ")
	c.vote(id, "yes", "Open", "alice")
	c.says(c.as("carol", "gov show "+id), "voted yes: member ")
	simulated := c.as("carol", "gov simulate "+id+" -o json")
	c.vote(id, "yes", "Accepted", "bob")
	c.sameAsReal(simulated, id)
	c.agree("gov open service_cert.pem")
	c.deploy()
	c.says(c.sh(curl+"-d '{\"id\": 1, \"msg\": \"hello\"}' -H 'content-type: application/json' "+url+"/app/log/private"), "true")

	// Voted down, taken back, waited for.
	user := strings.TrimSpace(c.sh("openssl x509 -in keys/user_cert.pem -outform DER | sha256sum | cut -d' ' -f1"))
	id, _ = c.propose("carol", "gov remove-user "+user)
	c.vote(id, "no", "Open", "alice", "bob")
	c.says(c.as("carol", "gov show "+id), "voted no: member ", "vote missing: member ")
	c.says(c.as("carol", "gov withdraw "+id), id+" Withdrawn")
	id, _ = c.propose("bob", "gov rekey")
	c.says(c.as("bob", "gov withdraw "+id), id+" Withdrawn")
	c.says(c.sh("bin/chancery gov withdraw "+id+c.flags("carol")+" 2>&1 || test $? = 4"), "can only be withdrawn by proposer")

	// Signed elsewhere: by a key that only openssl touches; and sent by curl.
	c.write("threshold.json", `{"actions": [{"name": "set_recovery_threshold", "args": {"recovery_threshold": 1}}]}`)
	c.sh(`bin/chancery gov sign --prepare proposal threshold.json --cert keys/bob_cert.pem -o pending.json
python3 -c 'import json,base64,sys; sys.stdout.buffer.write(base64.b64decode(json.load(open("pending.json"))["value"]))' > digest
openssl pkeyutl -sign -inkey keys/bob_privk.pem -in digest -out signature
bin/chancery gov sign --finish pending.json --signature signature -o message.cose
openssl pkeyutl -sign -inkey keys/carol_privk.pem -in digest -out wrong
bin/chancery gov sign --finish pending.json --signature wrong -o wrong.cose && exit 1 || test $? = 5`)
	id, _ = c.propose("alice", "gov send message.cose")
	line := c.as("carol", "gov vote "+id+" yes --curl ballot.cose")
	c.says(line, "curl --cacert service_cert.pem -X POST ", ":submit?api-version=")
	c.says(c.sh(line), `"ballotCount":1`)
	c.vote(id, "yes", "Accepted", "alice")

	// Another application: its change is shown as a diff.
	c.sh("sed -i 's/No such record/Nothing like record/' app/src/request.js")
	id, _ = c.propose("bob", "gov set-app app")
	c.says(c.as("alice", "gov show "+id), "@@", "-export const notFound", "+export const notFound", "/records.js: not changed", "endpoint /log/private: delete, get, post")
	c.vote(id, "yes", "Accepted", "alice", "carol")
	c.says(c.sh(curl+"'"+url+"/app/log/private?id=5'"), "Nothing like record: 5")

	c.rotateTokens(url)

	// Another constitution, under which all must agree, and a member goes by it.
	id, _ = c.propose("alice", "gov set-constitution unanimous.js")
	c.says(c.as("bob", "gov show "+id), "now: constitution", "proposed: constitution")
	c.vote(id, "yes", "Accepted", "alice", "bob")
	carol := strings.TrimSpace(c.sh("openssl x509 -in keys/carol_cert.pem -outform DER | sha256sum | cut -d' ' -f1"))
	id, _ = c.propose("alice", "gov remove-member "+carol)
	c.vote(id, "yes", "Open", "alice", "bob")
	c.vote(id, "yes", "Accepted", "carol")
	c.says(c.sh("bin/chancery gov rekey"+c.flags("carol")+" 2>&1 || test $? = 4"), "401")
	c.says(c.as("alice", "gov list"), id+" Accepted")
	id, _ = c.propose("alice", "gov refresh-shares")
	c.vote(id, "no", "Rejected", "bob")
	c.says(c.as("alice", "gov wait "+id), id+" Rejected")
	id, _ = c.propose("alice", "gov rekey")
	c.vote(id, "yes", "Accepted", "alice", "bob")

	// The auditor.
	c.node.stop()
	audit := "bin/chancery gov audit workspace/sandbox_0/ledger --service-cert service_cert.pem"
	c.says(c.sh(audit), "acts of governance", "each holds", "set_user(", "Rejected", "Withdrawn", "the service is Open", "ack by member ")
	for line := range strings.Lines(c.sh(audit + " -o json")) {
		var act struct {
			Member   string
			Repeated bool
			Problems []string
		}
		if err := json.Unmarshal([]byte(line), &act); err != nil || len(act.Problems) > 0 || act.Member != "" && !act.Repeated {
			t.Errorf("%v: %s", err, line)
		}
	}
}

// sameAsReal compares what was simulated with what the acceptance wrote, byte for byte.
func (c *consortium) sameAsReal(simulated, id string) {
	c.t.Helper()
	type document struct {
		Tables []struct {
			Name            string
			Writes, Removes json.RawMessage
		}
	}
	var want document
	if err := json.Unmarshal([]byte(simulated), &want); err != nil {
		c.t.Fatal(err)
	}
	if len(want.Tables) == 0 {
		c.t.Error("nothing was simulated")
	}
	var real document
	found := false
	for line := range strings.Lines(c.sh("bin/chancery ledger export workspace/sandbox_0/ledger")) {
		if strings.Contains(line, `\"state\":\"Accepted\"`) && strings.Contains(line, id) {
			found = true
			if err := json.Unmarshal([]byte(line), &real); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	if !found {
		c.t.Fatalf("the ledger does not show that %s was accepted", id)
	}
	written := map[string]string{}
	for _, m := range real.Tables {
		written[m.Name] = string(m.Writes) + string(m.Removes)
	}
	for _, m := range want.Tables {
		if got := written[m.Name]; got != string(m.Writes)+string(m.Removes) {
			c.t.Errorf("%s: simulated %s%s, written %s", m.Name, m.Writes, m.Removes, got)
		}
	}
}

// rotateTokens registers a token issuer, replaces its key, and uses both.
func (c *consortium) rotateTokens(url string) {
	c.t.Helper()
	token := func(kid string) (jwks map[string]any, signed string) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			c.t.Fatal(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			c.t.Fatal(err)
		}
		signed, err = jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: "https://issuer.example", Subject: "dave", Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)), NotBefore: jwt.NewNumericDate(time.Now().Add(-time.Minute)),
		}).Serialize()
		if err != nil {
			c.t.Fatal(err)
		}
		return map[string]any{"keys": []any{jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"}}}, signed
	}
	put := func(name string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		c.write(name, string(text))
	}
	asks := func(signed string) string {
		return c.sh("curl -sS -o /dev/null -w '%{http_code}' --cacert service_cert.pem -H 'authorization: Bearer " + signed + "' '" + url + "/app/log/private?id=1'")
	}
	first, old := token("one")
	put("issuer.json", map[string]any{"issuer": "https://issuer.example", "jwks": first})
	c.agree("gov set-jwt-issuer issuer.json")
	if code := asks(old); code != "200" {
		c.t.Errorf("with the issuer's token: %s", code)
	}
	second, fresh := token("two")
	put("jwks.json", second)
	c.agree("gov set-jwt-keys https://issuer.example jwks.json")
	if was, is := asks(old), asks(fresh); was != "401" || is != "200" {
		c.t.Errorf("after the rotation: with the old key %s, with the new one %s", was, is)
	}
}
