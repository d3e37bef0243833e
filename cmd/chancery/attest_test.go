package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"chancery/attest"
	"chancery/attest/platform"
	"chancery/attest/snp/snptest"
	"chancery/server/api"
)

// TestAttestVerify explains good and bad evidence of a fake processor: each check has a
// line, and the first that fails ends it.
func TestAttestVerify(t *testing.T) {
	t.Chdir(t.TempDir())
	key := [32]byte{7}
	endorser := snptest.NewEndorser(t, true)
	good := snptest.Allow(t, snptest.New(t, attest.Genoa))
	if err := os.WriteFile("policy.json", good, 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := readPolicy("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		edit   func(m *snptest.Machine, q *api.Quote)
		policy attest.Policy
		ends   string // of what is printed
		fails  string // what the error says; "" for none
	}{
		{"good", func(*snptest.Machine, *api.Quote) {}, policy, "ok    TCB: 541700000000070a on CPUID 00a10f11\nok    key: the evidence is about the key that the file names as the node's\nthe evidence is genuine, and what it claims is trusted\n", ""},
		{"no policy", func(*snptest.Machine, *api.Quote) {}, nil, "measurement 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\n", ""},
		{"debug", func(m *snptest.Machine, _ *api.Quote) { m.Report.PolicyFlags |= 8 }, policy, "ok    VMPL: 0\nFAIL  debug\n", "may be debugged"},
		{"another key", func(_ *snptest.Machine, q *api.Quote) { q.NodeID = strings.Repeat("00", 32) }, policy, "FAIL  key\n", "report data"},
		{"host data", func(m *snptest.Machine, _ *api.Quote) { m.Report.HostData[0]++ }, policy, "FAIL  host data\n", "host data"},
		{"not endorsed", func(m *snptest.Machine, _ *api.Quote) {
			m.UVM = endorser.Endorse(t, endorser.DID(""), snptest.Measurement(m), 1)
		}, policy, "FAIL  UVM endorsement\n", "did:x509"},
		{"endorsed, no policy", func(m *snptest.Machine, _ *api.Quote) {
			m.UVM = endorser.Endorse(t, endorser.DID(""), snptest.Measurement(m), 1)
		}, nil, "feed ContainerPlat-AMD-UVM, version 1\n", ""},
		{"broken endorsement", func(m *snptest.Machine, _ *api.Quote) { m.UVM = []byte("x") }, nil, "FAIL  UVM endorsement\n", "malformed"},
	} {
		m := snptest.New(t, attest.Genoa)
		q := api.Quote{NodeID: hex.EncodeToString(key[:])}
		c.edit(m, &q)
		e := m.Evidence(t, key)
		q.Format, q.Raw = string(e.Format), base64.StdEncoding.EncodeToString(e.Quote)
		q.Endorsements = base64.StdEncoding.EncodeToString(e.Endorsements)
		if e.UVMEndorsements != nil {
			text := base64.StdEncoding.EncodeToString(e.UVMEndorsements)
			q.UVMEndorsements = &text
		}
		text, err := json.Marshal(api.Quotes{Quotes: []api.Quote{q}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("quote.json", text, 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := readQuotes("quote.json")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = verifyEvidence(streams{out: &out}, platform.Verifier{SNP: m.Verifier()}, c.policy, "", all)
		if !strings.HasSuffix(out.String(), c.ends) || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v\n%s", c.name, err, &out)
		}
		if err != nil && exitCode(err) != exitUnverified {
			t.Errorf("%s: exit code %d", c.name, exitCode(err))
		}
		// A released program trusts no such processor, and says what it is shown all the same.
		out.Reset()
		if code := execute(t.Context(), []string{"attest", "verify", "quote.json"}, streams{out: &out, err: &out}); code != exitUnverified ||
			!strings.Contains(out.String(), "ok    endorsements: VCEK, ASK, ARK\nFAIL  root\n") {
			t.Errorf("%s, under AMD's roots: exit code %d\n%s", c.name, code, &out)
		}
		out.Reset()
		if code := execute(t.Context(), []string{"attest", "show", "quote.json"}, streams{out: &out, err: &out}); code != exitDone ||
			!strings.Contains(out.String(), "processor       CPUID 00a10f11\n") {
			t.Errorf("%s, shown: exit code %d\n%s", c.name, code, &out)
		}
	}
}

// TestAttestFiles reads what is no evidence, no policy and no list.
func TestAttestFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"empty": "", "object": "{}", "words": "evidence", "list": "[]", "short": `{"raw":"AA==","format":"AMD_SEV_SNP_v1","node_id":"00"}`,
		"base64": `{"raw":"?","format":"AMD_SEV_SNP_v1","node_id":"` + strings.Repeat("00", 32) + `"}`,
		"virtual": `{"raw":"` + base64.StdEncoding.EncodeToString([]byte(`{"host_data":"`+strings.Repeat("00", 32)+`","measurement":"m","report_data":"`+strings.Repeat("A", 43)+`="}`)) +
			`","format":"Insecure_Virtual","node_id":"` + strings.Repeat("00", 32) + `"}`,
		"sgx": `{"raw":"AA==","format":"OE_SGX_v1","node_id":"` + strings.Repeat("00", 32) + `"}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
	}{
		{"verify empty", exitUnverified}, {"verify object", exitUnverified}, {"verify words", exitUnverified}, {"verify list", exitUnverified},
		{"verify short", exitUnverified}, {"verify base64", exitUnverified}, {"verify sgx", exitUnverified}, {"show base64", exitUnverified},
		{"verify virtual", exitDone}, {"show sgx", exitDone}, {"show empty", exitUnverified}, {"verify nowhere", exitUsage}, {"show nowhere", exitUsage}, {"verify a b", exitUsage},
		{"verify sgx --policy words", exitUsage}, {"verify sgx --policy object", exitUsage}, {"verify sgx --policy nowhere", exitUsage},
		{"verify virtual --nonce AA==", exitUnverified}, {"verify sgx --crl words", exitUsage}, {"verify sgx --crl nowhere", exitUsage}, {"verify --workspace nowhere", exitUsage},
	} {
		var out bytes.Buffer
		if code := execute(t.Context(), append([]string{"attest"}, strings.Fields(c.args)...), streams{out: &out, err: &out}); code != c.code {
			t.Errorf("attest %s: exit code %d, want %d\n%s", c.args, code, c.code, &out)
		}
	}
}
