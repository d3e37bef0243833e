package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// Limits of a receipt. A path of 64 steps belongs to a ledger of 2^64 entries;
// one endorsement certificate suffices however often a service was recovered.
const (
	MaxReceiptSize         = 64 << 10 // bytes, either form
	MaxReceiptPath         = 64       // steps from leaf to root
	MaxReceiptEndorsements = 16       // service_endorsements
)

// One sentinel for each link of the proof that a receipt is. Verify wraps
// exactly one of them with the details; ParseReceipt and ParseCOSEReceipt wrap
// ErrMalformedReceipt only.
var (
	// ErrMalformedReceipt: the bytes are not a receipt in its one canonical
	// encoding.
	ErrMalformedReceipt = errors.New("malformed receipt")
	// ErrWrongTx: the receipt is of another transaction than the one asked for.
	ErrWrongTx = errors.New("receipt is of another transaction")
	// ErrWrongClaims: the transaction carries other claims than those expected.
	ErrWrongClaims = errors.New("receipt carries other claims")
	// ErrWrongPath: the turns of the path are not those of the transaction's
	// position in the ledger.
	ErrWrongPath = errors.New("path does not belong to the transaction's position")
	// ErrWrongNode: node_id is not the digest of the certificate's key.
	ErrWrongNode = errors.New("node id does not match the node's certificate")
	// ErrNotEndorsed: the node's certificate does not lead to the service.
	ErrNotEndorsed = errors.New("node certificate is not endorsed by the service")
	// ErrExpired: a certificate was not valid at the time asked about.
	ErrExpired = errors.New("certificate not valid at the given time")
	// ErrBadSignature: the root that leaf and path lead to is not signed.
	ErrBadSignature = errors.New("root is not signed")
	// ErrWrongService: a COSE receipt names another service key.
	ErrWrongService = errors.New("receipt is signed by another service")
)

// ReceiptKind tells the three JSON forms apart.
type ReceiptKind uint8

// The JSON forms of a receipt.
const (
	// ReceiptWrite proves an ordinary transaction: leaf_components and a path.
	ReceiptWrite ReceiptKind = iota
	// ReceiptSignature proves a signature transaction: leaf is the signed root
	// itself and the path is empty.
	ReceiptSignature
	// ReceiptBare proves an entry of a 1.x ledger, which has neither commit
	// evidence nor claims: leaf is the entry's digest. It names no TxID.
	ReceiptBare
)

// String returns the kind in words.
func (k ReceiptKind) String() string {
	switch k {
	case ReceiptWrite:
		return "write"
	case ReceiptSignature:
		return "signature"
	case ReceiptBare:
		return "1.x write"
	}
	return fmt.Sprintf("ReceiptKind(%d)", uint8(k))
}

// Leaf holds what a leaf of the ledger's tree is the digest of.
type Leaf struct {
	WriteSet Digest  // SHA-256 of the entry as stored
	Evidence string  // commit evidence, "ce:<view>.<seqno>:<64 hex digits>"
	Claims   *Digest // nil only for entries older than claims (type 3)
}

// Digest returns the leaf hash: SHA-256 over the write-set digest, the digest
// of the evidence and, if present, the claims digest.
func (l Leaf) Digest() Digest {
	evidence := sha256Sum([]byte(l.Evidence))
	if l.Claims == nil {
		return sha256Sum(l.WriteSet[:], evidence[:])
	}
	return sha256Sum(l.WriteSet[:], evidence[:], l.Claims[:])
}

// TxID returns the transaction that the evidence names.
func (l Leaf) TxID() (TxID, error) { return parseEvidence(l.Evidence) }

// Receipt proves offline that one transaction is in the ledger of a service.
// Its JSON form is CCF's receipt, as `/receipt` serves it and as snapshots of
// version 6 and older end with.
type Receipt struct {
	Kind      ReceiptKind
	Leaf      Leaf          // ReceiptWrite
	Bare      Digest        // ReceiptSignature: the signed root; ReceiptBare: the leaf
	Path      []merkle.Step // from the leaf to the root; empty for ReceiptSignature
	NodeID    string        // lower-case hex SHA-256 of the node's SPKI
	NodeCert  string        // PEM, endorsed by the service
	Signature []byte        // ASN.1 DER ECDSA over the root, used as the digest
	// Endorsements leads from the identity that endorsed NodeCert to the
	// present one: PEM certificates, each signed by the key of the next, the
	// last by the trusted service. Nil where the service was never recovered;
	// empty and not nil is kept as an empty array.
	Endorsements []string

	// kindStated is set for the form that says is_signature_transaction.
	kindStated bool
}

