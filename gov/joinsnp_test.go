package gov_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"chancery/attest"
	"chancery/attest/platform"
	"chancery/attest/snp/snptest"
	"chancery/gov"
	"chancery/gov/tables"
	"chancery/kv"
)

// TestJoinSNP judges SEV-SNP nodes by what governance trusts, set through its actions:
// the good ones are let in, each bad one is refused by name and leaves no row.
func TestJoinSNP(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	s.open()
	endorser := snptest.NewEndorser(t, true)
	model := snptest.New(t, attest.Milan)
	hostDigest := hex.EncodeToString(model.Report.HostData[:])
	s.accept(
		action{"add_snp_host_data", args{"host_data": hostDigest, "security_policy": ""}},
		action{"add_snp_measurement", args{"measurement": snptest.Measurement(model)}},
		action{"add_snp_uvm_endorsement", args{"did": endorser.DID(""), "feed": endorser.Feed, "svn": "100"}},
		action{"set_snp_minimum_tcb_version_hex", args{"cpuid": "00a00f11", "tcb_version": "db18000000000004"}},
		action{"set_snp_minimum_tcb_version_hex", args{"cpuid": "00b00f21", "tcb_version": "5100000004030201"}},
	)
	for _, c := range []struct {
		name    string
		product attest.Product
		edit    func(m *snptest.Machine, key *[32]byte)
		want    error
	}{
		{"Milan", attest.Milan, func(*snptest.Machine, *[32]byte) {}, nil},
		{"Turin", attest.Turin, func(*snptest.Machine, *[32]byte) {}, nil},
		{"endorsed", attest.Milan, func(m *snptest.Machine, _ *[32]byte) {
			m.Report.Measurement[0]++
			m.UVM = endorser.EndorseClaims(t, endorser.DID(""), snptest.Measurement(m), 100)
		}, nil},
		{"debug", attest.Milan, func(m *snptest.Machine, _ *[32]byte) { m.Report.PolicyFlags |= 8 }, attest.ErrNotGenuine},
		{"another chip", attest.Milan, func(m *snptest.Machine, _ *[32]byte) { m.Chip[0]++ }, attest.ErrNotGenuine},
		{"host data", attest.Milan, func(m *snptest.Machine, _ *[32]byte) { m.Report.HostData[0]++ }, attest.ErrHostData},
		{"measurement", attest.Milan, func(m *snptest.Machine, _ *[32]byte) { m.Report.Measurement[0]++ }, attest.ErrMeasurement},
		{"older endorsement", attest.Milan, func(m *snptest.Machine, _ *[32]byte) {
			m.UVM = endorser.EndorseClaims(t, endorser.DID(""), snptest.Measurement(m), 99)
		}, attest.ErrUVM},
		{"broken endorsement", attest.Milan, func(m *snptest.Machine, _ *[32]byte) { m.UVM = []byte{1} }, attest.ErrUVM},
		{"older TCB", attest.Milan, func(m *snptest.Machine, _ *[32]byte) {
			m.Report.ReportedTCB -= 1 << 56
			m.TCB[8]--
		}, attest.ErrTCB},
		{"unknown processor", attest.Genoa, func(*snptest.Machine, *[32]byte) {}, attest.ErrCPUID},
		{"another key", attest.Milan, func(_ *snptest.Machine, key *[32]byte) { key[0]++ }, attest.ErrReportData},
	} {
		m, n := snptest.New(t, c.product), s.newNode()
		r := gov.JoinRequest{Node: n.row, ValidFrom: "20261125100000Z", ValidDays: 90}
		id, err := hex.DecodeString(n.id)
		must(t, err)
		copy(r.Key[:], id)
		attested := r.Key
		c.edit(m, &attested)
		e := m.Evidence(t, attested)
		r.Node.NodeToNode.PublishedAddress = "10.0.0.1:" + c.name
		r.Node.Quote = tables.QuoteInfo{Format: string(e.Format), Quote: e.Quote, Endorsements: e.Endorsements, UVMEndorsements: e.UVMEndorsements}
		var status tables.NodeStatus
		_, err = s.run(func(tx *kv.Tx, fx *effects) (err error) {
			status, err = gov.AddNode(t.Context(), tx, fx, platform.Verifier{SNP: m.Verifier()}, r)
			return err
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		row, ok, err := tables.NodesInfo.Get(s.head(), n.id)
		must(t, err)
		if c.want != nil {
			if ok || status != "" {
				t.Errorf("%s: refused, and stands there as %q", c.name, row.Status)
			}
			continue
		}
		if status != tables.NodePending || row.Status != tables.NodePending || row.CodeDigest != snptest.Measurement(m) {
			t.Errorf("%s: %q, %q, measured %s", c.name, status, row.Status, row.CodeDigest)
		}
		if tables.NodesEndorsedCertificates.Has(s.head(), n.id) {
			t.Errorf("%s: a pending node has a certificate of the service", c.name)
		}
	}
}
