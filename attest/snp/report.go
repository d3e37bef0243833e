package snp

import (
	"encoding/binary"
	"fmt"

	"chancery/attest"
)

// ReportSize is the size of a report in bytes.
const ReportSize = 1184

// signedSize is how much of a report its signature covers, in bytes from the start.
const signedSize = 0x2A0

// Report is an attestation report, byte for byte: the fields lie as they lie in
// ATTESTATION_REPORT, little-endian.
type Report struct {
	Version         uint32
	GuestSVN        uint32
	ABIMinor        byte // of the guest policy, as the rest of it
	ABIMajor        byte
	PolicyFlags     byte
	_               [5]byte
	FamilyID        [16]byte
	ImageID         [16]byte
	VMPL            uint32
	SignatureAlgo   uint32
	PlatformVersion TCB // the version that runs, not yet committed
	PlatformInfo    uint64
	Flags           uint32 // bit 0 author key, bit 1 masked chip key, bits 2 to 4 signing key
	_               [4]byte
	ReportData      [64]byte
	Measurement     [48]byte
	HostData        [32]byte
	IDKeyDigest     [48]byte
	AuthorKeyDigest [48]byte
	ReportID        [32]byte
	ReportIDMA      [32]byte
	ReportedTCB     TCB
	Family          byte
	Model           byte
	Stepping        byte
	_               [21]byte
	ChipID          [64]byte
	CommittedTCB    TCB
	Current         [3]byte // firmware version: build, minor, major
	_               byte
	Committed       [3]byte // likewise
	_               byte
	LaunchTCB       TCB
	_               [168]byte
	R, S            [72]byte // of the signature, little-endian
	_               [368]byte
}

// TCB is a TCB version as a number.
type TCB uint64

// String is its 16 hex digits.
func (t TCB) String() string { return fmt.Sprintf("%016x", uint64(t)) }

// The bits of PolicyFlags.
const (
	policySMT          = 1 << 0
	policyMigration    = 1 << 2
	policyDebug        = 1 << 3
	policySingleSocket = 1 << 4
)

// SMT says whether the guest may run where hyperthreads are on.
func (r *Report) SMT() bool { return r.PolicyFlags&policySMT != 0 }

// Migration says whether the guest may be moved by a migration agent.
func (r *Report) Migration() bool { return r.PolicyFlags&policyMigration != 0 }

// Debug says whether the host may read the guest's memory.
func (r *Report) Debug() bool { return r.PolicyFlags&policyDebug != 0 }

// SingleSocket says whether the guest runs on one socket only.
func (r *Report) SingleSocket() bool { return r.PolicyFlags&policySingleSocket != 0 }

// MaskedChipKey says whether the platform's owner hides the chip's key.
func (r *Report) MaskedChipKey() bool { return r.Flags&2 != 0 }

// SigningKey is the kind of key that signed: 0 is the chip's (VCEK).
func (r *Report) SigningKey() uint32 { return r.Flags >> 2 & 7 }

// CPU is the processor that the report names.
func (r *Report) CPU() attest.CPU {
	return attest.CPU{Family: r.Family, Model: r.Model, Stepping: r.Stepping}
}

// ParseReport reads a report. It fails with ErrSize only: every 1184 bytes are one, and
// what they say is for Verify to judge.
func ParseReport(b []byte) (*Report, error) {
	if len(b) != ReportSize {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrSize, len(b), ReportSize)
	}
	r := new(Report)
	if _, err := binary.Decode(b, binary.LittleEndian, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSize, err)
	}
	return r, nil
}
