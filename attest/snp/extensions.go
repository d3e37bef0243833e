package snp

import (
	"encoding/asn1"
	"fmt"

	"chancery/attest"
)

// The extensions of a VCEK (AMD's document 57230, tables 10 and 11).
var (
	oidTCB  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 3}
	oidChip = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 4}
)

// places says where a component of the TCB version, by the last number of its
// extension, lies in the version's number: which byte from the low end.
var places = map[attest.Product]map[int]int{
	attest.Milan: {1: 0, 2: 1, 3: 6, 8: 7},
	attest.Genoa: {1: 0, 2: 1, 3: 6, 8: 7},
	attest.Turin: {9: 0, 1: 1, 2: 2, 3: 3, 8: 7},
}

// components cuts the reserved bytes out of a TCB version.
func components(p attest.Product, t TCB) TCB {
	var out TCB
	for _, at := range places[p] {
		out |= t & (0xff << (8 * at))
	}
	return out
}

// endorsedTCB reads the TCB version that a VCEK is for. Every component must be there,
// once.
func (c *chain) endorsedTCB(p attest.Product) (TCB, error) {
	var out TCB
	for last, at := range places[p] {
		raw, err := c.extension(append(oidTCB[:len(oidTCB):len(oidTCB)], last))
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrEndorsedTCB, err)
		}
		v, ok := smallInteger(raw)
		if !ok {
			return 0, fmt.Errorf("%w: component %d of the VCEK is encoded as %x", ErrEndorsedTCB, last, raw)
		}
		out |= TCB(v) << (8 * at)
	}
	return out, nil
}

// smallInteger reads an integer of one byte in the encodings of AMD's certificates: DER,
// or the byte alone.
func smallInteger(raw []byte) (byte, bool) {
	switch {
	case len(raw) == 1:
		return raw[0], true
	case len(raw) == 3 && raw[0] == asn1.TagInteger && raw[1] == 1 && raw[2] < 0x80:
		return raw[2], true
	case len(raw) == 4 && raw[0] == asn1.TagInteger && raw[1] == 2 && raw[2] == 0 && raw[3] >= 0x80:
		return raw[3], true
	}
	return 0, false
}

// chip reads the id of the chip that a VCEK is for: 64 bytes, on Turin 8.
func (c *chain) chip() ([]byte, error) {
	raw, err := c.extension(oidChip)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChip, err)
	}
	return raw, nil
}

// extension returns the content of the VCEK's only extension of that name.
func (c *chain) extension(id asn1.ObjectIdentifier) ([]byte, error) {
	var found []byte
	n := 0
	for _, e := range c.vcek.Extensions {
		if e.Id.Equal(id) {
			found, n = e.Value, n+1
		}
	}
	if n != 1 {
		return nil, fmt.Errorf("the VCEK has %d extensions %s, want 1", n, id)
	}
	return found, nil
}
