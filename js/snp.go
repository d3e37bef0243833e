package js

import "github.com/dop251/goja"

// snpReportSize is the size of a raw SEV-SNP attestation report.
const snpReportSize = 1184

// verifySNP checks its arguments as CCF does. Verification itself is the attestation
// package's, which is not wired to applications yet: a report of the right form is
// refused with an error that says so, never accepted.
func (s *sandbox) verifySNP(c goja.FunctionCall) goja.Value {
	s.arityBetween(c, 2, 4)
	report := s.bytesArg(c.Arguments[0])
	for _, v := range c.Arguments[1:] {
		if !goja.IsUndefined(v) && !goja.IsString(v) {
			s.bytesArg(v)
		}
	}
	if len(report) != snpReportSize {
		s.throwRange("Input SEV-SNP attestation report is not of expected size %d: %d", snpReportSize, len(report))
	}
	s.throwRange("verifySnpAttestation: this node cannot verify SEV-SNP evidence for applications")
	return nil
}
