package snp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"time"

	"chancery/attest"
)

// minVersion is the oldest version of a report that is taken: the first that names the
// processor, as in CCF.
const minVersion = 3

// Verifier verifies SEV-SNP evidence. The zero value trusts AMD's roots.
type Verifier struct {
	// Roots are trusted in place of AMD's, where not nil. No configuration reaches it:
	// it is for tests.
	Roots Roots
	// Revocations are AMD's lists; nil asks for none. Those of other lines, and of nobody,
	// are passed over.
	Revocations Revocations
	// Now tells the time; nil stands for the system's clock.
	Now func() time.Time
}

var _ attest.Explainer = Verifier{}

// Verify returns the claims of a report that holds. An endorsement of its measurement is
// not looked at: see attest/uvm.
func (v Verifier) Verify(_ context.Context, e attest.Evidence) (attest.Claims, error) {
	return attest.Judge(v, e)
}

// Explain is Verify check by check.
func (v Verifier) Explain(e attest.Evidence) (attest.Claims, []attest.Finding) {
	x := &examination{verifier: v, evidence: e, now: time.Now()}
	if v.Now != nil {
		x.now = v.Now()
	}
	if v.Roots == nil {
		x.verifier.Roots = AMD
	}
	var findings []attest.Finding
	for _, c := range checks {
		says, err := c.run(x)
		findings = append(findings, attest.Finding{Check: c.name, Says: says, Err: err})
		if err != nil {
			return attest.Claims{}, findings
		}
	}
	return x.claims(), findings
}

// VerifyReport verifies a report outside of a join, and returns it: what an application
// asks for.
func (v Verifier) VerifyReport(e attest.Evidence) (*Report, error) {
	_, findings := v.Explain(e)
	if err := attest.Failed(findings); err != nil {
		return nil, err
	}
	return ParseReport(e.Quote)
}

// examination is one run of the checks: what the earlier ones found serves the later.
type examination struct {
	verifier Verifier
	evidence attest.Evidence
	now      time.Time
	report   *Report
	product  attest.Product
	chain    *chain
}

// checks are run in order, and end with the first that fails.
var checks = []struct {
	name string
	run  func(*examination) (string, error)
}{
	{"format", func(x *examination) (string, error) {
		if x.evidence.Format != attest.FormatSNP {
			return "", fmt.Errorf("%w: format is not %s", attest.ErrNotGenuine, attest.FormatSNP)
		}
		return string(attest.FormatSNP), nil
	}},
	{"size", func(x *examination) (says string, err error) {
		x.report, err = ParseReport(x.evidence.Quote)
		return fmt.Sprintf("%d bytes", ReportSize), err
	}},
	{"version", func(x *examination) (string, error) {
		if x.report.Version < minVersion {
			return "", fmt.Errorf("%w: %d, want %d at least", ErrVersion, x.report.Version, minVersion)
		}
		return fmt.Sprint(x.report.Version), nil
	}},
	{"processor", func(x *examination) (says string, err error) {
		if x.product, err = x.report.CPU().Product(); err != nil {
			return "", fmt.Errorf("%w: %w", ErrProcessor, err)
		}
		return fmt.Sprintf("%s, CPUID %s", x.product, x.report.CPU().ID()), nil
	}},
	{"endorsements", func(x *examination) (says string, err error) {
		x.chain, err = parseChain(x.evidence.Endorsements)
		return "VCEK, ASK, ARK", err
	}},
	{"root", func(x *examination) (string, error) {
		return "the key is AMD's for " + string(x.product), x.chain.rooted(x.product, x.verifier.Roots)
	}},
	{"chain", func(x *examination) (string, error) {
		return "ARK signs ASK signs VCEK", x.chain.signed()
	}},
	{"validity", func(x *examination) (string, error) {
		return "until " + x.chain.until().Format(time.RFC3339), x.chain.valid(x.now)
	}},
	{"revocation", func(x *examination) (string, error) {
		n, err := x.chain.revoked(x.verifier.Revocations, x.now)
		if n == 0 && err == nil {
			return "not asked: no list of revocations was given", nil
		}
		return "neither ASK nor VCEK is on a list", err
	}},
	{"signature", func(x *examination) (string, error) {
		return "by the VCEK, ECDSA P-384 with SHA-384", x.signature()
	}},
	{"signing key", func(x *examination) (string, error) {
		if k := x.report.SigningKey(); k != 0 {
			return "", fmt.Errorf("%w: kind %d", ErrSigningKey, k)
		}
		return "the chip's own", nil
	}},
	{"chip key", func(x *examination) (string, error) {
		if x.report.MaskedChipKey() {
			return "", ErrMaskedKey
		}
		return "not masked", nil
	}},
	{"VMPL", func(x *examination) (string, error) {
		if x.report.VMPL > 3 {
			return "", fmt.Errorf("%w: VMPL %d", ErrVMPL, x.report.VMPL)
		}
		return fmt.Sprint(x.report.VMPL), nil
	}},
	{"debug", func(x *examination) (string, error) {
		if x.report.Debug() {
			return "", ErrDebug
		}
		return "off", nil
	}},
	{"migration", func(x *examination) (string, error) {
		if x.report.Migration() {
			return "", ErrMigration
		}
		return "off", nil
	}},
	{"endorsed TCB", (*examination).endorsedTCB},
	{"chip", (*examination).chip},
}

