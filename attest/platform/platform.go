package platform

import (
	"context"
	"fmt"

	"chancery/attest"
	"chancery/attest/sgx"
	"chancery/attest/snp"
	"chancery/attest/uvm"
	"chancery/attest/virtual"
)

// Verifier verifies evidence of any platform. The zero value trusts AMD's roots, and
// reads virtual evidence, which proves nothing.
type Verifier struct {
	SNP snp.Verifier
	// Production refuses virtual evidence.
	Production bool
}

var _ attest.Explainer = Verifier{}

// Verify returns the claims of evidence that is genuine. An endorsement of its
// measurement that does not hold is Claims.UVMError: it is the policy's turn after the
// host data's.
func (v Verifier) Verify(_ context.Context, e attest.Evidence) (attest.Claims, error) {
	return attest.Judge(v, e)
}

// Explain is Verify check by check.
func (v Verifier) Explain(e attest.Evidence) (attest.Claims, []attest.Finding) {
	switch e.Format {
	case attest.FormatVirtual:
		return v.explainVirtual(e)
	case attest.FormatSNP:
		claims, findings := v.SNP.Explain(e)
		if attest.Failed(findings) == nil && e.UVMEndorsements != nil {
			if u, err := uvm.Verify(e.UVMEndorsements, claims.Measurement); err != nil {
				claims.UVMError = err
			} else {
				claims.UVM = &u
			}
		}
		return claims, findings
	case attest.FormatSGX:
		return sgx.Verifier{}.Explain(e)
	}
	return attest.Claims{}, []attest.Finding{{Check: "format",
		Err: fmt.Errorf("%w: evidence of format %.64q cannot be verified here", attest.ErrNotGenuine, e.Format)}}
}

func (v Verifier) explainVirtual(e attest.Evidence) (attest.Claims, []attest.Finding) {
	if v.Production {
		return attest.Claims{}, []attest.Finding{{Check: "format",
			Err: fmt.Errorf("%w: the virtual platform proves nothing and is refused in production", attest.ErrNotGenuine)}}
	}
	claims, err := virtual.Verifier{}.Verify(context.Background(), e)
	return claims, []attest.Finding{{Check: "format", Says: "virtual: anyone can write such evidence; it proves nothing", Err: err}}
}
