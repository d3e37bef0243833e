package gov

import (
	"encoding/hex"
	"testing"

	"chancery/attest"
	"chancery/gov/tables"
	"chancery/kv"
)

// TestJoinPolicyTables asks the trust tables of each platform.
func TestJoinPolicyTables(t *testing.T) {
	host, other := [32]byte{1}, [32]byte{2}
	tx := kv.NewStore().Begin()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(tables.VirtualHostData.Put(tx, hex.EncodeToString(host[:]), tables.Unit{}))
	must(tables.SNPHostData.Put(tx, hex.EncodeToString(other[:]), "policy"))
	must(tables.VirtualMeasurements.Put(tx, "v1", tables.AllowedToJoin))
	must(tables.SNPMeasurements.Put(tx, "ab", tables.AllowedToJoin))
	must(tables.SNPMeasurements.Put(tx, "cd", "Retired"))
	must(tables.SNPUVMEndorsements.Put(tx, "did:x509:a", map[string]tables.UVMFeed{"feed": {SVN: "100"}, "odd": {SVN: "x"}}))
	p := joinPolicy{tx}
	for _, tt := range []struct {
		name string
		ask  func() (bool, error)
		want bool
	}{
		{"host data", func() (bool, error) { return p.HostDataTrusted(attest.FormatVirtual, host) }, true},
		{"host data of the other platform", func() (bool, error) { return p.HostDataTrusted(attest.FormatSNP, host) }, false},
		{"host data on SNP", func() (bool, error) { return p.HostDataTrusted(attest.FormatSNP, other) }, true},
		{"host data of no platform", func() (bool, error) { return p.HostDataTrusted(attest.FormatSGX, host) }, false},
		{"measurement", func() (bool, error) { return p.MeasurementTrusted(attest.FormatVirtual, "v1") }, true},
		{"unknown measurement", func() (bool, error) { return p.MeasurementTrusted(attest.FormatVirtual, "ab") }, false},
		{"measurement on SNP", func() (bool, error) { return p.MeasurementTrusted(attest.FormatSNP, "ab") }, true},
		{"measurement that may not join", func() (bool, error) { return p.MeasurementTrusted(attest.FormatSNP, "cd") }, false},
		{"endorsement of the least version", func() (bool, error) { return p.UVMTrusted(attest.UVM{DID: "did:x509:a", Feed: "feed", SVN: 100}) }, true},
		{"newer endorsement", func() (bool, error) { return p.UVMTrusted(attest.UVM{DID: "did:x509:a", Feed: "feed", SVN: 101}) }, true},
		{"older endorsement", func() (bool, error) { return p.UVMTrusted(attest.UVM{DID: "did:x509:a", Feed: "feed", SVN: 99}) }, false},
		{"another feed", func() (bool, error) { return p.UVMTrusted(attest.UVM{DID: "did:x509:a", Feed: "other", SVN: 100}) }, false},
		{"another signer", func() (bool, error) { return p.UVMTrusted(attest.UVM{DID: "did:x509:b", Feed: "feed", SVN: 100}) }, false},
	} {
		if got, err := tt.ask(); err != nil || got != tt.want {
			t.Errorf("%s: %t, %v, want %t", tt.name, got, err, tt.want)
		}
	}
	if _, err := p.UVMTrusted(attest.UVM{DID: "did:x509:a", Feed: "odd"}); err == nil {
		t.Error("a recorded version that is no number is accepted")
	}
}
