package server

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"chancery/attest"
	"chancery/attest/virtual"
	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/ledger"
	"chancery/server/api"
)

// joiner is a node that asks to join, with its certificate.
type joiner struct {
	person
	csr  string
	body map[string]any
}

const trustedHost = "0101010101010101010101010101010101010101010101010101010101010101"

// newJoinService trusts virtual nodes whose binary is trustedHost.
func newJoinService(t *testing.T) *service {
	t.Helper()
	s := testService(t, func(c *Config, _ *InterfaceOptions) { c.Verifier, c.SignMode = virtual.Verifier{}, "CoseOnly" })
	s.node.put(t, func(tx *kv.Tx) {
		must(t, tables.VirtualMeasurements.Put(tx, virtual.Measurement, tables.AllowedToJoin))
		must(t, tables.VirtualHostData.Put(tx, trustedHost, tables.Unit{}))
	})
	return s
}

// newJoiner makes a well-formed request.
func newJoiner(t *testing.T, port int) *joiner {
	t.Helper()
	j := &joiner{person: validIdentity(t)}
	subject, err := identity.ParseSubject("CN=Node")
	must(t, err)
	csr, err := identity.NewRequest(j.key, subject, nil)
	must(t, err)
	j.csr = string(csr)
	encryption, err := identity.GenerateEncryptionKey()
	must(t, err)
	public, err := identity.PublicKeyPEM(encryption.Public())
	must(t, err)
	face := func(p int) map[string]any {
		return map[string]any{"bind_address": fmt.Sprint("127.0.0.1:", p)}
	}
	j.body = map[string]any{
		"node_info_network":           map[string]any{"node_to_node_interface": face(port), "rpc_interfaces": map[string]any{"primary": face(port + 1)}},
		"quote_info":                  j.quote(t, virtual.Measurement, trustedHost),
		"public_encryption_key":       string(public),
		"certificate_signing_request": j.csr,
		"startup_seqno":               0,
		"node_data":                   map[string]any{"rack": 1},
	}
	return j
}

// quote is evidence about the joiner's key.
func (j *joiner) quote(t *testing.T, measurement, host string) map[string]any {
	t.Helper()
	digest := sha256.Sum256(j.cert.RawSubjectPublicKeyInfo)
	raw, err := json.Marshal(map[string]any{"host_data": host, "measurement": measurement, "report_data": digest[:]})
	must(t, err)
	return map[string]any{"format": tables.QuoteVirtual, "quote": base64.StdEncoding.EncodeToString(raw), "endorsements": ""}
}

