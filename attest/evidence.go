package attest

import (
	"context"
	"encoding/hex"
	"errors"
)

// Format names a platform in nodes.info and in a join request.
type Format string

// The formats of CCF.
const (
	FormatVirtual Format = "Insecure_Virtual"
	FormatSNP     Format = "AMD_SEV_SNP_v1"
	FormatSGX     Format = "OE_SGX_v1"
)

// Evidence is CCF's quote_info. Its JSON has sorted keys, base64 for bytes, and
// the last two fields only when they are there.
type Evidence struct {
	EndorsedTCB     string `json:"endorsed_tcb,omitempty"`     // hex; which TCB Endorsements are for
	Endorsements    []byte `json:"endorsements"`               // certificates of the platform's maker
	Format          Format `json:"format"`                     // which platform
	Quote           []byte `json:"quote"`                      // the platform's statement
	UVMEndorsements []byte `json:"uvm_endorsements,omitempty"` // COSE_Sign1 over the guest's measurement
}

// Claims is what genuine evidence says.
type Claims struct {
	Format      Format
	Measurement string   // of the code: hex on SNP, a text on the virtual platform
	HostData    [32]byte // what the host bound to the guest: on SNP the policy's digest
	ReportData  [32]byte // what the guest bound to its report: the digest of its key
	UVM         *UVM     // the endorsement of the measurement, if there was one
	UVMError    error    // why the endorsement that came says nothing; UVM is nil then
	TCB         *TCB     // the platform's security version, if it has one
}

// UVM is a verified endorsement of a utility VM's measurement.
type UVM struct {
	DID  string // issuer, did:x509
	Feed string
	SVN  uint64
}

// UVMFeed is what governance says of one feed of an endorser.
type UVMFeed struct {
	SVN string `json:"svn"` // the least version that is trusted, decimal
}

// TCB is a processor and the version of its trusted computing base.
type TCB struct {
	CPU   CPU
	Value string // as reported: 16 hex digits
}

// Issuer makes evidence for the machine that it runs on.
type Issuer interface {
	// Issue binds reportData, the SHA-256 of the node's public key in DER, to
	// this machine. It may talk to hardware or to a server of the platform's
	// maker, and must return when ctx ends.
	Issue(ctx context.Context, reportData [32]byte) (Evidence, error)
}

// Verifier tells what evidence claims.
type Verifier interface {
	// Verify checks that evidence is genuine and returns its claims. It must
	// refuse evidence of another format, must not panic on any bytes, and must
	// wrap ErrNotGenuine for all that the sender can cause.
	Verify(ctx context.Context, e Evidence) (Claims, error)
}

// ErrNotGenuine means that evidence does not verify.
var ErrNotGenuine = errors.New("quote could not be verified")

// CodeDigest returns the code_digest of nodes.info: the measurement's bytes in
// hex, which on the virtual platform are those of its text.
func (c Claims) CodeDigest() string {
	if c.Format == FormatVirtual {
		return hex.EncodeToString([]byte(c.Measurement))
	}
	return c.Measurement
}
