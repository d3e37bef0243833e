package js

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/dop251/goja"
)

// cryptoMembers are the functions of ccf.crypto. Keys go in and out as PEM texts, data
// as ArrayBuffers; error classes and texts are CCF's.
var cryptoMembers = []member{
	{name: "sign", f: (*sandbox).sign}, {name: "verifySignature", f: (*sandbox).verifySignature},
	{name: "pubPemToJwk", f: pemToJWK(ecPublicToJWK)}, {name: "pemToJwk", f: pemToJWK(ecPrivateToJWK)},
	{name: "pubRsaPemToJwk", f: pemToJWK(rsaPublicToJWK)}, {name: "rsaPemToJwk", f: pemToJWK(rsaPrivateToJWK)},
	{name: "pubEddsaPemToJwk", f: pemToJWK(okpPublicToJWK)}, {name: "eddsaPemToJwk", f: pemToJWK(okpPrivateToJWK)},
	{name: "pubJwkToPem", f: jwkToPEM(ecPublicFromJWK)}, {name: "jwkToPem", f: jwkToPEM(ecPrivateFromJWK)},
	{name: "pubRsaJwkToPem", f: jwkToPEM(rsaPublicFromJWK)}, {name: "rsaJwkToPem", f: jwkToPEM(rsaPrivateFromJWK)},
	{name: "pubEddsaJwkToPem", f: jwkToPEM(okpPublicFromJWK)}, {name: "eddsaJwkToPem", f: jwkToPEM(okpPrivateFromJWK)},
	{name: "generateAesKey", f: (*sandbox).generateAESKey}, {name: "generateRsaKeyPair", f: (*sandbox).generateRSAKeyPair},
	{name: "generateEcdsaKeyPair", f: (*sandbox).generateECDSAKeyPair},
	{name: "generateEddsaKeyPair", f: (*sandbox).generateEdDSAKeyPair},
	{name: "wrapKey", f: (*sandbox).wrapKey}, {name: "unwrapKey", f: (*sandbox).unwrapKey}, {name: "digest", f: (*sandbox).digest},
	{name: "isValidX509CertBundle", f: (*sandbox).isValidCertBundle},
	{name: "isValidX509CertChain", f: (*sandbox).isValidCertChain},
}

// bytesArg returns the content of an ArrayBuffer argument, not copied. The text is
// QuickJS's own.
func (s *sandbox) bytesArg(v goja.Value) []byte {
	b, ok := buffer(v)
	if !ok {
		s.throwType("ArrayBuffer object expected")
	}
	return b
}

func (s *sandbox) digest(c goja.FunctionCall) goja.Value {
	s.arity(c, 2)
	if c.Arguments[0].String() != "SHA-256" {
		s.throwRange("unsupported digest algorithm, supported: SHA-256")
	}
	sum := sha256.Sum256(s.bytesArg(c.Arguments[1]))
	return s.newBuffer(sum[:])
}

func (s *sandbox) generateAESKey(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	bits := c.Arguments[0].ToInteger()
	if bits != 128 && bits != 192 && bits != 256 {
		s.throwRange("invalid key size (not one of 128, 192, 256)")
	}
	k := make([]byte, bits/8)
	rand.Read(k)
	return s.newBuffer(k)
}

func (s *sandbox) generateECDSAKeyPair(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	curves := map[string]elliptic.Curve{"secp256r1": elliptic.P256(), "secp384r1": elliptic.P384()}
	curve := curves[c.Arguments[0].String()]
	if curve == nil {
		s.throwRange("Unsupported curve id, supported: secp256r1, secp384r1")
	}
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		s.throwInternal("Failed to generate ECDSA key pair: %s", err)
	}
	return s.keyPair(k, &k.PublicKey)
}

func (s *sandbox) generateEdDSAKeyPair(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	switch c.Arguments[0].String() {
	case "curve25519":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			s.throwInternal("Failed to generate EdDSA key pair: %s", err)
		}
		return s.keyPair(private, public)
	case "x25519":
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			s.throwInternal("Failed to generate EdDSA key pair: %s", err)
		}
		return s.keyPair(k, k.PublicKey())
	}
	s.throwRange("Unsupported curve id, supported: curve25519, x25519")
	return nil
}

// Bounds of RSA keys. Larger ones take minutes to make.
const (
	minRSABits = 512
	maxRSABits = 8192
)

func (s *sandbox) generateRSAKeyPair(c goja.FunctionCall) goja.Value {
	if n := len(c.Arguments); n != 1 && n != 2 {
		s.throwType("Passed %d arguments, but expected 1 or 2", n)
	}
	bits, exponent := c.Arguments[0].ToInteger(), int64(65537)
	if len(c.Arguments) == 2 {
		exponent = c.Arguments[1].ToInteger()
	}
	if bits < minRSABits || bits > maxRSABits || bits%2 != 0 {
		s.throwInternal("Failed to generate RSA key pair: size is not an even number between %d and %d", minRSABits, maxRSABits)
	}
	if exponent < 3 || exponent >= 1<<31 || exponent%2 == 0 {
		s.throwInternal("Failed to generate RSA key pair: exponent is not an odd number between 3 and 2^31")
	}
	k := generateRSA(int(bits), exponent, s.checkTime)
	return s.keyPair(k, &k.PublicKey)
}

// keyPair is the object that the key generators return.
func (s *sandbox) keyPair(private, public any) goja.Value {
	privatePEM, err := marshalPrivate(private)
	if err != nil {
		s.throwInternal("Failed to serialise key pair: %s", err)
	}
	publicPEM, err := marshalPublic(public)
	if err != nil {
		s.throwInternal("Failed to serialise key pair: %s", err)
	}
	o := s.vm.NewObject()
	_ = o.Set("privateKey", privatePEM)
	_ = o.Set("publicKey", publicPEM)
	return o
}

// marshalPrivate encodes a private key as PKCS #8 in PEM.
func marshalPrivate(key any) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding private key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// marshalPublic encodes a public key as SubjectPublicKeyInfo in PEM.
func marshalPublic(key any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}
