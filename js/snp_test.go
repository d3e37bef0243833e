package js

import (
	"regexp"
	"strings"
	"testing"

	"github.com/dop251/goja"

	"chancery/attest"
	"chancery/attest/snp/snptest"
)

// unsigned matches the halves of a signature, which differ each time.
var unsigned = regexp.MustCompile(`"([rs])":"72:[0-9a-fRS]*"`)

// TestVerifySNP verifies reports of a fake processor and endorsements of a fake builder,
// and reads what the script is given.
func TestVerifySNP(t *testing.T) {
	m, endorser := snptest.New(t, attest.Turin), snptest.NewEndorser(t, true)
	roots := &attest.JoinPolicy{}
	roots.SNP.UVMEndorsements = map[string]map[string]attest.UVMFeed{endorser.DID(""): {endorser.Feed: {SVN: "100"}}}
	before := trustedSNP
	t.Cleanup(func() { trustedSNP = before })
	trustedSNP = snpTrust{verifier: m.Verifier(), uvm: roots}

	e := m.Evidence(t, [32]byte{1, 2})
	measurement := snptest.Measurement(m)
	good := endorser.Endorse(t, endorser.DID(""), measurement, "101")
	m.Report.PolicyFlags |= 8
	debug := m.Evidence(t, [32]byte{1, 2})
	const source = `
		const hex = (b) => Array.from(new Uint8Array(b), (x) => x.toString(16).padStart(2, "0")).join("");
		const show = (o) => JSON.stringify(o, (_, v) => v instanceof ArrayBuffer ? v.byteLength + ":" + hex(v).slice(0, 8) : v);
		export function f(...args) {
			try { return show(snp_attestation.verifySnpAttestation(...args)); } catch (e) { return e.name + ": " + e.message; }
		}`
	const report = `{"attestation":{"version":3,"guest_svn":2,` +
		`"policy":{"abi_minor":0,"abi_major":1,"smt":1,"migrate_ma":0,"debug":0,"single_socket":0},` +
		`"family_id":"16:00000000","image_id":"16:00000000","vmpl":0,"signature_algo":1,"platform_version":"5100000004030201",` +
		`"plaform_info":{"smt_en":0,"tsme_en":0},"flags":{"author_key_en":0,"mask_chip_key":0,"signing_key":0},` +
		`"report_data":"64:01020000","measurement":"48:00010203","host_data":"32:a0a1a2a3","id_key_digest":"48:00000000",` +
		`"author_key_digest":"48:00000000","report_id":"32:00000000","report_id_ma":"32:00000000","reported_tcb":"5100000004030201",` +
		`"cpuid_fam_id":26,"cpuid_mod_id":2,"cpuid_step":1,"chip_id":"64:40414243","committed_tcb":"5100000004030201",` +
		`"current_minor":0,"current_build":0,"current_major":0,"committed_build":0,"committed_minor":0,"committed_major":0,` +
		`"launch_tcb":"5100000004030201","signature":{"r":"72:R","s":"72:S"}}`
	for _, c := range []struct {
		name string
		args []any
		want string
	}{
		{"report", []any{e.Quote, e.Endorsements}, report + "}"},
		{"TCB", []any{e.Quote, e.Endorsements, goja.Undefined(), "5100000004030201"}, report + "}"},
		{"endorsed", []any{e.Quote, e.Endorsements, good},
			report + `,"uvm_endorsements":{"did":"` + endorser.DID("") + `","feed":"ContainerPlat-AMD-UVM","svn":"101"}}`},
		{"another TCB", []any{e.Quote, e.Endorsements, goja.Undefined(), "00"}, "RangeError: quote could not be verified: SEV-SNP: the chip's key is of another TCB version"},
		{"debug", []any{debug.Quote, debug.Endorsements}, "RangeError: quote could not be verified: SEV-SNP: the guest may be debugged"},
		{"no endorsements", []any{e.Quote, []byte{}}, "RangeError: quote could not be verified: SEV-SNP: the endorsements are not"},
		{"size", []any{e.Quote[1:], e.Endorsements}, "RangeError: Input SEV-SNP attestation report is not of expected size 1184: 1183"},
		{"broken endorsement", []any{e.Quote, e.Endorsements, []byte{}}, "RangeError: malformed UVM endorsement"},
		{"another measurement", []any{e.Quote, e.Endorsements, endorser.Endorse(t, endorser.DID(""), strings.Repeat("00", 48), "101")}, "RangeError: the UVM endorsement is about another"},
		{"older endorsement", []any{e.Quote, e.Endorsements, endorser.Endorse(t, endorser.DID(""), measurement, "99")}, "RangeError: UVM endorsements did did:x509"},
		{"no arguments", nil, "TypeError: Passed 0 arguments, but expected between 2 and 4"},
		{"a string", []any{"x", e.Endorsements}, "TypeError: ArrayBuffer object expected"},
		{"null endorsement", []any{e.Quote, e.Endorsements, nil}, "TypeError: ArrayBuffer object expected"},
	} {
		v, err := call(t, Env{}, source, "f", c.args...)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, _ := v.Text()
		want := c.want
		if strings.HasPrefix(want, "{") {
			got = unsigned.ReplaceAllString(got, `"$1":"72:X"`)
			want = unsigned.ReplaceAllString(want, `"$1":"72:X"`)
		} else if len(got) > len(want) {
			got = got[:len(want)]
		}
		if got != want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, want)
		}
	}

	trustedSNP = before
	v, err := call(t, Env{}, source, "f", e.Quote, e.Endorsements)
	if got, _ := v.Text(); err != nil || !strings.Contains(got, "the root is not AMD's for this processor") {
		t.Errorf("under AMD's roots: %s, %v", got, err)
	}
}
