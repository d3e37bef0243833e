package cose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	_ "crypto/sha256" // the hashes of the table
	_ "crypto/sha512"
	"fmt"
)

// Algorithm is a COSE algorithm identifier (IANA registry of COSE algorithms).
type Algorithm int64

// The algorithms that sign and verify here.
const (
	ES256 Algorithm = -7
	ES384 Algorithm = -35
	ES512 Algorithm = -36
)

// suite is what an algorithm stands for. In COSE proper the curve is free; CCF
// and this package bind it to the algorithm.
type suite struct {
	alg   Algorithm
	name  string
	curve elliptic.Curve
	hash  crypto.Hash
}

// suites is the one table of algorithms.
var suites = []suite{
	{ES256, "ES256", elliptic.P256(), crypto.SHA256},
	{ES384, "ES384", elliptic.P384(), crypto.SHA384},
	{ES512, "ES512", elliptic.P521(), crypto.SHA512},
}

// size is the length in bytes of each of r and s.
func (s suite) size() int { return (s.curve.Params().BitSize + 7) / 8 }

// lookup returns the suite of a.
func lookup(a Algorithm) (suite, error) {
	for _, s := range suites {
		if s.alg == a {
			return s, nil
		}
	}
	return suite{}, fmt.Errorf("%w: %d", ErrUnsupportedAlgorithm, int64(a))
}

// suiteFor returns the suite of an ECDSA public key, by its curve.
func suiteFor(pub crypto.PublicKey) (suite, *ecdsa.PublicKey, error) {
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok {
		return suite{}, nil, fmt.Errorf("%w: key of type %T", ErrUnsupportedAlgorithm, pub)
	}
	for _, s := range suites {
		if s.curve == key.Curve {
			return s, key, nil
		}
	}
	return suite{}, nil, fmt.Errorf("%w: key on another curve", ErrUnsupportedAlgorithm)
}

// AlgorithmFor returns the algorithm that a key signs with: ES256 for P-256,
// ES384 for P-384, ES512 for P-521. Any other key is ErrUnsupportedAlgorithm.
func AlgorithmFor(pub crypto.PublicKey) (Algorithm, error) {
	s, _, err := suiteFor(pub)
	return s.alg, err
}

// Supported reports whether a is in the table.
func (a Algorithm) Supported() bool {
	_, err := lookup(a)
	return err == nil
}

// Hash returns the hash of a, or ErrUnsupportedAlgorithm.
func (a Algorithm) Hash() (crypto.Hash, error) {
	s, err := lookup(a)
	return s.hash, err
}

// SignatureSize returns the length of a's signatures in bytes, or 0 for an
// algorithm outside the table.
func (a Algorithm) SignatureSize() int {
	s, err := lookup(a)
	if err != nil {
		return 0
	}
	return 2 * s.size()
}

// String returns the name of a, or its number.
func (a Algorithm) String() string {
	if s, err := lookup(a); err == nil {
		return s.name
	}
	return fmt.Sprintf("algorithm %d", int64(a))
}
