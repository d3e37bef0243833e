package js

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// CCF's texts for keys of the wrong family, as far as they are known.
var (
	errNotEC  = ccfText("Cannot construct ECPublicKey_OpenSSL from non-EC key")
	errNotRSA = errors.New("not an RSA key")
	errNotOKP = errors.New("not an Ed25519 or X25519 key")
)

// parsePEM returns the first block of a PEM text.
func parsePEM(text string) (*pem.Block, error) {
	if strings.Contains(text, "-----BEGIN") {
		if block, _ := pem.Decode([]byte(text)); block != nil {
			return block, nil
		}
		return nil, errors.New("PEM data is malformed")
	}
	return nil, fmt.Errorf("PEM constructed with non-PEM data: %s", text)
}

// parsePublic reads a public key in SubjectPublicKeyInfo or PKCS #1 form.
func parsePublic(text string) (any, error) {
	block, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	if block.Type == "RSA PUBLIC KEY" {
		k, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing RSA public key: %w", err)
		}
		return k, nil
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing public key: %w", err)
	}
	return k, nil
}

// parsePrivate reads a private key in PKCS #8, SEC 1 or PKCS #1 form.
func parsePrivate(text string) (any, error) {
	block, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	var k any
	switch block.Type {
	case "EC PRIVATE KEY":
		k, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		k, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errors.New("parsing private key: malformed or of an unsupported kind") // no detail of the key
	}
	return k, nil
}

// parseCertificate reads the first certificate of a PEM text.
func parseCertificate(text string) (*x509.Certificate, error) {
	block, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing certificate: %w", err)
	}
	return cert, nil
}

// keyOf reads a key and checks its family.
func keyOf[K any](text string, parse func(string) (any, error), otherwise error) (key K, err error) {
	any, err := parse(text)
	if err != nil {
		return key, err
	}
	key, ok := any.(K)
	if !ok {
		return key, otherwise
	}
	return key, nil
}

func ecPublic(text string) (*ecdsa.PublicKey, error) {
	return keyOf[*ecdsa.PublicKey](text, parsePublic, errNotEC)
}

func ecPrivate(text string) (*ecdsa.PrivateKey, error) {
	return keyOf[*ecdsa.PrivateKey](text, parsePrivate, errNotEC)
}

func rsaPublic(text string) (*rsa.PublicKey, error) {
	return keyOf[*rsa.PublicKey](text, parsePublic, errNotRSA)
}

func rsaPrivate(text string) (*rsa.PrivateKey, error) {
	return keyOf[*rsa.PrivateKey](text, parsePrivate, errNotRSA)
}

func edPublic(text string) (ed25519.PublicKey, error) {
	return keyOf[ed25519.PublicKey](text, parsePublic, errNotOKP)
}

func edPrivate(text string) (ed25519.PrivateKey, error) {
	return keyOf[ed25519.PrivateKey](text, parsePrivate, errNotOKP)
}

// okp is a public or private key on Curve25519 in its raw form.
type okp struct {
	curve   string // "Ed25519" or "X25519"
	public  []byte
	private []byte // nil for a public key
}

func okpOf(key any) (okp, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return okp{curve: "Ed25519", public: k}, nil
	case ed25519.PrivateKey:
		return okp{curve: "Ed25519", public: k.Public().(ed25519.PublicKey), private: k.Seed()}, nil
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			return okp{curve: "X25519", public: k.Bytes()}, nil
		}
	case *ecdh.PrivateKey:
		if k.Curve() == ecdh.X25519() {
			return okp{curve: "X25519", public: k.PublicKey().Bytes(), private: k.Bytes()}, nil
		}
	}
	return okp{}, errNotOKP
}
