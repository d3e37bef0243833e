package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
)

// SelfSignedService returns the service's certificate in PEM: self-signed, CA,
// no alternative names. The subject is the DER of ParseSubject, or on recovery
// the RawSubject of the previous certificate.
func SelfSignedService(key *ecdsa.PrivateKey, subject []byte, v Validity) ([]byte, error) {
	return selfSigned(key, subject, nil, v)
}

// SelfSignedNode returns a node's self-signed certificate in PEM: CA, with the
// node's names.
func SelfSignedNode(key *ecdsa.PrivateKey, subject []byte, names []AltName, v Validity) ([]byte, error) {
	return selfSigned(key, subject, names, v)
}

func selfSigned(key *ecdsa.PrivateKey, subject []byte, names []AltName, v Validity) ([]byte, error) {
	san, err := sanOf(names)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	exts, err := extensions(true, &key.PublicKey, &key.PublicKey, san)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	der, err := issue(profile{subject, &key.PublicKey, subject, key, v, exts})
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	return CertificatePEM(der), nil
}

// sanOf encodes alternative names, or returns nil for none.
func sanOf(names []AltName) ([]byte, error) {
	if len(names) == 0 {
		return nil, nil
	}
	return altNames(names)
}

// EndorseNode returns the certificate, in PEM, that the service issues for a
// node's signing request: no CA, with the subject and the names of the request.
// The request (PEM) must be signed by its own key, on P-256, P-384 or P-521.
func EndorseNode(csr []byte, key *ecdsa.PrivateKey, service *x509.Certificate, v Validity) ([]byte, error) {
	req, err := ParseRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("endorsing node: %w", err)
	}
	exts, err := extensions(false, req.Key, &key.PublicKey, req.san)
	if err != nil {
		return nil, fmt.Errorf("endorsing node: %w", err)
	}
	der, err := issue(profile{req.subject, req.Key, service.RawSubject, key, v, exts})
	if err != nil {
		return nil, fmt.Errorf("endorsing node: %w", err)
	}
	return CertificatePEM(der), nil
}

// EndorseService returns a certificate, in PEM, by which the current service
// vouches for the key of a previous one, signed by the current key, CA, with the
// current certificate's subject, which a recovery keeps, and validity. It is the
// service_endorsements entry of a JSON receipt.
func EndorseService(previous *ecdsa.PublicKey, key *ecdsa.PrivateKey, current *x509.Certificate) ([]byte, error) {
	exts, err := extensions(true, previous, &key.PublicKey, nil)
	if err != nil {
		return nil, fmt.Errorf("endorsing service: %w", err)
	}
	v := Validity{current.NotBefore, current.NotAfter}
	der, err := issue(profile{current.RawSubject, previous, current.RawSubject, key, v, exts})
	if err != nil {
		return nil, fmt.Errorf("endorsing service: %w", err)
	}
	return CertificatePEM(der), nil
}