func (j *joiner) nodeID() string {
	digest := sha256.Sum256(j.cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(digest[:])
}

// ask sends the request, changed by what is given.
func (j *joiner) ask(t *testing.T, s *service, change map[string]any) answer {
	t.Helper()
	body := map[string]any{}
	for k, v := range j.body {
		body[k] = v
	}
	for k, v := range change {
		body[k] = v
		if v == "absent" {
			delete(body, k)
		}
	}
	text, err := json.Marshal(body)
	must(t, err)
	return s.do(t, s.client(t, &j.person), "POST", "/node/join", string(text))
}

// TestJoinRefusals sends requests with one thing wrong; none leaves a trace.
func TestJoinRefusals(t *testing.T) {
	s := newJoinService(t)
	j, other := newJoiner(t, 1000), newJoiner(t, 2000)
	if a := other.ask(t, s, nil); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	before := s.node.Position().Head
	for name, tt := range map[string]struct {
		change map[string]any
		status int
		code   api.Code
	}{
		"no network":             {map[string]any{"node_info_network": "absent"}, 400, api.InvalidInput},
		"network is text":        {map[string]any{"node_info_network": "x"}, 400, api.InvalidInput},
		"no node address":        {map[string]any{"node_info_network": map[string]any{"rpc_interfaces": map[string]any{}}}, 400, api.InvalidInput},
		"no quote":               {map[string]any{"quote_info": nil}, 400, api.InvalidInput},
		"odd format":             {map[string]any{"quote_info": map[string]any{"format": "Odd", "quote": "", "endorsements": ""}}, 400, api.InvalidInput},
		"no encryption key":      {map[string]any{"public_encryption_key": "absent"}, 400, api.InvalidInput},
		"key is a number":        {map[string]any{"public_encryption_key": 1}, 500, api.InternalError},
		"no seqno":               {map[string]any{"startup_seqno": "absent"}, 400, api.InvalidInput},
		"odd signing mode":       {map[string]any{"ledger_sign_mode": "Odd"}, 400, api.InvalidInput},
		"Dual at CoseOnly":       {map[string]any{"ledger_sign_mode": "Dual"}, 400, api.InvalidInput},
		"address of another":     {map[string]any{"node_info_network": other.body["node_info_network"]}, 400, api.NodeAlreadyExists},
		"not genuine":            {map[string]any{"quote_info": map[string]any{"format": tables.QuoteVirtual, "quote": "e30=", "endorsements": ""}}, 401, api.InvalidQuote},
		"another platform":       {map[string]any{"quote_info": map[string]any{"format": tables.QuoteSNP, "quote": "e30=", "endorsements": ""}}, 401, api.InvalidQuote},
		"unknown binary":         {map[string]any{"quote_info": j.quote(t, virtual.Measurement, strings.Repeat("02", 32))}, 401, api.InvalidQuote},
		"unknown measurement":    {map[string]any{"quote_info": j.quote(t, "v2", trustedHost)}, 401, api.InvalidQuote},
		"quote of another key":   {map[string]any{"quote_info": other.body["quote_info"]}, 401, api.InvalidQuote},
		"sealed as an object":    {map[string]any{"sealing_recovery_data": map[string]any{}}, 400, api.InvalidInput},
		"sealed without a name":  {map[string]any{"sealing_recovery_data": []any{sealedKey(t, attest.SealedSNP, 2048), ""}}, 400, api.InvalidInput},
		"sealed in odd ways":     {map[string]any{"sealing_recovery_data": []any{sealedKey(t, "Odd", 2048), "here"}}, 400, api.InvalidInput},
		"sealed for a short key": {map[string]any{"sealing_recovery_data": []any{sealedKey(t, attest.SealedSNP, 1024), "here"}}, 400, api.InvalidInput},
		"sealed, but for a key":  {map[string]any{"sealing_recovery_data": []any{map[string]any{"version": attest.SealedSNP, "ciphertext": "", "tcb_version": ""}, "here"}}, 400, api.InvalidInput},
		"request of another key": {map[string]any{"certificate_signing_request": other.csr}, 400, api.CSRPublicKeyInvalid},
	} {
		a := j.ask(t, s, tt.change)
		var e api.ErrorBody
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Error == nil || a.StatusCode != tt.status || e.Error.Code != tt.code {
			t.Errorf("%s: %d %s, want %d %s", name, a.StatusCode, a.body, tt.status, tt.code)
		}
	}
	if after := s.node.Position().Head; after != before {
		t.Errorf("a refusal was recorded: %v, before %v", after, before)
	}
	text, err := json.Marshal(j.body)
	must(t, err)
	if a := s.do(t, s.client(t, nil), "POST", "/node/join", string(text)); a.StatusCode != 500 {
		t.Errorf("without a certificate: %d %s", a.StatusCode, a.body)
	}
	s.node.lose()
	s.node.info.PrimaryID = other.nodeID()
	if a := j.ask(t, s, nil); a.StatusCode != 308 || a.Header.Get("location") != "https://127.0.0.1:2001/node/join" {
		t.Errorf("at a backup: %d %s %s", a.StatusCode, a.Header.Get("location"), a.body)
	}
}

// sealedKey is a recovery key of a number of bits.
func sealedKey(t *testing.T, version string, bits int) tables.SealedRecoveryKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	must(t, err)
	public, err := identity.PublicKeyPEM(key.Public())
	must(t, err)
	return tables.SealedRecoveryKey{Version: version, PublicKey: string(public), Ciphertext: []byte{1}, TCBVersion: "00"}
}

