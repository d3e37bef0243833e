package attest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
)

// Why a policy refuses claims. Callers map each to CCF's answer.
var (
	// ErrNoHostData: the evidence binds no host data.
	ErrNoHostData = errors.New("quote does not contain trusted host data")
	// ErrHostData: the host data is not in the trust table.
	ErrHostData = errors.New("quote host data is not authorised")
	// ErrMeasurement: the measurement is not in the trust table.
	ErrMeasurement = errors.New("quote does not contain known enclave measurement")
	// ErrUVM: the endorsement of the measurement has no trusted issuer, feed and
	// version.
	ErrUVM = errors.New("UVM endorsements are not authorised")
	// ErrCPUID: the processor has no minimum version in the trust table.
	ErrCPUID = errors.New("quote CPUID is unknown")
	// ErrTCB: the platform's version is below the minimum.
	ErrTCB = errors.New("platform TCB is not authorised")
	// ErrReportData: the evidence is about another key.
	ErrReportData = errors.New("quote report data does not contain node's public key hash")
)

// Policy is the trust of a service at one state of its tables. Each method
// reports whether the tables hold what it asks for; an error is a table that
// does not read.
type Policy interface {
	// HostDataTrusted looks host data up in the format's table.
	HostDataTrusted(f Format, hostData [32]byte) (bool, error)
	// MeasurementTrusted looks a measurement up in the format's table.
	MeasurementTrusted(f Format, measurement string) (bool, error)
	// UVMTrusted looks for the endorsement's issuer and feed with a version at
	// or below its own.
	UVMTrusted(u UVM) (bool, error)
	// TCBTrusted looks for the processor's minimum and compares it; ErrCPUID where
	// there is none.
	TCBTrusted(t TCB) (bool, error)
}

// Check verifies evidence and asks policy about its claims, in CCF's order. key
// is the SHA-256 of the node's public key in DER. It returns the claims that
// passed, or an error that wraps ErrNotGenuine or one of the sentinels here.
func Check(ctx context.Context, v Verifier, e Evidence, p Policy, key [32]byte) (Claims, error) {
	c, err := v.Verify(ctx, e)
	if err != nil {
		return Claims{}, fmt.Errorf("checking attestation: %w", err)
	}
	if err := c.Authorise(p); err != nil {
		return Claims{}, fmt.Errorf("checking attestation: %w", err)
	}
	if c.ReportData != key {
		return Claims{}, fmt.Errorf("checking attestation: %w", ErrReportData)
	}
	return c, nil
}

// Authorise asks policy about claims: host data, then the code, by endorsement where one
// came and by measurement otherwise, then the platform's version.
func (c Claims) Authorise(p Policy) error { return Failed(c.Judge(p)) }

// Judge is Authorise check by check; it ends with the first that fails.
func (c Claims) Judge(p Policy) []Finding {
	var out []Finding
	for _, ask := range []struct {
		check, says string
		applies     bool
		trusted     func() (bool, error)
		refusal     error
	}{
		{"host data", hex.EncodeToString(c.HostData[:]), c.Format != FormatSGX, // which binds none
			func() (bool, error) { return p.HostDataTrusted(c.Format, c.HostData) }, ErrHostData},
		{"UVM endorsement", "", c.UVMError != nil,
			func() (bool, error) { return false, nil }, fmt.Errorf("%w: %w", ErrUVM, c.UVMError)},
		{"UVM endorsement", c.uvmText(), c.UVM != nil,
			func() (bool, error) { return p.UVMTrusted(*c.UVM) }, fmt.Errorf("%w: %s", ErrUVM, c.uvmText())},
		{"measurement", c.Measurement, c.UVM == nil && c.UVMError == nil,
			func() (bool, error) { return p.MeasurementTrusted(c.Format, c.Measurement) }, ErrMeasurement},
		{"TCB", c.tcbText(), c.TCB != nil,
			func() (bool, error) { return p.TCBTrusted(*c.TCB) }, fmt.Errorf("%w: %s", ErrTCB, c.tcbText())},
	} {
		if !ask.applies {
			continue
		}
		f := Finding{Check: ask.check, Says: ask.says}
		ok, err := ask.trusted()
		if f.Err = verdict(ok, err, ask.refusal); f.Err != nil {
			return append(out, f)
		}
		out = append(out, f)
	}
	return out
}

func (c Claims) uvmText() string {
	if c.UVM == nil {
		return ""
	}
	return fmt.Sprintf("%s, feed %s, version %d", c.UVM.DID, c.UVM.Feed, c.UVM.SVN)
}

func (c Claims) tcbText() string {
	if c.TCB == nil {
		return ""
	}
	return fmt.Sprintf("%s on CPUID %s", c.TCB.Value, c.TCB.CPU.ID())
}

// verdict joins a policy's answer into one error.
func verdict(ok bool, err, refusal error) error {
	if errors.Is(err, ErrCPUID) {
		return err
	}
	if err != nil {
		return fmt.Errorf("reading the trust tables: %w", err)
	}
	if !ok {
		return refusal
	}
	return nil
}
