package js

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/dop251/goja"
)

var hashes = map[string]crypto.Hash{"SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384, "SHA-512": crypto.SHA512}

// algorithm is the first argument of sign and verifySignature, as far as it was read:
// {name, hash?, saltLength?}. Properties that are missing read as "undefined".
type algorithm struct {
	name, hash string
	salt       int
}

func (s *sandbox) algorithm(v goja.Value) algorithm {
	o, ok := v.(*goja.Object)
	if !ok {
		return algorithm{name: "undefined", hash: "undefined"}
	}
	text := func(name string) string {
		if v := o.Get(name); v != nil {
			return v.String()
		}
		return "undefined"
	}
	a := algorithm{name: text("name"), hash: text("hash")}
	if v := o.Get("saltLength"); v != nil {
		a.salt = int(max(0, min(v.ToInteger(), 1<<16)))
	}
	return a
}

// sign makes a signature: ECDSA in IEEE P1363 form, RSA-PSS, EdDSA, or an HMAC, whose
// key is the bytes of the key argument.
func (s *sandbox) sign(c goja.FunctionCall) goja.Value {
	s.arity(c, 3)
	a, key := s.algorithm(c.Arguments[0]), c.Arguments[1].String()
	data := s.bytesArg(c.Arguments[2])
	if a.name == "EdDSA" {
		k, err := edPrivate(key)
		if err != nil {
			s.throwInternal("Failed to sign with EdDSA pair: %s", err)
		}
		return s.newBuffer(ed25519.Sign(k, data))
	}
	hash, ok := hashes[a.hash]
	if !ok {
		s.throwRange("Unsupported hash algorithm, supported: SHA-256, SHA-384, SHA-512")
	}
	var sig []byte
	var err error
	switch a.name {
	case "ECDSA":
		sig, err = signECDSA(key, hash, data)
	case "RSA-PSS":
		sig, err = signPSS(key, hash, data, a.salt)
	case "HMAC":
		m := hmac.New(hash.New, []byte(key))
		m.Write(data)
		sig = m.Sum(nil)
	default:
		s.throwRange("Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA, HMAC")
	}
	if err != nil {
		s.throwInternal("Failed to sign: %s", err)
	}
	return s.newBuffer(sig)
}

// verifySignature checks a signature with a public key or a certificate. Only SHA-256
// is known here, as in CCF.
func (s *sandbox) verifySignature(c goja.FunctionCall) goja.Value {
	s.arity(c, 4)
	sig, data := s.bytesArg(c.Arguments[2]), s.bytesArg(c.Arguments[3])
	a, key := s.algorithm(c.Arguments[0]), c.Arguments[1].String()
	if a.name == "EdDSA" {
		k, err := edPublic(key)
		if err != nil {
			s.throwRange("Failed to verify EdDSA signature: %s", err)
		}
		return s.vm.ToValue(ed25519.Verify(k, data, sig))
	}
	if a.hash != "SHA-256" {
		s.throwRange("Unsupported hash algorithm, supported: SHA-256")
	}
	if a.name != "RSA-PSS" && a.name != "ECDSA" {
		s.throwRange("Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA")
	}
	valid, err := verify(a, key, sig, data)
	if err != nil {
		s.throwInternal("Failed to verify signature: %s", err)
	}
	return s.vm.ToValue(valid)
}

// verify checks an ECDSA or RSA-PSS signature over SHA-256 of data.
func verify(a algorithm, key string, sig, data []byte) (bool, error) {
	public, err := verificationKey(key)
	if err != nil {
		return false, err
	}
	digest := sum(crypto.SHA256, data)
	if a.name == "ECDSA" {
		k, ok := public.(*ecdsa.PublicKey)
		if !ok {
			return false, errNotEC
		}
		return verifyECDSA(k, digest, sig), nil
	}
	k, ok := public.(*rsa.PublicKey)
	if !ok {
		return false, errNotRSA
	}
	return verifyPSS(k, crypto.SHA256, digest, sig, a.salt), nil
}

func verificationKey(key string) (any, error) {
	if strings.HasPrefix(key, "-----BEGIN CERTIFICATE") {
		cert, err := parseCertificate(key)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return parsePublic(key)
}

func sum(h crypto.Hash, data []byte) []byte {
	d := h.New()
	d.Write(data)
	return d.Sum(nil)
}

type ecdsaSignature struct{ R, S *big.Int }

// coordinateSize is the length of one half of a P1363 signature.
func coordinateSize(k *ecdsa.PublicKey) int { return (k.Curve.Params().BitSize + 7) / 8 }

func signECDSA(key string, hash crypto.Hash, data []byte) ([]byte, error) {
	k, err := ecPrivate(key)
	if err != nil {
		return nil, err
	}
	der, err := ecdsa.SignASN1(rand.Reader, k, sum(hash, data))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	var sig ecdsaSignature
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, fmt.Errorf("reading the signature: %w", err)
	}
	n := coordinateSize(&k.PublicKey)
	out := make([]byte, 2*n)
	sig.R.FillBytes(out[:n])
	sig.S.FillBytes(out[n:])
	return out, nil
}

func verifyECDSA(k *ecdsa.PublicKey, digest, sig []byte) bool {
	n := coordinateSize(k)
	if len(sig) != 2*n {
		return false
	}
	der, err := asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])})
	return err == nil && ecdsa.VerifyASN1(k, digest, der)
}

func signPSS(key string, hash crypto.Hash, data []byte, salt int) ([]byte, error) {
	k, err := rsaPrivate(key)
	if err != nil {
		return nil, err
	}
	digest := sum(hash, data)
	if salt == 0 { // crypto/rsa takes 0 for "as long as fits"
		return signPSSUnsalted(k, hash, digest)
	}
	sig, err := rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: salt})
	if err != nil {
		return nil, errors.New("RSA-PSS: the key does not fit hash and salt")
	}
	return sig, nil
}

func verifyPSS(k *rsa.PublicKey, hash crypto.Hash, digest, sig []byte, salt int) bool {
	if salt == 0 {
		return verifyPSSUnsalted(k, hash, digest, sig)
	}
	return rsa.VerifyPSS(k, hash, digest, sig, &rsa.PSSOptions{SaltLength: salt}) == nil
}