// signature checks the report's signature under the VCEK.
func (x *examination) signature() error {
	const ecdsaP384 = 1
	if a := x.report.SignatureAlgo; a != ecdsaP384 {
		return fmt.Errorf("%w: algorithm %d is not ECDSA P-384", ErrSignature, a)
	}
	key, ok := x.chain.vcek.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve.Params().BitSize != 384 {
		return fmt.Errorf("%w: the VCEK's key is not on P-384", ErrSignature)
	}
	digest := sha512.Sum384(x.evidence.Quote[:signedSize])
	if !ecdsa.Verify(key, digest[:], littleEndian(x.report.R), littleEndian(x.report.S)) {
		return ErrSignature
	}
	return nil
}

func littleEndian(b [72]byte) *big.Int {
	slices.Reverse(b[:])
	return new(big.Int).SetBytes(b[:])
}

// endorsedTCB compares the reported version with those that the VCEK and the evidence
// name.
func (x *examination) endorsedTCB() (string, error) {
	endorsed, err := x.chain.endorsedTCB(x.product)
	if err != nil {
		return "", err
	}
	reported := x.report.ReportedTCB
	if components(x.product, reported) != endorsed {
		return "", fmt.Errorf("%w: %s, and the report says %s", ErrEndorsedTCB, endorsed, reported)
	}
	if text := x.evidence.EndorsedTCB; text != "" {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != 8 || hex.EncodeToString(b) != reported.String() {
			return "", fmt.Errorf("%w: the evidence says %.32q, and the report %s", ErrEndorsedTCB, text, reported)
		}
	}
	return reported.String(), nil
}

// chip compares the chip's ids.
func (x *examination) chip() (string, error) {
	endorsed, err := x.chain.chip()
	if err != nil {
		return "", err
	}
	reported := x.report.ChipID[:]
	if x.product == attest.Turin {
		reported = reported[:8]
	}
	if !bytes.Equal(endorsed, reported) {
		return "", fmt.Errorf("%w: %x, and the report says %x", ErrChip, endorsed, reported)
	}
	return hex.EncodeToString(reported), nil
}

// claims is what the report says, once every check has passed.
func (x *examination) claims() attest.Claims {
	r := x.report
	return attest.Claims{
		Format: attest.FormatSNP, Measurement: hex.EncodeToString(r.Measurement[:]), HostData: r.HostData,
		ReportData: [32]byte(r.ReportData[:32]),
		TCB:        &attest.TCB{CPU: r.CPU(), Value: r.ReportedTCB.String()},
	}
}
