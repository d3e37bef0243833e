package guest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/uuid"

	"chancery/attest"
	"chancery/attest/snp"
	"chancery/attest/snp/snptest"
	"chancery/internal/durable/memfs"
)

var key = [32]byte{5}

// fakeDevice is a machine's processor, with what its host gives.
type fakeDevice struct {
	m     *snptest.Machine
	table []byte
	short bool
}

func (d *fakeDevice) GetRawQuote(data [64]byte) ([]byte, error) {
	r := d.m.Report
	r.ReportData = data
	raw, err := d.m.Sign(&r)
	if d.short {
		return raw[:100], err
	}
	return append(raw, d.table...), err
}

// split returns the machine's endorsements as DER and as PEM.
func split(t *testing.T, m *snptest.Machine) (der [][]byte, text []string) {
	t.Helper()
	rest, err := m.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return der, text
		}
		der, text = append(der, b.Bytes), append(text, string(pem.EncodeToMemory(b)))
	}
}

// TestIssue takes the endorsements from each place, and verifies what comes out.
func TestIssue(t *testing.T) {
	for _, product := range []attest.Product{attest.Milan, attest.Turin} {
		m := snptest.New(t, product)
		der, text := split(t, m)
		bundle, err := json.Marshal(Bundle{VCEK: text[0], Chain: text[1] + text[2], TCB: strings.ToUpper(m.Report.ReportedTCB.String())})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ParseBundle(bundle)
		if err != nil {
			t.Fatal(err)
		}
		table := &abi.CertTable{}
		for i, guid := range []string{abi.VcekGUID, abi.AskGUID, abi.ArkGUID} {
			table.Entries = append(table.Entries, abi.CertTableEntry{GUID: uuid.MustParse(guid), RawCert: der[i]})
		}
		incomplete := &abi.CertTable{Entries: table.Entries[:1]}
		servers, asked := serve(t, m, bundle, der, text)
		for _, c := range []struct {
			name   string
			issuer Issuer
			table  []byte
		}{
			{"file", Issuer{Bundle: parsed}, nil},
			{"host", Issuer{}, table.Marshal()},
			{"AMD", Issuer{Servers: servers[:1]}, nil},
			{"Azure", Issuer{Servers: servers[1:2]}, nil},
			{"THIM", Issuer{Servers: servers[2:3]}, incomplete.Marshal()},
			{"second server", Issuer{Servers: []Server{{Protocol: "FTP"}, servers[1]}}, nil},
		} {
			*asked = nil
			c.issuer.Device, c.issuer.Verifier, c.issuer.UVM = &fakeDevice{m: m, table: c.table}, m.Verifier(), []byte("uvm")
			e, err := c.issuer.Issue(t.Context(), key)
			if err != nil {
				t.Errorf("%s, %s: %v", product, c.name, err)
				continue
			}
			claims, err := m.Verifier().Verify(t.Context(), e)
			if err != nil || claims.ReportData != key || string(e.UVMEndorsements) != "uvm" {
				t.Errorf("%s, %s: %+v, %v", product, c.name, claims, err)
			}
			if (len(*asked) > 0) != (len(c.issuer.Servers) > 0) {
				t.Errorf("%s, %s: asked for %q", product, c.name, *asked)
			}
		}
	}
}

// serve answers as the three kinds of servers, for this chip alone.
func serve(t *testing.T, m *snptest.Machine, bundle []byte, der [][]byte, text []string) ([]Server, *[]string) {
	t.Helper()
	var asked []string
	chip := hex.EncodeToString(m.Chip)
	tcb := strings.TrimLeft(m.Report.ReportedTCB.String(), "0")
	amd := "/vcek/v1/Milan/" + chip + "?blSPL=4&snpSPL=24&teeSPL=0&ucodeSPL=219"
	chain := "/vcek/v1/Milan/cert_chain"
	if m.Report.Family == 0x1A {
		amd = "/vcek/v1/Turin/" + chip + "?blSPL=2&fmcSPL=1&snpSPL=4&teeSPL=3&ucodeSPL=81"
		chain = "/vcek/v1/Turin/cert_chain"
	}
	answers := map[string][]byte{
		amd: der[0], chain: []byte(text[1] + text[2]),
		"/SevSnpVM/certificates/" + chip + "/" + tcb + "?api-version=2020-10-15-preview": []byte(strings.Join(text, "")),
		"/metadata/THIM/amd/certification?platformId=" + chip + "&tcbVersion=" + tcb:     bundle,
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		body, ok := answers[r.URL.String()]
		if !ok || strings.HasPrefix(r.URL.Path, "/metadata") && r.Header.Get("Metadata") != "true" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if _, err := w.Write(body); err != nil {
			t.Error(err)
		}
	})
	secure, plain := httptest.NewTLSServer(h), httptest.NewServer(h)
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	return []Server{{Protocol: AMD, Address: host(secure)}, {Protocol: Azure, Address: host(secure)}, {Protocol: THIM, Address: host(plain)}}, &asked
}

