package attest

// Finding is one check of evidence and how it came out.
type Finding struct {
	// Check names the check in a few words.
	Check string
	// Says is what was found, for people; "" when the check failed.
	Says string
	// Err is nil when the check passed.
	Err error
}

// Explainer is a Verifier that tells what it checked.
type Explainer interface {
	Verifier
	// Explain is Verify check by check: the findings end with the first that failed,
	// and then the claims mean nothing.
	Explain(e Evidence) (Claims, []Finding)
}

// Judge is an Explainer's Verify: the claims, or the first error among what it found.
func Judge(x Explainer, e Evidence) (Claims, error) {
	claims, findings := x.Explain(e)
	if err := Failed(findings); err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// Failed returns the first error among findings.
func Failed(findings []Finding) error {
	for _, f := range findings {
		if f.Err != nil {
			return f.Err
		}
	}
	return nil
}
