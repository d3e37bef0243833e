package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"time"

	"chancery/ledger/merkle"
)

// An Expectation is one thing that the verifier of a receipt knows besides the
// identity of the service.
type Expectation func(*expected)

type expected struct {
	tx     *TxID
	claims *Digest
	at     *time.Time
}

// ExpectTx demands that the receipt is of transaction id (else ErrWrongTx). A
// form that does not name its transaction fails.
func ExpectTx(id TxID) Expectation { return func(e *expected) { e.tx = &id } }

// ExpectClaims demands the given claims digest (else ErrWrongClaims).
func ExpectClaims(d Digest) Expectation { return func(e *expected) { e.claims = &d } }

// ExpectValidAt demands that all certificates, the service's included, are
// valid at t (else ErrExpired). Without it validity periods are ignored: a
// receipt outlives the certificates it was made with.
func ExpectValidAt(t time.Time) Expectation { return func(e *expected) { e.at = &t } }

func expectations(want []Expectation) expected {
	var e expected
	for _, w := range want {
		w(&e)
	}
	return e
}

// Check is one step of a verification, for showing.
type Check struct {
	Name   string // what was checked, in two or three words
	Detail string // what was found; empty if the check failed
	Err    error  // nil if it holds
}

// firstError runs checks up to the first that fails, and returns its error.
func firstError(checks []func() Check) error {
	for _, run := range checks {
		if c := run(); c.Err != nil {
			return c.Err
		}
	}
	return nil
}

// runAll runs all checks.
func runAll(checks []func() Check) []Check {
	out := make([]Check, len(checks))
	for i, run := range checks {
		out[i] = run()
	}
	return out
}

// Verify reports whether r proves that its transaction is in the ledger of the
// service identified by the given certificate. It needs no network, clock or
// node. A nil error means that all of these hold:
//
//   - the expectations in want;
//   - node_id is the digest of the key in cert (ErrWrongNode);
//   - cert was issued by the service, or by an identity before it that the
//     endorsements lead back to (ErrNotEndorsed);
//   - the turns of the path fit the seqno in the commit evidence, for some
//     size of the tree (ErrWrongPath);
//   - the root that leaf and path lead to is signed by cert's key
//     (ErrBadSignature).
//
// What a certificate says of its validity is ignored, see ExpectValidAt.
func (r *Receipt) Verify(service *x509.Certificate, want ...Expectation) error {
	return firstError(r.checks(service, want))
}

// Explain runs the checks of Verify, all of them, and returns each with its
// outcome, in a fixed order.
func (r *Receipt) Explain(service *x509.Certificate, want ...Expectation) []Check {
	return runAll(r.checks(service, want))
}

func (r *Receipt) checks(service *x509.Certificate, want []Expectation) []func() Check {
	e := expectations(want)
	node, err := parsePEMCert(r.NodeCert)
	if err != nil {
		c := Check{Name: "node certificate", Err: fmt.Errorf("%w: %w", ErrMalformedReceipt, err)}
		return []func() Check{func() Check { return c }}
	}
	id, named := r.TxID()
	return []func() Check{
		func() Check { return checkTx(id, named, e.tx) },
		func() Check { return checkClaims(r.Claims, e.claims) },
		func() Check { return r.checkNodeID(node) },
		func() Check { return r.checkChain(node, service, e.at) },
		func() Check { return r.checkPath(id) },
		func() Check { return r.checkRootSignature(node) },
	}
}

func checkTx(id TxID, named bool, want *TxID) Check {
	c := Check{Name: "transaction"}
	switch {
	case want == nil && !named:
		c.Detail = "this form does not name its transaction"
	case !named:
		c.Err = fmt.Errorf("%w: want %v, the receipt names none", ErrWrongTx, *want)
	case want != nil && id != *want:
		c.Err = fmt.Errorf("%w: want %v, it is of %v", ErrWrongTx, *want, id)
	default:
		c.Detail = id.String()
	}
	return c
}

