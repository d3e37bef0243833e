package attest

import (
	"encoding/hex"
	"fmt"
)

// Product is a line of AMD's processors that has SEV-SNP. Each has a root of its own
// and lays out its TCB version in its own way.
type Product string

// The lines that are known.
const (
	Milan Product = "Milan"
	Genoa Product = "Genoa"
	Turin Product = "Turin"
)

// CPU is a processor as function 1 of CPUID names it, base and extended parts joined.
type CPU struct{ Family, Model, Stepping byte }

// ParseCPUID reads the EAX of function 1, 8 hex digits, as the tables write it.
func ParseCPUID(text string) (CPU, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 4 {
		return CPU{}, fmt.Errorf("CPUID %q is not 8 hex digits", text)
	}
	return CPU{
		Family: b[2]&0xf + (b[0]<<4 | b[1]>>4),
		Model:  b[1]<<4 | b[3]>>4, Stepping: b[3] & 0xf,
	}, nil
}

// ID is the processor's EAX of function 1, 8 hex digits.
func (c CPU) ID() string {
	base, extended := c.Family, byte(0)
	if c.Family > 0xf {
		base, extended = 0xf, c.Family-0xf
	}
	return hex.EncodeToString([]byte{extended >> 4, extended<<4 | c.Model>>4, base, c.Model<<4 | c.Stepping&0xf})
}

// Product returns the processor's line, or an error for one that is not known.
func (c CPU) Product() (Product, error) {
	switch {
	case c.Family == 0x19 && c.Model == 0x01:
		return Milan, nil
	case c.Family == 0x19 && c.Model == 0x11:
		return Genoa, nil
	case c.Family == 0x1A && c.Model == 0x02:
		return Turin, nil
	}
	return "", fmt.Errorf("processor family %#x model %#x is none of Milan, Genoa, Turin", c.Family, c.Model)
}

// TCBVersion is the version of a processor's trusted computing base, by component;
// those that a processor does not have are nil.
type TCBVersion struct {
	Hex        *string `json:"hexstring,omitempty"`
	BootLoader *uint32 `json:"boot_loader,omitempty"`
	TEE        *uint32 `json:"tee,omitempty"`
	SNP        *uint32 `json:"snp,omitempty"`
	Microcode  *uint32 `json:"microcode,omitempty"`
	FMC        *uint32 `json:"fmc,omitempty"`
}

// DecodeTCB takes a TCB version, 16 hex digits of the number that a report carries,
// apart. The places are TCB_VERSION of AMD's SEV-SNP ABI (document 56860).
func DecodeTCB(p Product, text string) (TCBVersion, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 8 {
		return TCBVersion{}, fmt.Errorf("TCB version %q is not 16 hex digits", text)
	}
	at := func(i int) *uint32 { v := uint32(b[7-i]); return &v }
	switch p {
	case Milan, Genoa:
		return TCBVersion{Hex: &text, BootLoader: at(0), TEE: at(1), SNP: at(6), Microcode: at(7)}, nil
	case Turin:
		return TCBVersion{Hex: &text, FMC: at(0), BootLoader: at(1), TEE: at(2), SNP: at(3), Microcode: at(7)}, nil
	}
	return TCBVersion{}, fmt.Errorf("the TCB version of %q is not known", p)
}

// AtLeast says whether no component is below its minimum. As in CCF, one that only one
// of the two has fails.
func (v TCBVersion) AtLeast(least TCBVersion) bool {
	for _, c := range [][2]*uint32{
		{v.BootLoader, least.BootLoader}, {v.TEE, least.TEE}, {v.SNP, least.SNP},
		{v.Microcode, least.Microcode}, {v.FMC, least.FMC},
	} {
		if have, want := c[0], c[1]; (have == nil) != (want == nil) || have != nil && *have < *want {
			return false
		}
	}
	return true
}
