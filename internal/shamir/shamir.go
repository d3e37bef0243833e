package shamir

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const (
	// Limbs is the number of field elements in a secret.
	Limbs = 10
	// ShareSize is the length of a share in bytes.
	ShareSize = 4 + 4*Limbs
	// WrappingKeySize is the length of a wrapping key in bytes (AES-256).
	WrappingKeySize = 32
)

// ErrShare means that bytes are no share, or that shares cannot belong
// together. Its text never holds a share's contents.
var ErrShare = errors.New("not a recovery share")

// Secret is what the members share: ten field elements, from which the wrapping
// key is derived. It prints as a redaction; Wipe it after use.
type Secret struct {
	limbs [Limbs]uint32
}

// NewSecret draws a secret from rand.
func NewSecret(rand io.Reader) (*Secret, error) {
	s := new(Secret)
	for i := range s.limbs {
		v, err := element(rand)
		if err != nil {
			return nil, fmt.Errorf("drawing a shared secret: %w", err)
		}
		s.limbs[i] = v
	}
	return s, nil
}

// WrappingKey derives the 32-byte AES key that wraps the ledger secret.
func (s *Secret) WrappingKey() ([]byte, error) {
	raw := make([]byte, 0, 4*Limbs)
	for _, v := range s.limbs {
		raw = binary.LittleEndian.AppendUint32(raw, v)
	}
	defer clear(raw)
	key, err := hkdf.Key(sha256.New, raw, nil, string(raw), WrappingKeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving the wrapping key: %w", err)
	}
	return key, nil
}

// Full returns the share with x = 0, which holds the whole secret. It is what a
// recovery owner is given.
func (s *Secret) Full() Share { return Share{X: 0, Y: s.limbs} }

// Split returns n shares with x = 1..n, any k of which give s back. It needs
// 1 <= k <= n, and n below the order of the field.
func (s *Secret) Split(rand io.Reader, k, n int) ([]Share, error) {
	if k < 1 || n < k || n >= prime {
		return nil, fmt.Errorf("splitting a secret: threshold %d of %d shares is impossible", k, n)
	}
	shares := make([]Share, n)
	coefficients := make([]uint32, k)
	defer clear(coefficients)
	for limb := range s.limbs {
		coefficients[0] = s.limbs[limb]
		for i := 1; i < k; i++ {
			v, err := element(rand)
			if err != nil {
				return nil, fmt.Errorf("splitting a secret: %w", err)
			}
			coefficients[i] = v
		}
		for i := range shares {
			shares[i].X = uint32(i + 1)
			shares[i].Y[limb] = evaluate(coefficients, shares[i].X)
		}
	}
	return shares, nil
}

// Wipe overwrites the limbs.
func (s *Secret) Wipe() { clear(s.limbs[:]) }

// Format writes a redaction, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[shared secret]")) }

// LogValue returns a redaction.
func (Secret) LogValue() slog.Value { return slog.StringValue("[shared secret]") }

// Combine gives the secret back from shares. A share with x = 0 among them is
// the secret itself; otherwise the first k are interpolated, as CCF does, and
// the rest are ignored. The error is ErrShare when there are fewer than k, or
// when two of the first k have the same x.
func Combine(shares []Share, k int) (*Secret, error) {
	for i := range shares {
		if shares[i].X == 0 {
			return &Secret{limbs: shares[i].Y}, nil
		}
	}
	if k < 1 || len(shares) < k {
		return nil, fmt.Errorf("combining shares: %w: %d of %d needed", ErrShare, len(shares), k)
	}
	shares = shares[:k]
	weights, err := lagrange(shares)
	if err != nil {
		return nil, fmt.Errorf("combining shares: %w", err)
	}
	s := new(Secret)
	for limb := range s.limbs {
		for i := range shares {
			s.limbs[limb] = add(s.limbs[limb], mul(weights[i], shares[i].Y[limb]))
		}
	}
	return s, nil
}

// lagrange returns the basis polynomials at 0 for the shares' x, which are not
// secret.
func lagrange(shares []Share) ([]uint32, error) {
	weights := make([]uint32, len(shares))
	for i := range shares {
		num, den := uint32(1), uint32(1)
		for j := range shares {
			if i == j {
				continue
			}
			if shares[i].X == shares[j].X {
				return nil, fmt.Errorf("%w: index %d occurs twice", ErrShare, shares[i].X)
			}
			num = mul(num, shares[j].X)
			den = mul(den, sub(shares[j].X, shares[i].X))
		}
		weights[i] = mul(num, inverse(den))
	}
	return weights, nil
}
