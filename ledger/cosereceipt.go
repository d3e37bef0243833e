package ledger

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"chancery/internal/cose"
	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// Labels of the COSE receipt profile (draft-ietf-scitt-receipts-ccf-profile),
// beside those of a ledger signature.
const (
	labelVDP     = 396 // proofs of the verifiable data structure
	vdpInclusion = -1  // inclusion proofs

	proofLeaf = 1
	proofPath = 2

	maxCOSEProofs = 16
)

// InclusionProof is one proof in a COSE receipt: what the leaf is made of, and
// the path from it to the root. It always carries claims.
type InclusionProof struct {
	Leaf Leaf
	Path []merkle.Step
}

// Root returns the root that the proof leads to.
func (p InclusionProof) Root() Digest { return merkle.Climb(p.Leaf.Digest(), p.Path) }

// COSEReceipt proves offline that one transaction is in the ledger of a
// service: the service's COSE signature over a root, with inclusion proofs in
// its unprotected header. It is what `/receipt/cose` serves and what snapshots
// end with.
type COSEReceipt struct {
	Proofs   []InclusionProof // at least one
	SignedAt TxID             // the signature transaction; its tree has that many leaves
	KeyID    string           // lower-case hex SHA-256 of the service key's SPKI
	Issuer   string           // CWT iss, may be empty
	Subject  string           // CWT sub, may be empty
	IssuedAt int64            // CWT iat, seconds since the epoch

	message *cose.Sign1
}

// BuildCOSEReceipt puts the inclusion proof of a leaf into the COSE signature
// of the ledger that covers it. The signature's own bytes are kept as they are.
// It fails if the path does not belong to the leaf's position, but does not
// check the signature.
func BuildCOSEReceipt(signature []byte, leaf Leaf, path []merkle.Step) ([]byte, error) {
	s, err := cose.Parse(signature)
	if err != nil {
		return nil, fmt.Errorf("building COSE receipt: %w", err)
	}
	proof := InclusionProof{Leaf: leaf, Path: path}
	encoded, err := proof.encode()
	if err != nil {
		return nil, fmt.Errorf("building COSE receipt: %w", err)
	}
	s.Unprotected, err = proofHeader([][]byte{encoded})
	if err != nil {
		return nil, fmt.Errorf("building COSE receipt: %w", err)
	}
	out := s.Encode()
	r, err := ParseCOSEReceipt(out)
	if err != nil {
		return nil, fmt.Errorf("building COSE receipt: %w", err)
	}
	if c := r.checkPath(r.Proofs[0]); c.Err != nil {
		return nil, fmt.Errorf("building COSE receipt: %w", c.Err)
	}
	return out, nil
}

// proofHeader encodes the unprotected header that holds encoded proofs.
func proofHeader(proofs [][]byte) ([]byte, error) {
	list := make(cose.Array, len(proofs))
	for i, p := range proofs {
		list[i] = p
	}
	return cose.EncodeMap(cose.Pair{Key: labelVDP, Value: cose.Map{{Key: vdpInclusion, Value: list}}})
}

// encode returns the CBOR map of the proof.
func (p InclusionProof) encode() ([]byte, error) {
	if p.Leaf.Claims == nil {
		return nil, errors.New("a COSE receipt has a claims digest")
	}
	path := make(cose.Array, len(p.Path))
	for i, s := range p.Path {
		path[i] = cose.Array{s.Left, s.Hash[:]}
	}
	return cose.EncodeMap(
		cose.Pair{Key: proofLeaf, Value: cose.Array{p.Leaf.WriteSet[:], p.Leaf.Evidence, p.Leaf.Claims[:]}},
		cose.Pair{Key: proofPath, Value: path},
	)
}

// ParseCOSEReceipt reads a COSE receipt. Like ParseReceipt it accepts one
// encoding only, CCF's: the unprotected header holds nothing but the proofs,
// every head is the shortest, maps are in the order in which CCF writes them
// (the protected header, which is signed, may have any). A critical header is
// refused, since none is known.
//
// Errors wrap ErrMalformedReceipt. A parsed receipt proves nothing yet: call
// Verify.
func ParseCOSEReceipt(data []byte) (*COSEReceipt, error) {
	r, err := parseCOSEReceipt(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedReceipt, err)
	}
	return r, nil
}

func parseCOSEReceipt(data []byte) (*COSEReceipt, error) {
	if len(data) > MaxReceiptSize {
		return nil, fmt.Errorf("%d bytes, at most %d allowed", len(data), MaxReceiptSize)
	}
	s, err := cose.Parse(data)
	if err != nil {
		return nil, err
	}
	if s.Payload != nil {
		return nil, errors.New("payload is attached")
	}
	r := &COSEReceipt{message: s}
	if err := r.protected(); err != nil {
		return nil, fmt.Errorf("protected header: %w", err)
	}
	if err := r.proofs(); err != nil {
		return nil, err
	}
	if !bytes.Equal(s.Encode(), data) {
		return nil, errors.New("not in canonical form")
	}
	return r, nil
}

