package snp

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"time"

	"chancery/attest"
)

// maxEndorsements bounds a chain in bytes; AMD's are below 8 KiB.
const maxEndorsements = 64 << 10

// Roots are the SHA-256 digests, in hex, of the public keys (SubjectPublicKeyInfo, DER)
// that may stand at the root of each line's chains.
type Roots map[attest.Product]string

// AMD are AMD's roots: of the ARK certificates at kdsintf.amd.com/vcek/v1/LINE/cert_chain.
var AMD = Roots{
	attest.Milan: "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
	attest.Genoa: "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
	attest.Turin: "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
}

// KeyDigest returns a certificate's entry in Roots.
func KeyDigest(c *x509.Certificate) string {
	d := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(d[:])
}

// chain is the endorsement of a report.
type chain struct{ vcek, ask, ark *x509.Certificate }

// parseChain reads the certificates, without trusting them.
func parseChain(text []byte) (*chain, error) {
	if len(text) > maxEndorsements {
		return nil, fmt.Errorf("%w: %d bytes", ErrEndorsements, len(text))
	}
	var certs []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(bytes.TrimSpace(bytes.Trim(rest, "\x00"))) > 0 {
				return nil, fmt.Errorf("%w: there is something else than PEM", ErrEndorsements)
			}
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("%w: number %d is no certificate: %w", ErrEndorsements, len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) != 3 {
		return nil, fmt.Errorf("%w: there are %d", ErrEndorsements, len(certs))
	}
	return &chain{vcek: certs[0], ask: certs[1], ark: certs[2]}, nil
}

// rooted checks that the chain ends in the root of the processor's line.
func (c *chain) rooted(p attest.Product, roots Roots) error {
	if got := KeyDigest(c.ark); got != roots[p] {
		return fmt.Errorf("%w: key %s at the root, want %s (%s)", ErrRoot, got, roots[p], p)
	}
	return nil
}

// signed checks the signatures of the chain.
func (c *chain) signed() error {
	for _, link := range []struct {
		what          string
		child, parent *x509.Certificate
	}{{"ARK", c.ark, c.ark}, {"ASK", c.ask, c.ark}, {"VCEK", c.vcek, c.ask}} {
		if !bytes.Equal(link.child.RawIssuer, link.parent.RawSubject) {
			return fmt.Errorf("%w: the %s names another issuer", ErrChain, link.what)
		}
		if err := link.child.CheckSignatureFrom(link.parent); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrChain, link.what, err)
		}
	}
	return nil
}

// valid checks the times of the chain.
func (c *chain) valid(now time.Time) error {
	for _, m := range []struct {
		what string
		cert *x509.Certificate
	}{{"ARK", c.ark}, {"ASK", c.ask}, {"VCEK", c.vcek}} {
		if now.Before(m.cert.NotBefore) || now.After(m.cert.NotAfter) {
			return fmt.Errorf("%w: %s is valid from %s to %s, and it is %s", ErrValidity, m.what,
				m.cert.NotBefore.UTC().Format(time.RFC3339), m.cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// until is when the first certificate of the chain ends.
func (c *chain) until() time.Time {
	end := c.vcek.NotAfter
	for _, other := range []time.Time{c.ask.NotAfter, c.ark.NotAfter} {
		if other.Before(end) {
			end = other
		}
	}
	return end.UTC()
}
