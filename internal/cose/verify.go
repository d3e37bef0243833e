package cose

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"math/big"
)

// Verify checks the signature over the attached payload with pub, an
// *ecdsa.PublicKey. It returns ErrBadSignature when the signature, the key or
// the algorithm do not go together, ErrUnsupportedAlgorithm when the message
// names an algorithm outside the table, ErrMalformed when there is no alg or
// the payload is detached.
func (s *Sign1) Verify(pub crypto.PublicKey) error {
	if s.Payload == nil {
		return fmt.Errorf("%w: detached payload", ErrMalformed)
	}
	return s.verify(pub, s.Payload)
}

// VerifyDetached is Verify for a message without a payload, over the payload
// that the caller knows. It refuses an attached one with ErrMalformed.
func (s *Sign1) VerifyDetached(pub crypto.PublicKey, payload []byte) error {
	if s.Payload != nil {
		return fmt.Errorf("%w: attached payload", ErrMalformed)
	}
	return s.verify(pub, payload)
}

func (s *Sign1) verify(pub crypto.PublicKey, payload []byte) error {
	if !s.Header.hasAlg {
		return fmt.Errorf("%w: no header alg", ErrMalformed)
	}
	want, err := lookup(s.Header.Alg)
	if err != nil {
		return err
	}
	have, key, err := suiteFor(pub)
	if err != nil || have != want {
		return fmt.Errorf("%w: the key is not one for %s", ErrBadSignature, want.name)
	}
	n := want.size()
	if len(s.Signature) != 2*n {
		return fmt.Errorf("%w: %d bytes, want %d", ErrBadSignature, len(s.Signature), 2*n)
	}
	r := new(big.Int).SetBytes(s.Signature[:n])
	v := new(big.Int).SetBytes(s.Signature[n:])
	if !ecdsa.Verify(key, want.digest(s.Protected, payload), r, v) {
		return ErrBadSignature
	}
	return nil
}
