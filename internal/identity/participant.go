package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509/pkix"
	"fmt"
	"time"
)

// participantDays is the validity of a member's or user's certificate when the
// caller names none: the key generator's.
const participantDays = 365

// Participant is a member or a user: an identity that signs requests, and for a
// member that takes part in recovery an encryption key.
type Participant struct {
	Key        *ecdsa.PrivateKey
	Cert       []byte          // PEM, self-signed
	ID         string          // CertID of Cert
	Encryption *rsa.PrivateKey // nil if not asked for
}

// NewParticipant makes the keys and the certificate of a member or user, with
// subject CN=name, valid from a moment on for so many days (0: 365).
func NewParticipant(name string, curve elliptic.Curve, from time.Time, days int, encryption bool) (*Participant, error) {
	if days == 0 {
		days = participantDays
	}
	v, err := ValidFor(from, days)
	if err != nil {
		return nil, fmt.Errorf("participant %s: %w", name, err)
	}
	key, err := GenerateKey(curve)
	if err != nil {
		return nil, fmt.Errorf("participant %s: %w", name, err)
	}
	der, err := participantCert(key, name, v)
	if err != nil {
		return nil, fmt.Errorf("participant %s: %w", name, err)
	}
	p := &Participant{Key: key, Cert: CertificatePEM(der), ID: CertID(der)}
	if encryption {
		if p.Encryption, err = GenerateEncryptionKey(); err != nil {
			return nil, fmt.Errorf("participant %s: %w", name, err)
		}
	}
	return p, nil
}

// participantCert is the certificate that OpenSSL's defaults make: SKI, AKI,
// then basicConstraints CA:TRUE.
func participantCert(key *ecdsa.PrivateKey, name string, v Validity) ([]byte, error) {
	subject, err := ParseSubject("CN=" + name)
	if err != nil {
		return nil, err
	}
	exts, err := keyIDs(&key.PublicKey, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	exts = append(exts, pkix.Extension{Id: oidBasicConstraints, Critical: true, Value: caAny})
	return issue(profile{subject, &key.PublicKey, subject, key, v, exts})
}
