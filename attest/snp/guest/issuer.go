package guest

import (
	"context"
	"fmt"

	"github.com/google/go-sev-guest/client"

	"chancery/attest"
	"chancery/attest/snp"
)

// Device asks the processor for a report.
type Device interface {
	// GetRawQuote returns a report with the given report data, and behind it the table
	// of certificates that the host gave, which may be empty.
	GetRawQuote(reportData [64]byte) ([]byte, error)
}

// Open returns the device of this machine. It fails where there is none.
func Open() (Device, error) {
	d, err := client.GetQuoteProvider()
	if err != nil {
		return nil, fmt.Errorf("this machine is no SEV-SNP guest: %w", err)
	}
	return d, nil
}

// Issuer makes evidence.
type Issuer struct {
	Device Device
	// Bundle are endorsements from a file; nil for none.
	Bundle *Bundle
	// Servers are asked in turn where neither Bundle nor the host has endorsements.
	Servers []Server
	// UVM is the endorsement of the measurement; nil for none.
	UVM []byte
	// Verifier verifies what was made.
	Verifier snp.Verifier
}

var _ attest.Issuer = (*Issuer)(nil)

// Issue binds reportData to this guest.
func (i *Issuer) Issue(ctx context.Context, reportData [32]byte) (attest.Evidence, error) {
	var data [64]byte
	copy(data[:], reportData[:])
	raw, err := i.Device.GetRawQuote(data)
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("asking the processor for a report: %w", err)
	}
	if len(raw) < snp.ReportSize {
		return attest.Evidence{}, fmt.Errorf("asking the processor for a report: %d bytes came", len(raw))
	}
	report, err := snp.ParseReport(raw[:snp.ReportSize])
	if err != nil {
		return attest.Evidence{}, err
	}
	b, err := i.endorsements(ctx, report, raw[snp.ReportSize:])
	if err != nil {
		return attest.Evidence{}, err
	}
	e := attest.Evidence{
		Format: attest.FormatSNP, Quote: raw[:snp.ReportSize:snp.ReportSize], Endorsements: []byte(b.VCEK + b.Chain),
		EndorsedTCB: b.TCB, UVMEndorsements: i.UVM,
	}
	claims, err := i.Verifier.Verify(ctx, e)
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("this node's own evidence: %w", err)
	}
	if claims.ReportData != reportData {
		return attest.Evidence{}, fmt.Errorf("this node's own evidence: %w", attest.ErrReportData)
	}
	return e, nil
}

func (i *Issuer) endorsements(ctx context.Context, r *snp.Report, table []byte) (*Bundle, error) {
	if i.Bundle != nil {
		return i.Bundle, nil
	}
	if b, err := fromTable(table); err != nil {
		return nil, fmt.Errorf("the endorsements that the host gives: %w", err)
	} else if b != nil {
		return b, nil
	}
	return fetch(ctx, i.Servers, r)
}
