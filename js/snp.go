package js

import (
	"encoding/hex"
	"strconv"

	"github.com/dop251/goja"

	"chancery/attest"
	"chancery/attest/snp"
	"chancery/attest/uvm"
)

// uvmRoots are the endorsers of utility VMs that CCF trusts on behalf of applications.
var uvmRoots = attest.JoinPolicy{}

func init() {
	const microsoft = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59."
	uvmRoots.SNP.UVMEndorsements = map[string]map[string]attest.UVMFeed{
		microsoft + "1.2": {"ContainerPlat-AMD-UVM": {SVN: "100"}},
		microsoft + "1.5": {"ConfAKS-AMD-UVM": {SVN: "1"}},
	}
}

// snpTrust is what verifySnpAttestation trusts.
type snpTrust struct {
	verifier snp.Verifier
	uvm      *attest.JoinPolicy
}

// trustedSNP is AMD and Microsoft; tests put roots of their own in its place.
var trustedSNP = snpTrust{uvm: &uvmRoots}

// verifySNP verifies an SEV-SNP report for an application, and where they are given an
// endorsement of its measurement and the TCB version of its endorsements.
func (s *sandbox) verifySNP(c goja.FunctionCall) goja.Value {
	s.arityBetween(c, 2, 4)
	e := attest.Evidence{Format: attest.FormatSNP, Quote: s.bytesArg(c.Arguments[0]), Endorsements: s.bytesArg(c.Arguments[1])}
	endorsed := len(c.Arguments) > 2 && !goja.IsUndefined(c.Arguments[2])
	if endorsed {
		e.UVMEndorsements = s.bytesArg(c.Arguments[2])
	}
	if len(c.Arguments) > 3 && !goja.IsUndefined(c.Arguments[3]) {
		e.EndorsedTCB = c.Arguments[3].String()
	}
	if n := len(e.Quote); n != snp.ReportSize {
		s.throwRange("Input SEV-SNP attestation report is not of expected size %d: %d", snp.ReportSize, n)
	}
	report, err := trustedSNP.verifier.VerifyReport(e)
	if err != nil {
		s.throwRange("%s", err)
	}
	out := []field{{"attestation", s.snpReport(report)}}
	if endorsed {
		u, err := uvm.Verify(e.UVMEndorsements, hex.EncodeToString(report.Measurement[:]))
		if err != nil {
			s.throwRange("%s", err)
		}
		if ok, err := trustedSNP.uvm.UVMTrusted(u); err != nil || !ok {
			s.throwRange("UVM endorsements did %s, feed %s, svn %d do not match any of the known UVM roots of trust", u.DID, u.Feed, u.SVN)
		}
		out = append(out, field{"uvm_endorsements", s.object(
			field{"did", u.DID}, field{"feed", u.Feed}, field{"svn", strconv.FormatUint(u.SVN, 10)})})
	}
	return s.object(out...)
}

// snpReport is the object that CCF makes of a report: bytes as ArrayBuffers, TCB
// versions in hex, "plaform_info" as it is spelled there.
func (s *sandbox) snpReport(r *snp.Report) goja.Value {
	bit := func(set bool) int64 {
		if set {
			return 1
		}
		return 0
	}
	return s.object(
		field{"version", int64(r.Version)}, field{"guest_svn", int64(r.GuestSVN)},
		field{"policy", s.object(
			field{"abi_minor", int64(r.ABIMinor)}, field{"abi_major", int64(r.ABIMajor)}, field{"smt", bit(r.SMT())},
			field{"migrate_ma", bit(r.Migration())}, field{"debug", bit(r.Debug())}, field{"single_socket", bit(r.SingleSocket())})},
		field{"family_id", s.copied(r.FamilyID[:])}, field{"image_id", s.copied(r.ImageID[:])},
		field{"vmpl", int64(r.VMPL)}, field{"signature_algo", int64(r.SignatureAlgo)},
		field{"platform_version", r.PlatformVersion.String()},
		field{"plaform_info", s.object(field{"smt_en", int64(r.PlatformInfo & 1)}, field{"tsme_en", int64(r.PlatformInfo >> 1 & 1)})},
		field{"flags", s.object(
			field{"author_key_en", int64(r.Flags & 1)}, field{"mask_chip_key", bit(r.MaskedChipKey())}, field{"signing_key", int64(r.SigningKey())})},
		field{"report_data", s.copied(r.ReportData[:])}, field{"measurement", s.copied(r.Measurement[:])},
		field{"host_data", s.copied(r.HostData[:])}, field{"id_key_digest", s.copied(r.IDKeyDigest[:])},
		field{"author_key_digest", s.copied(r.AuthorKeyDigest[:])}, field{"report_id", s.copied(r.ReportID[:])},
		field{"report_id_ma", s.copied(r.ReportIDMA[:])}, field{"reported_tcb", r.ReportedTCB.String()},
		field{"cpuid_fam_id", int64(r.Family)}, field{"cpuid_mod_id", int64(r.Model)}, field{"cpuid_step", int64(r.Stepping)},
		field{"chip_id", s.copied(r.ChipID[:])}, field{"committed_tcb", r.CommittedTCB.String()},
		// CCF reads the first byte of the current version as its minor number, and the
		// second as its build; those of the committed version the other way round.
		field{"current_minor", int64(r.Current[0])}, field{"current_build", int64(r.Current[1])}, field{"current_major", int64(r.Current[2])},
		field{"committed_build", int64(r.Committed[0])}, field{"committed_minor", int64(r.Committed[1])}, field{"committed_major", int64(r.Committed[2])},
		field{"launch_tcb", r.LaunchTCB.String()},
		field{"signature", s.object(field{"r", s.copied(r.R[:])}, field{"s", s.copied(r.S[:])})},
	)
}
