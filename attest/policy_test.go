package attest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
)

// tables is a policy whose answers a test sets.
type tables struct {
	host, measurement, uvm, tcb bool
	err                         error
}

func (t tables) HostDataTrusted(Format, [32]byte) (bool, error) { return t.host, t.err }
func (t tables) MeasurementTrusted(Format, string) (bool, error) {
	return t.measurement, nil
}
func (t tables) UVMTrusted(UVM) (bool, error) { return t.uvm, nil }
func (t tables) TCBTrusted(TCB) (bool, error) { return t.tcb, nil }

// genuine is a verifier that believes everything.
type genuine struct {
	claims Claims
	err    error
}

func (g genuine) Verify(context.Context, Evidence) (Claims, error) { return g.claims, g.err }

// TestCheckOrder: of several things wrong, the first in CCF's order is named.
func TestCheckOrder(t *testing.T) {
	key := [32]byte{1}
	plain := Claims{Format: FormatVirtual, ReportData: key}
	uvm := Claims{Format: FormatSNP, ReportData: key, UVM: &UVM{}, TCB: &TCB{}}
	other := plain
	other.ReportData = [32]byte{2}
	broken := errors.New("broken table")
	for _, c := range []struct {
		name   string
		v      genuine
		p      tables
		want   error
		claims bool
	}{
		{"all well", genuine{claims: plain}, tables{host: true, measurement: true}, nil, true},
		{"not genuine", genuine{err: ErrNotGenuine}, tables{}, ErrNotGenuine, false},
		{"host data first", genuine{claims: other}, tables{}, ErrHostData, false},
		{"then measurement", genuine{claims: other}, tables{host: true}, ErrMeasurement, false},
		{"then report data", genuine{claims: other}, tables{host: true, measurement: true}, ErrReportData, false},
		{"endorsement in place of measurement", genuine{claims: uvm}, tables{host: true, uvm: true, tcb: true}, nil, true},
		{"endorsement", genuine{claims: uvm}, tables{host: true, measurement: true}, ErrUVM, false},
		{"TCB", genuine{claims: uvm}, tables{host: true, uvm: true}, ErrTCB, false},
		{"broken table", genuine{claims: plain}, tables{host: true, measurement: true, err: broken}, broken, false},
	} {
		got, err := Check(t.Context(), c.v, Evidence{}, c.p, key)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if (got.Format != "") != c.claims {
			t.Errorf("%s: claims %+v", c.name, got)
		}
	}
}

// TestEvidenceJSON is CCF's quote_info, both ways.
func TestEvidenceJSON(t *testing.T) {
	for _, c := range []struct {
		e    Evidence
		want string
	}{
		{
			Evidence{Format: FormatVirtual, Quote: []byte("q"), Endorsements: []byte{}},
			`{"endorsements":"","format":"Insecure_Virtual","quote":"cQ=="}`,
		},
		{
			Evidence{Format: FormatSNP, Quote: []byte("q"), Endorsements: []byte("e"), UVMEndorsements: []byte("u"), EndorsedTCB: "03"},
			`{"endorsed_tcb":"03","endorsements":"ZQ==","format":"AMD_SEV_SNP_v1","quote":"cQ==","uvm_endorsements":"dQ=="}`,
		},
	} {
		got, err := json.Marshal(c.e)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
		var back Evidence
		if err := json.Unmarshal(got, &back); err != nil || string(back.Quote) != "q" || back.Format != c.e.Format {
			t.Errorf("%s reads as %+v, %v", got, back, err)
		}
	}
}

func TestCodeDigest(t *testing.T) {
	for _, c := range []struct {
		c    Claims
		want string
	}{
		{Claims{Format: FormatVirtual, Measurement: "Insecure hard-coded virtual measurement v1"},
			"496e73656375726520686172642d636f646564207669727475616c206d6561737572656d656e74207631"},
		{Claims{Format: FormatSNP, Measurement: "ab12"}, "ab12"},
	} {
		if got := c.c.CodeDigest(); got != c.want {
			t.Errorf("%s: %s, want %s", c.c.Format, got, c.want)
		}
	}
}
