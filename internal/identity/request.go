package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
)

// Request is what a signing request asks for, after its own signature verified.
type Request struct {
	Key     *ecdsa.PublicKey
	subject []byte // DER name
	san     []byte // content of subjectAltName, nil if not asked for
}

// NewRequest returns a signing request in PEM for key, with a DER subject
// (ParseSubject) and names.
func NewRequest(key *ecdsa.PrivateKey, subject []byte, names []AltName) ([]byte, error) {
	template := &x509.CertificateRequest{
		RawSubject:         subject,
		SignatureAlgorithm: x509.ECDSAWithSHA512,
	}
	san, err := sanOf(names)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if san != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: san}}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockRequest, Bytes: der}), nil
}

// ParseRequest reads a PEM signing request and verifies its signature. The key
// must be on P-256, P-384 or P-521.
func ParseRequest(csr []byte) (*Request, error) {
	b, err := block(csr, "")
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if b.Type != blockRequest {
		return nil, fmt.Errorf("signing request: %w: found %s", ErrPEM, b.Type)
	}
	req, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	key, err := asECPublic(req.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	out := &Request{Key: key, subject: req.RawSubject}
	for _, e := range req.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			out.san = e.Value
		}
	}
	return out, nil
}