// TestJoinLife takes a node from its request to its retirement. Secrets are given once
// its trust is committed, and not before.
func TestJoinLife(t *testing.T) {
	s := newJoinService(t)
	j := newJoiner(t, 1000)
	status := func(want string, secrets bool) {
		t.Helper()
		a := j.ask(t, s, nil)
		var got api.JoinAnswer
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 || got.NodeStatus != want || got.NodeID != j.nodeID() || (got.NetworkInfo != nil) != secrets {
			t.Errorf("%d %s, want %s, with secrets %t", a.StatusCode, a.body, want, secrets)
		}
	}
	set := func(st tables.NodeStatus) {
		s.node.put(t, func(tx *kv.Tx) {
			row, _, err := tables.NodesInfo.Get(tx, j.nodeID())
			must(t, err)
			row.Status = st
			must(t, tables.NodesInfo.Put(tx, j.nodeID(), row))
		})
	}
	j.body["sealing_recovery_data"] = []any{sealedKey(t, attest.SealedSNP, 2048), "here"}
	status("Pending", false)
	if at, _, err := tables.SealingNames.Get(tables.View(s.node.Committed()), "here"); err != nil || at != j.nodeID() || !tables.NodesSealedRecoveryKeys.Has(tables.View(s.node.Committed()), at) {
		t.Errorf("the node here is %q, %v", at, err)
	}
	row, ok, err := tables.NodesInfo.Get(tables.View(s.node.Committed()), j.nodeID())
	if err != nil || !ok || row.Status != tables.NodePending || row.CSR != j.csr || row.NodeToNode.PublishedAddress != "127.0.0.1:1000" || string(row.Data) != `{"rack":1}` {
		t.Errorf("the row is %+v, %v", row, err)
	}
	status("Pending", false)
	s.node.auto = false
	set(tables.NodeTrusted)
	status("Pending", false)
	s.node.sign()
	status("Trusted", true)
	s.node.auto = true
	set(tables.NodeRetired)
	if a := j.ask(t, s, nil); a.StatusCode != 400 || !strings.Contains(a.body, string(api.InvalidNodeState)) {
		t.Errorf("a retired node: %d %s", a.StatusCode, a.body)
	}
	another := newJoiner(t, 1000)
	if a := another.ask(t, s, nil); a.StatusCode != 200 {
		t.Errorf("the address of a retired node is not free: %d %s", a.StatusCode, a.body)
	}
}

// openingEffects is what trusting a node at once needs.
type openingEffects struct {
	memEffects
	secret *ledger.Secret
}

func (e *openingEffects) LedgerSecrets() (gov.LedgerSecret, *gov.LedgerSecret, error) {
	return gov.LedgerSecret{From: 1, Secret: e.secret}, nil, nil
}

func (*openingEffects) EndorseNode(string, string, uint64) (string, error) { return "endorsed", nil }
func (*openingEffects) Log(slog.Level, string)                             {}
func (*openingEffects) PublicOnly() bool                                   { return false }

// TestJoinOpening: a service that is not open yet trusts a node at once.
func TestJoinOpening(t *testing.T) {
	s := newJoinService(t)
	secret, err := ledger.NewSecret(make([]byte, 32))
	must(t, err)
	s.node.effects = &openingEffects{secret: secret}
	s.node.put(t, func(tx *kv.Tx) {
		must(t, tables.ServiceInfo.Put(tx, tables.Service{Status: tables.ServiceOpening, Cert: "cert"}))
	})
	j := newJoiner(t, 1000)
	if a := j.ask(t, s, nil); a.StatusCode != 200 || strings.Contains(a.body, "network_info") {
		t.Errorf("the first request: %d %s", a.StatusCode, a.body)
	}
	a := j.ask(t, s, nil)
	var got api.JoinAnswer
	must(t, json.Unmarshal([]byte(a.body), &got))
	if got.NodeStatus != "Trusted" || got.NetworkInfo == nil || got.NetworkInfo.EndorsedCertificate != "endorsed" {
		t.Errorf("the second request: %d %s", a.StatusCode, a.body)
	}
}

