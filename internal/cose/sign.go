package cose

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Sign returns a tagged governance message with an attached payload. The
// algorithm is the one of the key's curve; h.Alg and h.Crit are ignored. A nil
// payload is attached as the empty one.
func Sign(key crypto.Signer, h Header, payload []byte) ([]byte, error) {
	alg, err := AlgorithmFor(key.Public())
	if err != nil {
		return nil, fmt.Errorf("signing COSE message: %w", err)
	}
	h.Alg = alg
	protected, err := h.encode()
	if err != nil {
		return nil, err
	}
	return SignAttached(key, protected, payload)
}

// SignAttached signs under a protected map that the caller encoded (EncodeMap)
// and attaches the payload. The map's alg must be the one of the key.
func SignAttached(key crypto.Signer, protected, payload []byte) ([]byte, error) {
	if payload == nil {
		payload = []byte{}
	}
	sig, err := sign(key, protected, payload)
	if err != nil {
		return nil, err
	}
	s := Sign1{Protected: protected, Payload: payload, Signature: sig}
	return s.Encode(), nil
}

// SignDetached is SignAttached for a payload that stays outside the message, as
// in a ledger signature, where it is the root of the tree.
func SignDetached(key crypto.Signer, protected, payload []byte) ([]byte, error) {
	sig, err := sign(key, protected, payload)
	if err != nil {
		return nil, err
	}
	s := Sign1{Protected: protected, Signature: sig}
	return s.Encode(), nil
}

// sign returns r||s over the message's digest.
func sign(key crypto.Signer, protected, payload []byte) ([]byte, error) {
	s, _, err := suiteFor(key.Public())
	if err != nil {
		return nil, fmt.Errorf("signing COSE message: %w", err)
	}
	m, err := DecodeMap(protected)
	if err != nil {
		return nil, fmt.Errorf("signing COSE message: protected header: %w", err)
	}
	if alg, _ := m.Get(LabelAlg); alg != int64(s.alg) {
		return nil, fmt.Errorf("signing COSE message: header says %v, the key signs with %s", alg, s.name)
	}
	der, err := key.Sign(rand.Reader, s.digest(protected, payload), s.hash)
	if err != nil {
		return nil, fmt.Errorf("signing COSE message: %w", err)
	}
	sig, err := s.fixed(der)
	if err != nil {
		return nil, fmt.Errorf("signing COSE message: %w", err)
	}
	return sig, nil
}

// digest hashes what is signed.
func (s suite) digest(protected, payload []byte) []byte {
	h := s.hash.New()
	h.Write(tbs(protected, payload))
	return h.Sum(nil)
}

// fixed turns a DER signature into r||s, each of the length of the order.
func (s suite) fixed(der []byte) ([]byte, error) {
	var r, v big.Int
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1Integer(&r) || !seq.ReadASN1Integer(&v) || !seq.Empty() ||
		r.Sign() <= 0 || v.Sign() <= 0 ||
		r.Cmp(s.curve.Params().N) >= 0 || v.Cmp(s.curve.Params().N) >= 0 {
		return nil, errors.New("the key returned no ECDSA signature in DER")
	}
	n := s.size()
	out := make([]byte, 2*n)
	r.FillBytes(out[:n])
	v.FillBytes(out[n:])
	return out, nil
}
