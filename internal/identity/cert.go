package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// The extensions of a certificate.
var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// Fixed extension values, DER.
var (
	caPathLen1 = []byte{0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x01} // CA:TRUE, pathlen:1
	caAny      = []byte{0x30, 0x03, 0x01, 0x01, 0xff}                   // CA:TRUE
	notCA      = []byte{0x30, 0x00}                                     // CA:FALSE
	signUsage  = []byte{0x03, 0x02, 0x02, 0x84}                         // digitalSignature, keyCertSign
)

// serialBytes is the length of a serial number before DER drops leading zeros.
const serialBytes = 16

// profile is what differs between the kinds of certificate.
type profile struct {
	subject  []byte // DER name
	public   *ecdsa.PublicKey
	issuer   []byte // DER name
	key      *ecdsa.PrivateKey
	validity Validity
	exts     []pkix.Extension
}

// issue makes the certificate of p and returns its DER.
func issue(p profile) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	// CreateCertificate writes the fields of the template that it knows before
	// the extra extensions; with all extensions extra, theirs is the order.
	template := &x509.Certificate{
		SerialNumber:       serial,
		RawSubject:         p.subject,
		NotBefore:          p.validity.NotBefore,
		NotAfter:           p.validity.NotAfter,
		SignatureAlgorithm: hashFor(p.key.Curve),
		ExtraExtensions:    p.exts,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{RawSubject: p.issuer}, p.public, p.key)
	if err != nil {
		return nil, fmt.Errorf("issuing certificate: %w", err)
	}
	return der, nil
}

// newSerial draws a serial number that is not zero.
func newSerial() (*big.Int, error) {
	var b [serialBytes]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return nil, fmt.Errorf("drawing a serial number: %w", err)
		}
		if n := new(big.Int).SetBytes(b[:]); n.Sign() > 0 {
			return n, nil
		}
	}
}

// extensions returns CCF's extensions in CCF's order. san is the content of a
// subjectAltName extension, nil for none.
func extensions(ca bool, subject, issuer *ecdsa.PublicKey, san []byte) ([]pkix.Extension, error) {
	var exts []pkix.Extension
	if ca {
		exts = append(exts,
			pkix.Extension{Id: oidBasicConstraints, Critical: true, Value: caPathLen1},
			pkix.Extension{Id: oidKeyUsage, Critical: true, Value: signUsage})
	} else {
		exts = append(exts, pkix.Extension{Id: oidBasicConstraints, Critical: true, Value: notCA})
	}
	ids, err := keyIDs(subject, issuer)
	if err != nil {
		return nil, err
	}
	exts = append(exts, ids...)
	if san != nil {
		exts = append(exts, pkix.Extension{Id: oidSubjectAltName, Value: san})
	}
	return exts, nil
}

// keyIDs returns the subject and authority key identifiers.
func keyIDs(subject, issuer *ecdsa.PublicKey) ([]pkix.Extension, error) {
	sid, err := subjectKeyID(subject)
	if err != nil {
		return nil, err
	}
	iid, err := subjectKeyID(issuer)
	if err != nil {
		return nil, err
	}
	ski, err := asn1.Marshal(sid)
	if err != nil {
		return nil, fmt.Errorf("encoding key identifier: %w", err)
	}
	aki, err := asn1.Marshal(struct {
		ID []byte `asn1:"tag:0"`
	}{iid})
	if err != nil {
		return nil, fmt.Errorf("encoding key identifier: %w", err)
	}
	return []pkix.Extension{
		{Id: oidSubjectKeyID, Value: ski},
		{Id: oidAuthorityKeyID, Value: aki},
	}, nil
}

// subjectKeyID is the SHA-1 of the public key's bit string (RFC 5280, 4.2.1.2,
// first method). It names a key and secures nothing.
func subjectKeyID(pub *ecdsa.PublicKey) ([]byte, error) {
	point, err := pub.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	d := sha1.Sum(point)
	return d[:], nil
}

// IssuedBy reports whether parent's key signed child. It looks at nothing else:
// no dates, names or extensions, since certificates of old services have few of
// them.
func IssuedBy(child, parent *x509.Certificate) error {
	if _, err := asECPublic(parent.PublicKey); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if err := parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature); err != nil {
		return fmt.Errorf("certificate %s is not signed by %s: %w", child.Subject, parent.Subject, err)
	}
	return nil
}
