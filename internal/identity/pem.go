package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// The PEM block types that occur here.
const (
	blockCertificate = "CERTIFICATE"
	blockRequest     = "CERTIFICATE REQUEST"
	blockPublic      = "PUBLIC KEY"
	blockPKCS8       = "PRIVATE KEY"
	blockSEC1        = "EC PRIVATE KEY"
	blockPKCS1       = "RSA PRIVATE KEY"
	blockParameters  = "EC PARAMETERS" // OpenSSL writes it before a SEC 1 key
)

// maxPEM bounds what the parsers look at.
const maxPEM = 1 << 20

// ErrPEM means that bytes are not the PEM object that was asked for, or hold a
// key of another kind. Its text never quotes the input.
var ErrPEM = errors.New("not the expected PEM object")

// block returns the one block of data. There must be nothing but white space
// around it, and a C string's end behind it; a block of type skip before it is passed over.
func block(data []byte, skip string) (*pem.Block, error) {
	blocks, err := blocks(data, false)
	if err != nil {
		return nil, err
	}
	if skip != "" && len(blocks) > 1 && blocks[0].Type == skip {
		blocks = blocks[1:]
	}
	if len(blocks) != 1 {
		return nil, fmt.Errorf("%w: %d blocks, want one", ErrPEM, len(blocks))
	}
	return blocks[0], nil
}

// begin starts every block; it stands at the start of a line.
var begin = []byte("-----BEGIN ")

// blocks splits data into its PEM blocks. Between them there may be white space,
// and lines of other text if comments is true. A block that does not decode is
// an error, never passed over.
func blocks(data []byte, comments bool) ([]*pem.Block, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrPEM, maxPEM)
	}
	data = bytes.TrimRight(data, "\x00 \t\r\n") // older CCF's keys in ledgers end in NUL
	var out []*pem.Block
	for {
		data = bytes.TrimSpace(data)
		if comments && !bytes.HasPrefix(data, begin) {
			_, data, _ = bytes.Cut(data, []byte("\n"))
			if len(data) > 0 {
				continue
			}
		}
		if len(data) == 0 {
			return out, nil
		}
		if !bytes.HasPrefix(data, begin) {
			return nil, fmt.Errorf("%w: text outside a block", ErrPEM)
		}
		b, rest := pem.Decode(data)
		if b == nil || len(b.Headers) != 0 {
			return nil, fmt.Errorf("%w: broken or encrypted block", ErrPEM)
		}
		// Decode looks for the first block that it can read.
		if n := bytes.Count(data[:len(data)-len(rest)], begin); n != 1 {
			return nil, fmt.Errorf("%w: broken block", ErrPEM)
		}
		out = append(out, b)
		data = rest
	}
}

// ParseCertificate reads one PEM certificate. Lines of text around it, such as
// tools print, are passed over.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	all, err := ParseCertificates(data)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("certificate: %w: %d blocks, want one", ErrPEM, len(all))
	}
	return all[0], nil
}

// ParseCertificates reads a bundle of at least one PEM certificate. Lines of
// text between them, such as bundles have, are passed over.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	all, err := blocks(data, true)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("certificates: %w: empty", ErrPEM)
	}
	out := make([]*x509.Certificate, len(all))
	for i, b := range all {
		if out[i], err = certificate(b); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return out, nil
}

func certificate(b *pem.Block) (*x509.Certificate, error) {
	if b.Type != blockCertificate {
		return nil, fmt.Errorf("certificate: %w: found %s", ErrPEM, b.Type)
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

// CertificatePEM encodes a DER certificate.
func CertificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})
}

// ParseECPublicKey reads a PEM public key on P-256, P-384 or P-521. Any other
// kind of key is ErrPEM.
func ParseECPublicKey(data []byte) (*ecdsa.PublicKey, error) {
	key, err := publicKey(data)
	if err != nil {
		return nil, err
	}
	return asECPublic(key)
}

// ParseRSAPublicKey reads a PEM RSA public key. Any other kind of key is
// ErrPEM.
func ParseRSAPublicKey(data []byte) (*rsa.PublicKey, error) {
	key, err := publicKey(data)
	if err != nil {
		return nil, err
	}
	r, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key: %w: %s key, want RSA", ErrPEM, family(key))
	}
	return r, nil
}

func publicKey(data []byte) (crypto.PublicKey, error) {
	b, err := block(data, "")
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if b.Type != blockPublic {
		return nil, fmt.Errorf("public key: %w: found %s", ErrPEM, b.Type)
	}
	key, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return key, nil
}

func asECPublic(key crypto.PublicKey) (*ecdsa.PublicKey, error) {
	e, ok := key.(*ecdsa.PublicKey)
	if !ok || !supportedCurve(e.Curve) {
		return nil, fmt.Errorf("public key: %w: %s key, want P-256, P-384 or P-521", ErrPEM, family(key))
	}
	return e, nil
}

// CertificateKey returns the elliptic key of a certificate. A certificate over
// another kind of key is ErrPEM.
func CertificateKey(c *x509.Certificate) (*ecdsa.PublicKey, error) { return asECPublic(c.PublicKey) }

// PublicKeyPEM encodes a public key.
func PublicKeyPEM(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPublic, Bytes: der}), nil
}

// ParseECPrivateKey reads a PEM private key on P-256, P-384 or P-521, in PKCS #8
// or SEC 1. Any other kind of key is ErrPEM.
func ParseECPrivateKey(data []byte) (*ecdsa.PrivateKey, error) {
	key, err := privateKey(data)
	if err != nil {
		return nil, err
	}
	e, ok := key.(*ecdsa.PrivateKey)
	if !ok || !supportedCurve(e.Curve) {
		return nil, fmt.Errorf("private key: %w: %s key, want P-256, P-384 or P-521", ErrPEM, family(key))
	}
	return e, nil
}

// ParseRSAPrivateKey reads a PEM RSA private key, in PKCS #8 or PKCS #1. Any
// other kind of key is ErrPEM.
func ParseRSAPrivateKey(data []byte) (*rsa.PrivateKey, error) {
	key, err := privateKey(data)
	if err != nil {
		return nil, err
	}
	r, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key: %w: %s key, want RSA", ErrPEM, family(key))
	}
	return r, nil
}

func privateKey(data []byte) (key any, err error) {
	b, err := block(data, blockParameters)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	defer clear(b.Bytes)
	switch b.Type {
	case blockPKCS8:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case blockSEC1:
		key, err = x509.ParseECPrivateKey(b.Bytes)
	case blockPKCS1:
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	default:
		return nil, fmt.Errorf("private key: %w: found %s", ErrPEM, b.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("private key: %w: does not parse", ErrPEM)
	}
	return key, nil
}

// PrivateKeyPEM encodes an *ecdsa.PrivateKey or *rsa.PrivateKey as PKCS #8. The
// caller clears the result after use.
func PrivateKeyPEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding private key: %w", err)
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: blockPKCS8, Bytes: der}), nil
}

// family names the kind of a key for an error.
func family(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey, *rsa.PrivateKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return k.Curve.Params().Name
	case *ecdsa.PrivateKey:
		return k.Curve.Params().Name
	}
	return fmt.Sprintf("%T", key)
}
