package js

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/dop251/goja"
)

// certID is the entity identity of a certificate: hex SHA-256 of its DER.
func certID(text string) (string, error) {
	cert, err := parseCertificate(text)
	if err != nil {
		return "", err
	}
	id := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(id[:]), nil
}

// isValidCertBundle tells whether a text is one or more certificates in PEM.
func (s *sandbox) isValidCertBundle(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	certs, err := parseBundle(c.Arguments[0].String())
	return s.vm.ToValue(err == nil && len(certs) > 0)
}

// isValidCertChain tells whether the first certificate of a bundle can be followed,
// through the others, to one of the trusted certificates.
func (s *sandbox) isValidCertChain(c goja.FunctionCall) goja.Value {
	s.arity(c, 2)
	chain, trusted := c.Arguments[0].String(), c.Arguments[1].String()
	return s.vm.ToValue(verifyChain(chain, trusted, time.Now()) == nil)
}

// parseBundle reads all certificates of a PEM text. Text between them is passed over,
// other kinds of blocks are an error.
func parseBundle(text string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block is %q, not a certificate", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate %d of the bundle: %w", len(out), err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in the bundle")
	}
	return out, nil
}

// verifyChain checks a certificate chain at the given time. A certificate that is
// itself among the trusted ones is valid, whether it is a CA or not.
func verifyChain(chainPEM, trustedPEM string, now time.Time) error {
	chain, err := parseBundle(chainPEM)
	if err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	trusted, err := parseBundle(trustedPEM)
	if err != nil {
		return fmt.Errorf("trusted certificates: %w", err)
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range trusted {
		roots.AddCert(c)
		if c.Equal(chain[0]) {
			return inValidity(c, now)
		}
	}
	for _, c := range chain[1:] {
		middle.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: middle, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("certificate chain: %w", err)
	}
	return nil
}

func inValidity(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return errors.New("certificate is outside its validity period")
	}
	return nil
}