// FuzzJoin parses requests to join: any bytes give a request or CCF's 400 or 500.
func FuzzJoin(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[]", "null", `{"node_info_network":{"node_to_node_interface":{"bind_address":"a:1"},"rpc_interfaces":{"x":{"bind_address":"a:2"}}},` +
			`"quote_info":{"format":"Insecure_Virtual","quote":"","endorsements":""},"public_encryption_key":"-----BEGIN ","startup_seqno":-1,"ledger_sign_mode":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := parseJoin(body)
		var e *api.Error
		if err != nil && (!errors.As(err, &e) || e.Status != 400 && e.Status != 500) {
			t.Errorf("%v", err)
		}
		if err == nil && (in.Network.NodeToNode.BindAddress == "" && !strings.Contains(string(body), "bind_address") || in.StartupSeqno == "") {
			t.Errorf("%s is taken as %+v", body, in)
		}
	})
}

// TestJoinStartup: a node that began with a snapshot and has the ledger before it takes
// a joiner that has nothing; one whose ledger begins with the snapshot does not.
func TestJoinStartup(t *testing.T) {
	s := newJoinService(t)
	s.node.info.StartupSeqno = 50
	if a := newJoiner(t, 1000).ask(t, s, nil); a.StatusCode != 200 {
		t.Errorf("with the whole ledger: %d %s", a.StatusCode, a.body)
	}
	s.node.info.InitIndex = 50
	a := newJoiner(t, 2000).ask(t, s, nil)
	if code, _ := errorOf(t, a); a.StatusCode != 400 || api.Code(code) != api.StartupSeqnoIsOld {
		t.Errorf("with the ledger from 50 on: %d %s", a.StatusCode, a.body)
	}
}

// TestJoinPendingTimeout: a node that asks again is seen, once in half the timeout; one
// that has ceased to is forgotten by the node's own request, and by nobody else's.
func TestJoinPendingTimeout(t *testing.T) {
	clock := time.Now().Truncate(time.Millisecond)
	s := testService(t, func(c *Config, _ *InterfaceOptions) {
		c.Verifier, c.PendingTimeout, c.Now = virtual.Verifier{}, time.Hour, func() time.Time { return clock }
	})
	s.node.put(t, func(tx *kv.Tx) {
		must(t, tables.VirtualMeasurements.Put(tx, virtual.Measurement, tables.AllowedToJoin))
		must(t, tables.VirtualHostData.Put(tx, trustedHost, tables.Unit{}))
	})
	began := clock
	j := newJoiner(t, 1000)
	ask := func(want int) {
		t.Helper()
		if a := j.ask(t, s, nil); a.StatusCode != want {
			t.Fatalf("%d %s, want %d", a.StatusCode, a.body, want)
		}
	}
	seen := func(want time.Time) {
		t.Helper()
		row, ok, err := tables.NodesInfo.Get(tables.View(s.node.store.Head()), j.nodeID())
		if err != nil || !ok || row.PendingLastSeen == nil || *row.PendingLastSeen != want.UnixMilli() {
			t.Fatalf("last seen: %+v, there: %t, %v, want %d", row.PendingLastSeen, ok, err, want.UnixMilli())
		}
	}
	ask(200)
	seen(began)
	clock = began.Add(29 * time.Minute)
	ask(200)
	seen(began)
	clock = began.Add(31 * time.Minute)
	ask(200)
	seen(clock)

	self, other := newIdentity(t, began.Add(-time.Hour), began.Add(4*time.Hour)), newIdentity(t, began.Add(-time.Hour), began.Add(4*time.Hour))
	digest := sha256.Sum256(self.cert.RawSubjectPublicKeyInfo)
	s.node.info.ID = hex.EncodeToString(digest[:])
	expire := func(by *person, want int, text string) {
		t.Helper()
		a := s.do(t, s.client(t, by), "POST", "/node/network/nodes/remove_expired_pending", "")
		if a.StatusCode != want || !strings.Contains(a.body, text) {
			t.Fatalf("%d %s, want %d %q", a.StatusCode, a.body, want, text)
		}
	}
	last := clock
	clock = last.Add(time.Hour)
	expire(&self, 200, "true")
	seen(last)
	clock = clock.Add(time.Second)
	expire(&other, 401, "Only the node itself can call this endpoint.")
	expire(nil, 401, "No caller certificate")
	seen(last)
	expire(&self, 200, "true")
	if tables.NodesInfo.Has(tables.View(s.node.store.Head()), j.nodeID()) {
		t.Error("a node that has ceased to ask is still there")
	}

	ask(200)
	last = clock
	clock = clock.Add(90 * time.Minute)
	s.node.lose()
	s.node.info.PrimaryID = j.nodeID()
	expire(&self, 200, "true") // a backup forgets nobody
	seen(last)
	ask(308) // and sends who is to be seen to the primary
}
