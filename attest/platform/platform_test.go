package platform_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"chancery/attest"
	"chancery/attest/platform"
	"chancery/attest/snp"
	"chancery/attest/snp/snptest"
	"chancery/attest/uvm"
	"chancery/attest/virtual"
)

var key = [32]byte{9}

// TestVerify takes evidence of each platform, and refuses that of others.
func TestVerify(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	v := platform.Verifier{SNP: m.Verifier()}
	quote, err := virtual.NewIssuer([32]byte{1}).Issue(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []attest.Evidence{quote, m.Evidence(t, key)} {
		if c, err := v.Verify(t.Context(), e); err != nil || c.ReportData != key || c.Format != e.Format {
			t.Errorf("%s: %+v, %v", e.Format, c, err)
		}
	}
	v.Production = true
	if _, err := v.Verify(t.Context(), quote); !errors.Is(err, attest.ErrNotGenuine) {
		t.Errorf("virtual in production: %v", err)
	}
	if _, err := v.Verify(t.Context(), m.Evidence(t, key)); err != nil {
		t.Errorf("SEV-SNP in production: %v", err)
	}
	for _, f := range []attest.Format{attest.FormatSGX, "", "TDX"} {
		if _, err := v.Verify(t.Context(), attest.Evidence{Format: f, Quote: quote.Quote}); !errors.Is(err, attest.ErrNotGenuine) {
			t.Errorf("%q: %v", f, err)
		}
	}
}

// TestPolicy judges a machine by a document, one change at a time. Of several things
// wrong the first in CCF's order is named.
func TestPolicy(t *testing.T) {
	const did = "DID"
	endorser := snptest.NewEndorser(t, true)
	good := func() *attest.JoinPolicy {
		m := snptest.New(t, attest.Milan)
		text := strings.NewReplacer("HOST", hex.EncodeToString(m.Report.HostData[:]), "MEASUREMENT", hex.EncodeToString(m.Report.Measurement[:]), did, endorser.DID("")).Replace(`{
			"sgx": {"measurements": []}, "virtual": {"hostData": [], "measurements": []},
			"snp": {"hostData": {"HOST": ""}, "measurements": ["MEASUREMENT"],
				"tcbVersions": {"00a00f11": {"boot_loader": 4, "tee": 0, "snp": 24, "microcode": 219}},
				"uvmEndorsements": {"DID": {"ContainerPlat-AMD-UVM": {"svn": "100"}}}}}`)
		p, err := attest.ParseJoinPolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	endorse := func(version uint64) func(*snptest.Machine, *attest.JoinPolicy) {
		return func(m *snptest.Machine, _ *attest.JoinPolicy) {
			m.UVM = endorser.EndorseClaims(t, endorser.DID(""), hex.EncodeToString(m.Report.Measurement[:]), version)
		}
	}
	for _, c := range []struct {
		name string
		edit func(m *snptest.Machine, p *attest.JoinPolicy)
		want error
	}{
		{"all well", func(*snptest.Machine, *attest.JoinPolicy) {}, nil},
		{"host data", func(m *snptest.Machine, _ *attest.JoinPolicy) { m.Report.HostData[0]++; m.Report.Measurement[0]++ }, attest.ErrHostData},
		{"measurement", func(m *snptest.Machine, _ *attest.JoinPolicy) { m.Report.Measurement[0]++ }, attest.ErrMeasurement},
		{"no minimum for the processor", func(m *snptest.Machine, _ *attest.JoinPolicy) { m.Report.Stepping = 2 }, attest.ErrCPUID},
		{"older TCB", func(_ *snptest.Machine, p *attest.JoinPolicy) {
			v := p.SNP.TCBVersions["00a00f11"]
			*v.SNP = 25
		}, attest.ErrTCB},
		{"endorsed", endorse(100), nil},
		{"endorsed, later version", endorse(101), nil},
		{"endorsed, earlier version", endorse(99), attest.ErrUVM},
		{"endorsed in place of measured", func(m *snptest.Machine, p *attest.JoinPolicy) {
			p.SNP.Measurements = nil
			endorse(100)(m, p)
		}, nil},
		{"another feed", func(m *snptest.Machine, p *attest.JoinPolicy) {
			other := *endorser
			other.Feed = "Other"
			m.UVM = other.Endorse(t, other.DID(""), hex.EncodeToString(m.Report.Measurement[:]), 100)
		}, attest.ErrUVM},
		{"another issuer", func(m *snptest.Machine, p *attest.JoinPolicy) {
			other := snptest.NewEndorser(t, true)
			m.UVM = other.Endorse(t, other.DID(""), hex.EncodeToString(m.Report.Measurement[:]), 100)
		}, attest.ErrUVM},
		{"endorsement of another measurement", func(m *snptest.Machine, p *attest.JoinPolicy) {
			endorse(100)(m, p)
			m.Report.Measurement[0]++
		}, uvm.ErrMeasurement},
		{"broken endorsement", func(m *snptest.Machine, _ *attest.JoinPolicy) { m.UVM = []byte("x") }, uvm.ErrMalformed},
		{"empty endorsement", func(m *snptest.Machine, _ *attest.JoinPolicy) { m.UVM = []byte{} }, attest.ErrUVM},
		{"broken endorsement, host data", func(m *snptest.Machine, _ *attest.JoinPolicy) {
			m.UVM = []byte("x")
			m.Report.HostData[0]++
		}, attest.ErrHostData},
		{"another key", func(m *snptest.Machine, _ *attest.JoinPolicy) {}, attest.ErrReportData},
		{"not genuine", func(m *snptest.Machine, _ *attest.JoinPolicy) { m.Report.PolicyFlags |= 8 }, snp.ErrDebug},
	} {
		m, p := snptest.New(t, attest.Milan), good()
		c.edit(m, p)
		asked := key
		if c.name == "another key" {
			asked[0]++
		}
		claims, err := attest.Check(t.Context(), platform.Verifier{SNP: m.Verifier()}, m.Evidence(t, key), p, asked)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if (claims.Format != "") != (c.want == nil) {
			t.Errorf("%s: claims %+v", c.name, claims)
		}
	}
}

// TestDocument reads what is no policy.
func TestDocument(t *testing.T) {
	for _, bad := range []string{"", "x", "[]", "{}", `{"snp":{"hostData":{}}}`, `{"snp":1}`} {
		if _, err := attest.ParseJoinPolicy([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	p, err := attest.ParseJoinPolicy([]byte(`{"virtual":{"hostData":["` + strings.Repeat("00", 32) + `"],"measurements":["m"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	quote, err := json.Marshal(map[string]any{"measurement": "m", "host_data": strings.Repeat("00", 32), "report_data": key[:]})
	if err != nil {
		t.Fatal(err)
	}
	e := attest.Evidence{Format: attest.FormatVirtual, Quote: quote}
	if _, err := attest.Check(t.Context(), platform.Verifier{}, e, p, key); err != nil {
		t.Error(err)
	}
}