// BuildReceipt makes the receipt of entry e, whose path leads to the root that
// sig holds. evidence is the commit evidence of e in clear ("" for an entry
// without). For a signature transaction pass its own signature and no path.
// A signature that only the service made (COSE) yields no JSON receipt.
func BuildReceipt(e *Entry, evidence string, path []merkle.Step, sig *Signature, nodeCert string) (*Receipt, error) {
	if len(sig.Sig) == 0 {
		return nil, errors.New("building receipt: no node signature covers the transaction")
	}
	r := &Receipt{Path: path, NodeID: sig.NodeID, NodeCert: nodeCert, Signature: sig.Sig}
	switch {
	case len(path) == 0:
		r.Kind, r.Bare = ReceiptSignature, sig.Root
		return r, nil
	case evidence == "":
		r.Kind, r.Bare = ReceiptBare, e.Leaf()
	default:
		id, err := parseEvidence(evidence)
		if err != nil {
			return nil, fmt.Errorf("building receipt: %w", err)
		}
		if id != e.ID {
			return nil, fmt.Errorf("building receipt of %v: evidence names %v", e.ID, id)
		}
		r.Leaf = Leaf{WriteSet: e.WriteSetDigest(), Evidence: evidence}
		if e.Type.hasClaims() {
			claims := e.Claims
			r.Leaf.Claims = &claims
		}
	}
	if got := merkle.Climb(r.LeafDigest(), path); got != sig.Root {
		return nil, fmt.Errorf("building receipt of %v: path leads to %x, signed root is %x", e.ID, got, sig.Root)
	}
	return r, nil
}

// LeafDigest returns the hash that the path starts from.
func (r *Receipt) LeafDigest() Digest {
	if r.Kind == ReceiptWrite {
		return r.Leaf.Digest()
	}
	return r.Bare
}

// Root returns the root that leaf and path lead to. Verify tells whether it is
// signed.
func (r *Receipt) Root() Digest { return merkle.Climb(r.LeafDigest(), r.Path) }

// TxID returns the transaction that the receipt is of; ok is false for the two
// forms that do not name one.
func (r *Receipt) TxID() (id TxID, ok bool) {
	if r.Kind != ReceiptWrite {
		return TxID{}, false
	}
	id, err := r.Leaf.TxID()
	return id, err == nil
}

// Claims returns the claims digest that the receipt proves: 32 zero bytes if
// the application set none, ok false if the form has no claims.
func (r *Receipt) Claims() (d Digest, ok bool) {
	if r.Kind != ReceiptWrite || r.Leaf.Claims == nil {
		return Digest{}, false
	}
	return *r.Leaf.Claims, true
}

// parseEvidence checks the form of a commit evidence string and returns the
// transaction it names.
func parseEvidence(s string) (TxID, error) {
	rest, ok := strings.CutPrefix(s, "ce:")
	if !ok {
		return TxID{}, errors.New(`commit evidence does not begin with "ce:"`)
	}
	text, nonce, ok := strings.Cut(rest, ":")
	if !ok {
		return TxID{}, errors.New("commit evidence has no nonce")
	}
	id, err := writeset.ParseTxID(text)
	if err != nil {
		return TxID{}, fmt.Errorf("commit evidence: %w", err)
	}
	if id.String() != text {
		return TxID{}, fmt.Errorf("commit evidence: %q is not how a transaction id is written", text)
	}
	if _, err := parseHexDigest(nonce); err != nil {
		return TxID{}, fmt.Errorf("commit evidence nonce: %w", err)
	}
	return id, nil
}

// parseHexDigest reads 64 lower-case hex digits.
func parseHexDigest(s string) (d Digest, err error) {
	if len(s) != hex.EncodedLen(len(d)) {
		return Digest{}, fmt.Errorf("%d characters, want 64 hex digits", len(s))
	}
	if strings.ToLower(s) != s {
		return Digest{}, errors.New("hex digits must be lower case")
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, err
	}
	return d, nil
}