func checkClaims(claims func() (Digest, bool), want *Digest) Check {
	c := Check{Name: "claims"}
	have, ok := claims()
	switch {
	case want == nil && !ok:
		c.Detail = "this form carries none"
	case !ok:
		c.Err = fmt.Errorf("%w: want %x, it carries none", ErrWrongClaims, *want)
	case want != nil && have != *want:
		c.Err = fmt.Errorf("%w: want %x, it carries %x", ErrWrongClaims, *want, have)
	case have == Digest{}:
		c.Detail = "none set by the application"
	default:
		c.Detail = hex.EncodeToString(have[:])
	}
	return c
}

func (r *Receipt) checkNodeID(node *x509.Certificate) Check {
	c := Check{Name: "node id"}
	id := sha256.Sum256(node.RawSubjectPublicKeyInfo)
	if have := hex.EncodeToString(id[:]); have != r.NodeID {
		c.Err = fmt.Errorf("%w: node_id %s, key of the certificate %s", ErrWrongNode, r.NodeID, have)
		return c
	}
	c.Detail = r.NodeID
	return c
}

// checkChain walks from the node's certificate over the endorsements to the
// service. Where one of them is of the service's own key, the walk is at its end there: a
// receipt that a later life issued verifies under the certificate of its time, too.
func (r *Receipt) checkChain(node, service *x509.Certificate, at *time.Time) Check {
	c := Check{Name: "node certificate"}
	if service == nil {
		c.Err = fmt.Errorf("%w: no service certificate given", ErrNotEndorsed)
		return c
	}
	chain := []*x509.Certificate{node}
	for i, text := range r.Endorsements {
		cert, err := parsePEMCert(text)
		if err != nil {
			c.Err = fmt.Errorf("%w: service_endorsements[%d]: %w", ErrNotEndorsed, i, err)
			return c
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			c.Err = fmt.Errorf("%w: service_endorsements[%d] is not a certificate authority", ErrNotEndorsed, i)
			return c
		}
		chain = append(chain, cert)
	}
	reached := slices.IndexFunc(chain[1:], func(cert *x509.Certificate) bool {
		return bytes.Equal(cert.RawSubjectPublicKeyInfo, service.RawSubjectPublicKeyInfo)
	})
	if reached >= 0 {
		chain = chain[:1+reached]
	}
	chain = append(chain, service)
	for i, child := range chain[:len(chain)-1] {
		if err := issuedBy(child, chain[i+1]); err != nil {
			c.Err = fmt.Errorf("%w: %s: %w", ErrNotEndorsed, link(i, len(chain)), err)
			return c
		}
	}
	if c.Err = validAt(chain, at); c.Err != nil {
		return c
	}
	c.Detail = fmt.Sprintf("issued by the service %q", service.Subject.CommonName)
	if n := len(chain) - 2; n > 0 {
		c.Detail = fmt.Sprintf("issued by an earlier identity, which %q endorses (certificates between: %d)", service.Subject.CommonName, n)
	}
	return c
}

// link names link i of a chain of n certificates for an error.
func link(i, n int) string {
	from, to := "cert", "the service certificate"
	if i > 0 {
		from = fmt.Sprintf("service_endorsements[%d]", i-1)
	}
	if i+2 < n {
		to = fmt.Sprintf("service_endorsements[%d]", i)
	}
	return from + " is not issued by " + to
}

// issuedBy checks one certificate against the one that should have signed it.
// Unlike x509's own check it asks nothing of the parent's extensions, which
// differ between versions of CCF.
func issuedBy(child, parent *x509.Certificate) error {
	if _, err := ecdsaKey(parent); err != nil {
		return err
	}
	if !bytes.Equal(child.RawIssuer, parent.RawSubject) {
		return fmt.Errorf("issuer %q, subject %q", child.Issuer, parent.Subject)
	}
	return parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
}

func validAt(chain []*x509.Certificate, at *time.Time) error {
	if at == nil {
		return nil
	}
	for _, cert := range chain {
		if at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
			return fmt.Errorf("%w: %q is valid from %s to %s", ErrExpired, cert.Subject,
				cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))
		}
	}
	return nil
}

