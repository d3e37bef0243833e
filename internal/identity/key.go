package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
)

// encryptionKeyBits is the size of the keys that receive wrapped secrets.
const encryptionKeyBits = 2048

// GenerateKey makes an elliptic key on curve: elliptic.P256, P384 or P521.
func GenerateKey(curve elliptic.Curve) (*ecdsa.PrivateKey, error) {
	if !supportedCurve(curve) {
		return nil, fmt.Errorf("generating key: curve %s is not supported", curve.Params().Name)
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating key: %w", err)
	}
	return key, nil
}

// GenerateEncryptionKey makes an RSA-2048 key with e = 65537.
func GenerateEncryptionKey() (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, encryptionKeyBits)
	if err != nil {
		return nil, fmt.Errorf("generating encryption key: %w", err)
	}
	return key, nil
}

// CurveByName returns the curve of a configuration file's curve_id: Secp384r1
// or Secp256r1 (CCF also writes Secp256R1), or of the key generator's secp384r1,
// secp256r1 and secp521r1.
func CurveByName(name string) (elliptic.Curve, error) {
	switch name {
	case "Secp384R1", "Secp384r1", "secp384r1":
		return elliptic.P384(), nil
	case "Secp256R1", "Secp256r1", "secp256r1":
		return elliptic.P256(), nil
	case "Secp521R1", "Secp521r1", "secp521r1":
		return elliptic.P521(), nil
	}
	return nil, fmt.Errorf("curve %q is not one of Secp384R1, Secp256R1", name)
}

func supportedCurve(c elliptic.Curve) bool {
	return c == elliptic.P256() || c == elliptic.P384() || c == elliptic.P521()
}

// hashFor returns the signature hash that belongs to a curve.
func hashFor(c elliptic.Curve) x509.SignatureAlgorithm {
	switch c {
	case elliptic.P256():
		return x509.ECDSAWithSHA256
	case elliptic.P521():
		return x509.ECDSAWithSHA512
	}
	return x509.ECDSAWithSHA384
}

// KeyID returns the hex SHA-256 of a public key's DER SubjectPublicKeyInfo: a
// node's id, and the kid of the service in a ledger signature.
func KeyID(pub crypto.PublicKey) (string, error) {
	d, err := KeyDigest(pub)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(d[:]), nil
}

// KeyDigest is KeyID before hex: the report data of a node's attestation.
func KeyDigest(pub crypto.PublicKey) ([32]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return [32]byte{}, fmt.Errorf("encoding public key: %w", err)
	}
	return sha256.Sum256(der), nil
}

// CertID returns the hex SHA-256 of a certificate's DER: the id of a member or
// a user.
func CertID(der []byte) string {
	d := sha256.Sum256(der)
	return hex.EncodeToString(d[:])
}
