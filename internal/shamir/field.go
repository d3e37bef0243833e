package shamir

import (
	"encoding/binary"
	"fmt"
	"io"
)

// prime is the order of the field, the Mersenne prime 2^31-1.
const prime = 1<<31 - 1

// reduce maps x < 2^62 to its residue in [0, p). Folding the high bits onto
// the low ones twice leaves at most p, and p itself is 0.
func reduce(x uint64) uint32 {
	x = x&prime + x>>31
	x = x&prime + x>>31
	// x is in [0, p]; subtract p exactly when it is p, without a branch.
	return uint32(x - prime&-((x+1)>>31))
}

func add(a, b uint32) uint32 { return reduce(uint64(a) + uint64(b)) }
func sub(a, b uint32) uint32 { return reduce(uint64(a) + prime - uint64(b)) }
func mul(a, b uint32) uint32 { return reduce(uint64(a) * uint64(b)) }

// inverse returns a^(p-2), which is 1/a for a != 0. The exponent is public.
func inverse(a uint32) uint32 {
	out := uint32(1)
	for e := uint32(prime - 2); e != 0; e >>= 1 {
		if e&1 == 1 {
			out = mul(out, a)
		}
		a = mul(a, a)
	}
	return out
}

// evaluate returns the polynomial with the given coefficients, lowest degree
// first, at x.
func evaluate(coefficients []uint32, x uint32) uint32 {
	var y uint32
	for i := len(coefficients) - 1; i >= 0; i-- {
		y = add(mul(y, x), coefficients[i])
	}
	return y
}

// element draws a uniform field element: 31 random bits, again when they are p.
func element(rand io.Reader) (uint32, error) {
	var b [4]byte
	defer clear(b[:])
	for {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return 0, fmt.Errorf("drawing a field element: %w", err)
		}
		if v := binary.LittleEndian.Uint32(b[:]) & prime; v != prime {
			return v, nil
		}
	}
}
