package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"chancery/attest"
	"chancery/attest/platform"
	"chancery/attest/snp/snptest"
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/server/api"
)

// logged collects a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what came since it was last asked.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// TestJoinSNPRefusals asks as SEV-SNP nodes that the service does not trust, and as one
// that lies: each is answered in CCF's words, the log says which check failed, and nothing
// is recorded or released.
func TestJoinSNPRefusals(t *testing.T) {
	model, log := snptest.New(t, attest.Milan), &logged{}
	s := testService(t, func(c *Config, _ *InterfaceOptions) {
		c.Verifier, c.Log = platform.Verifier{SNP: model.Verifier(), Production: true}, slog.New(slog.NewTextHandler(log, nil))
	})
	s.node.put(t, func(tx *kv.Tx) {
		var p attest.JoinPolicy
		must(t, json.Unmarshal(snptest.Allow(t, model), &p))
		must(t, tables.SNPMeasurements.Put(tx, p.SNP.Measurements[0], tables.AllowedToJoin))
		must(t, tables.SNPHostData.Put(tx, hex.EncodeToString(model.Report.HostData[:]), ""))
		must(t, tables.SNPTCBVersions.Put(tx, "00a00f11", p.SNP.TCBVersions["00a00f11"]))
	})
	before := s.node.Position().Head
	for _, c := range []struct {
		name         string
		edit         func(m *snptest.Machine, e *attest.Evidence, key *[32]byte)
		says, logged string
	}{
		{"another key", func(_ *snptest.Machine, _ *attest.Evidence, key *[32]byte) { key[0]++ },
			"Quote report data does not match the hash of the public key for this node", "report data"},
		{"debug", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.Report.PolicyFlags |= 8 }, "Quote could not be verified", "debugged"},
		{"migration", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.Report.PolicyFlags |= 4 }, "Quote could not be verified", "migrated"},
		{"another chip", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.Chip[0]++ }, "Quote could not be verified", "another chip"},
		{"measurement", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.Report.Measurement[0]++ }, "Quote does not contain known enclave measurement", "measurement"},
		{"host data", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.Report.HostData[0]++ }, "Quote host data is not authorised", "host data"},
		{"older TCB", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.Report.ReportedTCB -= 1 << 56; m.TCB[8]-- }, "Quote TCB version is too low", "da18000000000004"},
		{"another processor", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.Report.Stepping++ }, "Quote CPUID is unknown", "00a00f12"},
		{"broken endorsement", func(m *snptest.Machine, _ *attest.Evidence, _ *[32]byte) { m.UVM = []byte("x") }, "UVM endorsements are not authorised", "malformed UVM"},
		{"changed", func(_ *snptest.Machine, e *attest.Evidence, _ *[32]byte) { e.Quote[0x90] ^= 1 }, "Quote could not be verified", "did not sign"},
		{"oversized", func(_ *snptest.Machine, e *attest.Evidence, _ *[32]byte) { e.Quote = make([]byte, 600<<10) }, "Quote could not be verified", "wrong size"},
		{"virtual", func(_ *snptest.Machine, e *attest.Evidence, _ *[32]byte) { e.Format = attest.FormatVirtual }, "Quote could not be verified", "refused in production"},
		{"good", func(*snptest.Machine, *attest.Evidence, *[32]byte) {}, "", "asks to join"},
	} {
		m, j := *model, newJoiner(t, 1000)
		m.TCB, m.Chip = map[int]byte{}, bytes.Clone(model.Chip)
		for k, v := range model.TCB {
			m.TCB[k] = v
		}
		key := sha256.Sum256(j.cert.RawSubjectPublicKeyInfo)
		var made attest.Evidence
		c.edit(&m, &attest.Evidence{Quote: make([]byte, 0x100)}, &key)
		made = m.Evidence(t, key)
		again := m
		c.edit(&again, &made, new([32]byte)) // of the evidence, once it is made
		quote := map[string]any{"format": string(made.Format), "quote": base64.StdEncoding.EncodeToString(made.Quote),
			"endorsements": base64.StdEncoding.EncodeToString(made.Endorsements)}
		if made.UVMEndorsements != nil {
			quote["uvm_endorsements"] = base64.StdEncoding.EncodeToString(made.UVMEndorsements)
		}
		log.take()
		a := j.ask(t, s, map[string]any{"quote_info": quote})
		if text := log.take(); !strings.Contains(text, c.logged) {
			t.Errorf("%s: the log says %s", c.name, text)
		}
		if c.says == "" {
			if a.StatusCode != 200 || strings.Contains(a.body, "private_key") || s.node.Position().Head == before {
				t.Errorf("%s: %d %s", c.name, a.StatusCode, a.body)
			}
			continue
		}
		var e api.ErrorBody
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Error == nil || a.StatusCode != 401 || e.Error.Code != api.InvalidQuote || e.Error.Message != c.says {
			t.Errorf("%s: %d %s, want %s", c.name, a.StatusCode, a.body, c.says)
		}
		if s.node.Position().Head != before {
			t.Errorf("%s: something was recorded", c.name)
		}
	}
}