// TestIssueRefuses shows no evidence that nobody would believe.
func TestIssueRefuses(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	_, text := split(t, m)
	bundle := &Bundle{VCEK: text[0], Chain: text[1] + text[2]}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct {
		name   string
		issuer Issuer
		edit   func(m *snptest.Machine, d *fakeDevice)
		want   string
	}{
		{"debug", Issuer{Bundle: bundle}, func(m *snptest.Machine, _ *fakeDevice) { m.Report.PolicyFlags |= 8 }, "debugged"},
		{"short report", Issuer{Bundle: bundle}, func(_ *snptest.Machine, d *fakeDevice) { d.short = true }, "100 bytes came"},
		{"no endorsements", Issuer{}, func(*snptest.Machine, *fakeDevice) {}, "snp_endorsements_servers"},
		{"server gone", Issuer{Servers: []Server{{Protocol: THIM, Address: gone.Listener.Addr().String(), Retries: 1}}}, func(*snptest.Machine, *fakeDevice) {}, "THIM server"},
		{"broken table", Issuer{}, func(_ *snptest.Machine, d *fakeDevice) { d.table = []byte{1, 2, 3} }, "the host gives"},
		{"another TCB", Issuer{Bundle: &Bundle{VCEK: text[0], Chain: text[1] + text[2], TCB: "00"}}, func(*snptest.Machine, *fakeDevice) {}, "TCB"},
	} {
		changed := *m
		d := &fakeDevice{m: &changed}
		c.edit(&changed, d)
		c.issuer.Device, c.issuer.Verifier = d, m.Verifier()
		e, err := c.issuer.Issue(t.Context(), key)
		if err == nil || !strings.Contains(err.Error(), c.want) || e.Quote != nil {
			t.Errorf("%s: %+v, %v", c.name, e, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i := Issuer{Device: &fakeDevice{m: m}, Verifier: m.Verifier(), Servers: []Server{{Protocol: THIM, Address: "127.0.0.1:1", Retries: 1000}}}
	if _, err := i.Issue(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := (&Issuer{Device: &fakeDevice{m: m}, Bundle: bundle}).Issue(t.Context(), key); !errors.Is(err, snp.ErrRoot) {
		t.Errorf("under AMD's roots: %v", err)
	}
}

// TestBundle reads what is no bundle.
func TestBundle(t *testing.T) {
	for _, bad := range []string{"", "x", "{}", `{"vcekCert":"x"}`, `{"certificateChain":"x"}`, `[]`} {
		if b, err := ParseBundle([]byte(bad)); err == nil {
			t.Errorf("%q reads as %+v", bad, b)
		}
	}
	if b, err := DecodeFile([]byte(base64.StdEncoding.EncodeToString([]byte("text")) + "\n")); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestOpen: a machine without the device is told apart.
func TestOpen(t *testing.T) {
	if d, err := Open(); err == nil {
		t.Logf("this machine has SEV-SNP: %T", d)
	} else if !strings.Contains(err.Error(), "no SEV-SNP guest") {
		t.Error(err)
	}
}

// TestFetchLists: lists come from the server, older ones do not take the place of newer.
func TestFetchLists(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	old, lists := m.RevocationList(t, 7).Raw, map[string][]byte{}
	for _, line := range []string{"Milan", "Genoa", "Turin"} {
		lists["/vcek/v1/"+line+"/crl"] = old
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, ok := lists[r.URL.Path]; ok {
			_, _ = w.Write(body)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	fs := memfs.New()
	v := m.Verifier()
	v.Revocations = snp.ListDir{FS: fs, Dir: "lists"}
	fetch := func() error { return FetchLists(t.Context(), s.Listener.Addr().String(), fs, "lists") }
	if err := fetch(); err != nil {
		t.Error(err)
	}
	e := m.Evidence(t, key)
	if _, err := v.Verify(t.Context(), e); err != nil {
		t.Error(err)
	}
	newer := m.LaterRevocationList(t, 2).Raw
	lists["/vcek/v1/Milan/crl"] = newer
	delete(lists, "/vcek/v1/Turin/crl")
	lists["/vcek/v1/Genoa/crl"] = []byte("?")
	if err := fetch(); err == nil || !strings.Contains(err.Error(), "Turin") || !strings.Contains(err.Error(), "Genoa") {
		t.Errorf("two lists fail: %v", err)
	}
	lists["/vcek/v1/Milan/crl"] = old
	_ = fetch()
	if _, err := v.Verify(t.Context(), e); !errors.Is(err, snp.ErrRevoked) {
		t.Errorf("after the newer list: %v", err)
	}
	s.Close()
	if err := fetch(); err == nil {
		t.Error("no server, and no error")
	}
}
