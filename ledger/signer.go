package ledger

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"chancery/internal/cose"
	"chancery/kv/writeset"
)

// SignMode says which signatures a signature transaction carries.
type SignMode uint8

// The modes of CCF 7.0, under its names.
const (
	Dual              SignMode = iota // by the node and by the service
	COSEAllowDualJoin                 // by the service; nodes in mode Dual may still join
	COSEOnly                          // by the service
)

// String returns CCF's name of the mode.
func (m SignMode) String() string {
	switch m {
	case Dual:
		return "Dual"
	case COSEAllowDualJoin:
		return "CoseAllowDualJoin"
	case COSEOnly:
		return "CoseOnly"
	}
	return fmt.Sprintf("SignMode(%d)", uint8(m))
}

// COSE header labels of a ledger signature (RFC 9052, RFC 9597, RFC 9942).
const (
	labelAlg    = 1
	labelKID    = 4
	labelClaims = 15
	labelVDS    = 395
	labelCCF    = "ccf.v1"

	claimIssuer   = 1
	claimSubject  = 2
	claimIssuedAt = 6

	vdsCCF = 2 // CCF_LEDGER_SHA256
)

// Signer signs the ledger. Its fields are fixed once it is in use; it is then safe
// for concurrent use.
type Signer struct {
	Mode        SignMode
	NodeID      string        // hex SHA-256 of the node key's SubjectPublicKeyInfo
	NodeCertPEM string        // the node's certificate, issued by the service
	Node        crypto.Signer // ECDSA; not used in the COSE modes
	Service     crypto.Signer // ECDSA, P-384 or P-256
	Issuer      string        // CWT claims, may be empty
	Subject     string
	Now         func() time.Time // for the CWT claim iat
}

// zeroNonce is what stands in a field that CCF no longer uses.
var zeroNonce = strings.Repeat("0", 2*sha256.Size)

// Sign returns the write set of the signature transaction id: root, over all leaves
// before id.Seqno, is signed, and tree, the bytes of merkle.Tree.AppendTo, recorded.
// The two signatures are made at the same time.
func (s *Signer) Sign(id TxID, root Digest, tree []byte) (writeset.WriteSet, error) {
	var node []byte
	var nodeErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.Mode == Dual {
			node, nodeErr = s.signNode(id, root)
		}
	}()
	service, serviceErr := s.signCOSE(id, root)
	<-done
	if err := errors.Join(nodeErr, serviceErr); err != nil {
		return nil, fmt.Errorf("signing the ledger at %v: %w", id, err)
	}
	ws := writeset.WriteSet{single(COSESignaturesMap, service), single(TreeMap, tree)}
	if node != nil {
		ws = writeset.WriteSet{ws[0], single(SignaturesMap, node), ws[1]}
	}
	return ws, nil
}

func single(name string, value []byte) writeset.MapWrites {
	return writeset.MapWrites{Name: name, Writes: []writeset.Write{{Key: singleKey, Value: value}}}
}

// signNode returns the value of SignaturesMap. The root is signed as it is: it is
// the digest, whatever the curve.
func (s *Signer) signNode(id TxID, root Digest) ([]byte, error) {
	der, err := s.Node.Sign(rand.Reader, root[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	return json.Marshal(nodeSignature{
		Cert: s.NodeCertPEM, HashedNonce: zeroNonce, Node: s.NodeID, Root: hex.EncodeToString(root[:]),
		Seqno: id.Seqno, SignatureDER: der, View: id.View,
	})
}

// signCOSE returns the value of COSESignaturesMap.
func (s *Signer) signCOSE(id TxID, root Digest) ([]byte, error) {
	protected, err := s.protected(id)
	if err != nil {
		return nil, err
	}
	sig, err := cose.SignDetached(s.Service, protected, root[:])
	if err != nil {
		return nil, fmt.Errorf("service key: %w", err)
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(sig))
}

// protected returns the protected header, its keys in the order in which CCF emits
// them: receipts repeat these bytes.
func (s *Signer) protected(id TxID) ([]byte, error) {
	alg, err := cose.AlgorithmFor(s.Service.Public())
	if err != nil {
		return nil, fmt.Errorf("service key: %w", err)
	}
	kid, err := keyID(s.Service.Public())
	if err != nil {
		return nil, fmt.Errorf("service key: %w", err)
	}
	return cose.EncodeMap(
		cose.Pair{Key: labelAlg, Value: alg},
		cose.Pair{Key: labelKID, Value: []byte(kid)},
		cose.Pair{Key: labelVDS, Value: vdsCCF},
		cose.Pair{Key: labelClaims, Value: cose.Map{
			{Key: claimIssuedAt, Value: s.Now().Unix()},
			{Key: claimIssuer, Value: s.Issuer},
			{Key: claimSubject, Value: s.Subject},
		}},
		cose.Pair{Key: labelCCF, Value: cose.Map{{Key: "txid", Value: id.String()}}},
	)
}

// keyID returns the hex SHA-256 of a public key's SubjectPublicKeyInfo.
func keyID(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
