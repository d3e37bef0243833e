package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"chancery/internal/cose"
	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// The maps of a signature transaction. Each has the one key of 8 zero bytes.
const (
	SignaturesMap     = "public:ccf.internal.signatures"
	COSESignaturesMap = "public:ccf.internal.cose_signatures"
	TreeMap           = "public:ccf.internal.tree"
)

// singleKey is the key of a map that holds one value.
var singleKey = make([]byte, 8)

// ErrSignatureShape is returned for a transaction that touches a signature map and
// is not exactly what a signature transaction may be.
var ErrSignatureShape = errors.New("malformed signature transaction")

// Signature is what a signature transaction at seqno s holds: the root over the
// leaves 0 … s-1, signed by the node, by the service, or by both.
type Signature struct {
	ID   TxID
	Root Digest // as the node signature states it; else as the tree table gives it

	// The node's signature: ASN.1 DER ECDSA over Root as the digest. NodeID is empty
	// when there is none. CertPEM is empty in ledgers of CCF 1.x.
	NodeID  string
	CertPEM string
	Sig     []byte

	// COSE is the service's signature, a tagged COSE_Sign1 with Root as its detached
	// payload, or nil.
	COSE []byte

	Tree *merkle.Partial
}

// IssuedAt is when the service's signature says that it was made, to the second: by the
// clock of the node that made it, and signed with the rest. It is zero for a signature
// that does not say.
func (s *Signature) IssuedAt() time.Time {
	msg, err := cose.Parse(s.COSE)
	if err != nil {
		return time.Time{}
	}
	header, err := cose.DecodeMap(msg.Protected)
	if err != nil {
		return time.Time{}
	}
	claims, err := memberMap(header, labelClaims)
	if err != nil {
		return time.Time{}
	}
	at, err := member[int64](claims, claimIssuedAt)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(at, 0).UTC()
}

// nodeSignature is the JSON in SignaturesMap, in CCF's order of keys.
type nodeSignature struct {
	Cert         string `json:"cert,omitempty"`
	CommitSeqno  uint64 `json:"commit_seqno"`
	CommitView   uint64 `json:"commit_view"`
	HashedNonce  string `json:"hashed_nonce"`
	Node         string `json:"node"`
	Root         string `json:"root"`
	Seqno        uint64 `json:"seqno"`
	SignatureDER []byte `json:"sig"`
	View         uint64 `json:"view"`
}

// IsSignature reports whether ws, a transaction's public writes, is that of a
// signature transaction: whether it touches a signature map. ParseSignature says
// whether it is a well-formed one.
func IsSignature(ws writeset.WriteSet) bool {
	for i := range ws {
		if ws[i].Name == SignaturesMap || ws[i].Name == COSESignaturesMap {
			return true
		}
	}
	return false
}

// ParseSignature takes a signature transaction apart. It must write the tree table
// and one or both signature maps, and nothing else, in CCF's own spelling; what it
// states about its own position must be so. No signature is verified and the root is not compared with
// the tree table: that is Verify's, or the caller's. Errors are ErrSignatureShape.
func ParseSignature(e *Entry) (*Signature, error) {
	s := &Signature{ID: e.ID}
	if err := s.parse(e); err != nil {
		return nil, fmt.Errorf("%w %v: %w", ErrSignatureShape, e.ID, err)
	}
	return s, nil
}

func (s *Signature) parse(e *Entry) error {
	if e.PrivateSize() > 0 {
		return errors.New("it has a private domain")
	}
	modern := e.Type == WriteSetWithEvidenceAndClaims
	if e.Claims != (Digest{}) || modern && e.MaxConflictVersion != 0 {
		return errors.New("it has claims, or a conflict version")
	}
	for _, m := range e.Public {
		value, err := singleValue(m)
		if err == nil && modern && m.ReadVersion != 0 {
			err = errors.New("it has a read version")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		switch m.Name {
		case SignaturesMap:
			err = s.parseNode(value)
		case COSESignaturesMap:
			err = s.parseCOSE(value)
		case TreeMap:
			s.Tree, err = merkle.Parse(value)
		default:
			err = errors.New("the map has no place in it")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	switch {
	case s.Tree == nil:
		return errors.New("it has no tree table")
	case s.Tree.Size() != e.ID.Seqno:
		return fmt.Errorf("its tree table has %d leaves", s.Tree.Size())
	case s.NodeID == "" && s.COSE == nil:
		return errors.New("it has no signature")
	case s.NodeID != "":
		return nil
	}
	var err error
	s.Root, err = s.Tree.Root()
	return err
}

func (s *Signature) parseNode(value []byte) error {
	if s.NodeID != "" {
		return errors.New("it occurs twice")
	}
	var n nodeSignature
	if err := json.Unmarshal(value, &n); err != nil {
		return err
	}
	if id := (TxID{View: n.View, Seqno: n.Seqno}); id != s.ID {
		return fmt.Errorf("it names itself %v", id)
	}
	if again, err := json.Marshal(n); err != nil || !bytes.Equal(again, value) || n.HashedNonce != zeroNonce {
		return errors.New("it is not written as CCF writes it")
	}
	root, err := hex.DecodeString(n.Root)
	if err != nil || len(root) != len(s.Root) || hex.EncodeToString(root) != n.Root {
		return fmt.Errorf("root of %d characters is no digest in lower case", len(n.Root))
	}
	if n.Node == "" || len(n.SignatureDER) == 0 {
		return errors.New("node or signature is missing")
	}
	s.NodeID, s.CertPEM, s.Sig, s.Root = n.Node, n.Cert, n.SignatureDER, Digest(root)
	return nil
}

func (s *Signature) parseCOSE(value []byte) error {
	if s.COSE != nil {
		return errors.New("it occurs twice")
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	if len(b) == 0 || len(value) != len(text)+2 {
		return errors.New("it is not written as CCF writes it")
	}
	s.COSE = b
	return nil
}

// singleValue returns the value of a map that holds one, when that is what m writes.
func singleValue(m writeset.MapWrites) ([]byte, error) {
	if len(m.Removes) != 0 || len(m.Writes) != 1 {
		return nil, fmt.Errorf("%d writes and %d removes", len(m.Writes), len(m.Removes))
	}
	if !bytes.Equal(m.Writes[0].Key, singleKey) {
		return nil, errors.New("unknown key")
	}
	return m.Writes[0].Value, nil
}