// protected reads the parameters that the service signed.
func (r *COSEReceipt) protected() error {
	m, err := cose.DecodeMap(r.message.Protected)
	if err != nil {
		return err
	}
	if r.message.Header.Crit {
		return errors.New("critical parameters, of which none is known")
	}
	if vds, ok := m.Get(labelVDS); !ok || vds != int64(vdsCCF) {
		return fmt.Errorf("vds (395) is %v, want %d", vds, vdsCCF)
	}
	kid := r.message.Header.KID
	if _, err := parseHexDigest(kid); err != nil {
		return fmt.Errorf("kid: %w", err)
	}
	r.KeyID = kid
	cwt, err := memberMap(m, labelClaims)
	if err != nil {
		return err
	}
	if r.IssuedAt, err = member[int64](cwt, claimIssuedAt); err != nil {
		return err
	}
	if r.Issuer, err = member[string](cwt, claimIssuer); err != nil {
		return err
	}
	if r.Subject, err = member[string](cwt, claimSubject); err != nil {
		return err
	}
	ledger, err := memberMap(m, labelCCF)
	if err != nil {
		return err
	}
	text, err := member[string](ledger, "txid")
	if err != nil {
		return err
	}
	r.SignedAt, err = writeset.ParseTxID(text)
	return err
}

// proofs reads the unprotected header and checks that it is spelled as
// proofHeader spells it.
func (r *COSEReceipt) proofs() error {
	m, err := cose.DecodeMap(r.message.Unprotected)
	if err != nil {
		return fmt.Errorf("unprotected header: %w", err)
	}
	vdp, err := memberMap(m, labelVDP)
	if err != nil {
		return fmt.Errorf("unprotected header: %w", err)
	}
	list, err := member[cose.Array](vdp, vdpInclusion)
	if err != nil {
		return fmt.Errorf("proofs: %w", err)
	}
	if len(list) == 0 || len(list) > maxCOSEProofs {
		return fmt.Errorf("%d inclusion proofs, want 1 to %d", len(list), maxCOSEProofs)
	}
	encoded := make([][]byte, len(list))
	for i, v := range list {
		b, ok := v.([]byte)
		if !ok {
			return fmt.Errorf("proof %d is no byte string", i)
		}
		p, err := parseInclusionProof(b)
		if err != nil {
			return fmt.Errorf("proof %d: %w", i, err)
		}
		r.Proofs = append(r.Proofs, p)
		encoded[i] = b
	}
	again, err := proofHeader(encoded)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, r.message.Unprotected) {
		return errors.New("unprotected header is not in canonical form")
	}
	return nil
}

func parseInclusionProof(b []byte) (p InclusionProof, err error) {
	m, err := cose.DecodeMap(b)
	if err != nil {
		return p, err
	}
	leaf, err := member[cose.Array](m, proofLeaf)
	if err != nil {
		return p, err
	}
	if p.Leaf, err = parseLeaf(leaf); err != nil {
		return p, err
	}
	path, err := member[cose.Array](m, proofPath)
	if err != nil {
		return p, err
	}
	if len(path) == 0 || len(path) > MaxReceiptPath {
		return p, fmt.Errorf("path of %d steps, want 1 to %d", len(path), MaxReceiptPath)
	}
	for i, v := range path {
		step, err := parseStep(v)
		if err != nil {
			return p, fmt.Errorf("path step %d: %w", i, err)
		}
		p.Path = append(p.Path, step)
	}
	again, err := p.encode()
	if err != nil {
		return p, err
	}
	if !bytes.Equal(again, b) {
		return p, errors.New("not in canonical form")
	}
	return p, nil
}

func parseLeaf(v cose.Array) (l Leaf, err error) {
	if len(v) != 3 {
		return l, fmt.Errorf("leaf of %d parts, want 3", len(v))
	}
	if l.WriteSet, err = digestOf(v[0]); err != nil {
		return l, fmt.Errorf("write set digest: %w", err)
	}
	evidence, ok := v[1].(string)
	if !ok {
		return l, errors.New("commit evidence is no text")
	}
	if _, err := parseEvidence(evidence); err != nil {
		return l, err
	}
	l.Evidence = evidence
	claims, err := digestOf(v[2])
	if err != nil {
		return l, fmt.Errorf("claims digest: %w", err)
	}
	l.Claims = &claims
	return l, nil
}

func parseStep(v any) (merkle.Step, error) {
	pair, ok := v.(cose.Array)
	if !ok || len(pair) != 2 {
		return merkle.Step{}, errors.New("not an array of two")
	}
	left, ok := pair[0].(bool)
	if !ok {
		return merkle.Step{}, errors.New("side is no boolean")
	}
	h, err := digestOf(pair[1])
	return merkle.Step{Left: left, Hash: h}, err
}