// checkPath compares the turns of the path with the position of the entry.
func (r *Receipt) checkPath(id TxID) Check {
	c := Check{Name: "path", Detail: fmt.Sprintf("%d steps", len(r.Path))}
	switch r.Kind {
	case ReceiptSignature:
		c.Detail = "none: the leaf is the root"
		if len(r.Path) != 0 {
			c.Detail, c.Err = "", fmt.Errorf("%w: the receipt of a signature has none", ErrWrongPath)
		}
	case ReceiptWrite:
		if !pathOfLeaf(r.Path, id.Seqno) {
			c.Detail, c.Err = "", fmt.Errorf("%w: the %d steps cannot start at %v", ErrWrongPath, len(r.Path), id)
		}
	default:
		if len(r.Path) == 0 || len(r.Path) > MaxReceiptPath {
			c.Detail, c.Err = "", fmt.Errorf("%w: %d steps", ErrWrongPath, len(r.Path))
		}
	}
	return c
}

func (r *Receipt) checkRootSignature(node *x509.Certificate) Check {
	c := Check{Name: "signature"}
	key, err := ecdsaKey(node)
	if err != nil {
		c.Err = fmt.Errorf("%w: %w", ErrBadSignature, err)
		return c
	}
	root := r.Root()
	if !ecdsa.VerifyASN1(key, root[:], r.Signature) {
		c.Err = fmt.Errorf("%w: leaf and path lead to %x, which node %s did not sign", ErrBadSignature, root, r.NodeID)
		return c
	}
	c.Detail = "root " + hex.EncodeToString(root[:])
	return c
}

// pathOfLeaf reports whether the turns of path can be those of leaf i in a
// tree of some size. Below the level at which the node above the leaf becomes
// the last of its row each turn is a bit of i; from there on only left
// siblings remain, one for each set bit.
func pathOfLeaf(path []merkle.Step, i uint64) bool {
	if len(path) == 0 || len(path) > MaxReceiptPath {
		return false
	}
	for level := 0; ; level++ {
		if allLeft(path[level:]) && len(path)-level == bits.OnesCount64(i>>level) {
			return true
		}
		if level == len(path) || path[level].Left != (i>>level&1 == 1) {
			return false
		}
	}
}

// pathInTree reports whether the turns of path are those of leaf i in a tree
// of n leaves.
func pathInTree(path []merkle.Step, i, n uint64) bool {
	if i >= n {
		return false
	}
	for last := n - 1; last > 0; i, last = i>>1, last>>1 {
		left := i&1 == 1
		if !left && i == last {
			continue // the last of its row has no sibling
		}
		if len(path) == 0 || path[0].Left != left {
			return false
		}
		path = path[1:]
	}
	return len(path) == 0
}

func allLeft(path []merkle.Step) bool {
	for _, s := range path {
		if !s.Left {
			return false
		}
	}
	return true
}

// ecdsaKey returns the key of a certificate if it is of a curve that services
// and nodes use.
func ecdsaKey(cert *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key of %q is %v, want ECDSA", cert.Subject, cert.PublicKeyAlgorithm)
	}
	if key.Curve != elliptic.P384() && key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("key of %q is on %s, want P-384 or P-256", cert.Subject, key.Curve.Params().Name)
	}
	return key, nil
}

// parsePEMCert reads one certificate that is spelled as an encoder would:
// nothing around the block, lines of 64 characters, DER without remainder.
func parsePEMCert(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || len(rest) > 0 {
		return nil, errors.New("not one PEM certificate")
	}
	if string(pem.EncodeToMemory(block)) != text {
		return nil, errors.New("PEM not in its usual form")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return cert, nil
}

// checkECDSASignature demands DER: two positive integers and nothing else.
func checkECDSASignature(sig []byte) error {
	var v struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(sig, &v)
	if err != nil {
		return err
	}
	if len(rest) > 0 || v.R.Sign() <= 0 || v.S.Sign() <= 0 {
		return errors.New("not a DER ECDSA signature")
	}
	again, err := asn1.Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, sig) {
		return errors.New("not a DER ECDSA signature")
	}
	return nil
}

// sha256Sum hashes the parts one after the other.
func sha256Sum(parts ...[]byte) (d Digest) {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(d[:0])
	return d
}
