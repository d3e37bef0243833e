package cose

import (
	"crypto"
	"crypto/rsa"
	"fmt"
)

// The algorithms of RSASSA-PSS (RFC 8230). They verify by VerifyPSS alone: no message of
// governance and no signature of a ledger is made with them.
const (
	PS256 Algorithm = -37
	PS384 Algorithm = -38
	PS512 Algorithm = -39
)

var pssHash = map[Algorithm]crypto.Hash{PS256: crypto.SHA256, PS384: crypto.SHA384, PS512: crypto.SHA512}

// minRSABits is the smallest RSA key that verifies.
const minRSABits = 2048

// VerifyPSS checks the signature over the attached payload with an RSA key, with the
// salt as long as the hash. Errors are those of Verify.
func (s *Sign1) VerifyPSS(key *rsa.PublicKey) error {
	if s.Payload == nil {
		return fmt.Errorf("%w: detached payload", ErrMalformed)
	}
	if !s.Header.hasAlg {
		return fmt.Errorf("%w: no header alg", ErrMalformed)
	}
	hash, ok := pssHash[s.Header.Alg]
	if !ok {
		return fmt.Errorf("%w: %d is none of PS256, PS384, PS512", ErrUnsupportedAlgorithm, int64(s.Header.Alg))
	}
	if bits := key.N.BitLen(); bits < minRSABits {
		return fmt.Errorf("%w: the key has %d bits, want %d at least", ErrBadSignature, bits, minRSABits)
	}
	h := hash.New()
	h.Write(tbs(s.Protected, s.Payload))
	err := rsa.VerifyPSS(key, hash, h.Sum(nil), s.Signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	return nil
}