func digestOf(v any) (Digest, error) {
	b, ok := v.([]byte)
	if !ok || len(b) != sha256.Size {
		return Digest{}, errors.New("not a byte string of 32 bytes")
	}
	return Digest(b), nil
}

// member returns the value under key, which must be there and a T.
func member[T any](m cose.Map, key any) (out T, err error) {
	v, ok := m.Get(key)
	if !ok {
		return out, fmt.Errorf("no member %v", key)
	}
	out, ok = v.(T)
	if !ok {
		return out, fmt.Errorf("member %v has the wrong type", key)
	}
	return out, nil
}

func memberMap(m cose.Map, key any) (cose.Map, error) { return member[cose.Map](m, key) }

// TxID returns the transaction that the receipt is of: the one its first proof
// names.
func (r *COSEReceipt) TxID() TxID {
	id, err := r.Proofs[0].Leaf.TxID()
	if err != nil {
		return TxID{} // cannot be: parsing checked it
	}
	return id
}

// Claims returns the claims digest of the first proof, 32 zero bytes if the
// application set none.
func (r *COSEReceipt) Claims() Digest { return *r.Proofs[0].Leaf.Claims }

// VerifyCOSEReceipt parses and verifies a COSE receipt under the service's
// certificate, of which only the key counts.
func VerifyCOSEReceipt(data []byte, service *x509.Certificate, want ...Expectation) (*COSEReceipt, error) {
	r, err := ParseCOSEReceipt(data)
	if err != nil {
		return nil, err
	}
	if service == nil {
		return nil, fmt.Errorf("%w: no service certificate given", ErrWrongService)
	}
	if err := r.Verify(service.PublicKey, want...); err != nil {
		return nil, err
	}
	return r, nil
}

// Verify reports whether r proves that its transaction is in the ledger of the
// service with the given key. A nil error means that all of these hold:
//
//   - the key id in the receipt is the key's (ErrWrongService);
//   - the expectations in want, by every proof; ExpectValidAt says nothing
//     here, since there is no certificate in a COSE receipt;
//   - the turns of every path are those of its transaction in the tree that
//     was signed (ErrWrongPath);
//   - the service signed the root that every proof leads to (ErrBadSignature).
//
// A receipt of an earlier identity verifies under that identity's key, which
// EndorsedKey finds.
func (r *COSEReceipt) Verify(service crypto.PublicKey, want ...Expectation) error {
	return firstError(r.checks(service, want))
}

// Explain runs the checks of Verify, all of them, and returns each with its
// outcome, in a fixed order.
func (r *COSEReceipt) Explain(service crypto.PublicKey, want ...Expectation) []Check {
	return runAll(r.checks(service, want))
}

func (r *COSEReceipt) checks(service crypto.PublicKey, want []Expectation) []func() Check {
	e := expectations(want)
	checks := []func() Check{func() Check { return r.checkKeyID(service) }}
	for _, p := range r.Proofs {
		id, err := p.Leaf.TxID()
		claims := func() (Digest, bool) { return *p.Leaf.Claims, true }
		checks = append(checks,
			func() Check { return checkTx(id, err == nil, e.tx) },
			func() Check { return checkClaims(claims, e.claims) })
	}
	for _, p := range r.Proofs {
		checks = append(checks, func() Check { return r.checkPath(p) })
	}
	for _, p := range r.Proofs {
		checks = append(checks, func() Check { return r.checkSignature(service, p.Root()) })
	}
	return checks
}

func (r *COSEReceipt) checkKeyID(service crypto.PublicKey) Check {
	c := Check{Name: "service key"}
	have, err := keyID(service)
	switch {
	case err != nil:
		c.Err = fmt.Errorf("%w: %w", ErrWrongService, err)
	case have != r.KeyID:
		c.Err = fmt.Errorf("%w: it names key %s, the service's is %s", ErrWrongService, r.KeyID, have)
	default:
		c.Detail = have
	}
	return c
}

func (r *COSEReceipt) checkPath(p InclusionProof) Check {
	c := Check{Name: "path", Detail: fmt.Sprintf("%d steps to the root at %v", len(p.Path), r.SignedAt)}
	id, err := p.Leaf.TxID()
	if err != nil || !pathInTree(p.Path, id.Seqno, r.SignedAt.Seqno) {
		c.Detail, c.Err = "", fmt.Errorf("%w: %d steps from %v to the root at %v", ErrWrongPath, len(p.Path), id, r.SignedAt)
	}
	return c
}

func (r *COSEReceipt) checkSignature(service crypto.PublicKey, root Digest) Check {
	c := Check{Name: "signature", Detail: "root " + hex.EncodeToString(root[:])}
	if err := r.message.VerifyDetached(service, root[:]); err != nil {
		c.Detail, c.Err = "", fmt.Errorf("%w: leaf and path lead to %x: %w", ErrBadSignature, root, err)
	}
	return c
}
