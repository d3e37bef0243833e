package ledger

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"chancery/internal/cose"
	"chancery/ledger/merkle"
)

type step = merkle.Step

// testService is a service with one node and a short ledger of which only the
// tree is kept: leaf i is that of a transaction 2.i, but for leaf 3, which
// stands for an entry of a 1.x ledger.
type testService struct {
	now            time.Time
	key, nodeKey   *ecdsa.PrivateKey
	cert           *x509.Certificate
	pem, nodePEM   string
	nodeID         string
	selfSignedNode string
	tree           *merkle.Tree
	leaves         []Leaf
	next           *testService // the one that recovered this one
}

const testLeaves = 13 // not a power of two

func newTestService(t testing.TB) *testService {
	t.Helper()
	return newTestServiceOn(t, elliptic.P384())
}

func newTestServiceOn(t testing.TB, curve elliptic.Curve) *testService {
	t.Helper()
	s := &testService{now: time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC), key: newKeyOn(t, curve), nodeKey: newKeyOn(t, curve)}
	s.pem = s.issue(t, "CN=Service", true, &s.key.PublicKey, s.key, nil)
	s.cert = mustCert(t, s.pem)
	s.nodePEM = s.issue(t, "CN=Node", false, &s.nodeKey.PublicKey, s.key, s.cert)
	s.selfSignedNode = s.issue(t, "CN=Node", true, &s.nodeKey.PublicKey, s.nodeKey, nil)
	s.nodeID = testKeyID(t, &s.nodeKey.PublicKey)
	s.tree = merkle.New()
	s.tree.Append(Digest{})
	s.leaves = append(s.leaves, Leaf{})
	for i := 1; i < testLeaves; i++ {
		claims := Digest{}
		if i == 5 {
			claims = Digest{1, 2, 3}
		}
		l := Leaf{
			WriteSet: sha256.Sum256(fmt.Append(nil, "entry", i)),
			Evidence: fmt.Sprintf("ce:2.%d:%x", i, sha256.Sum256(fmt.Append(nil, "nonce", i))),
			Claims:   &claims,
		}
		s.leaves = append(s.leaves, l)
		if i == 3 {
			s.tree.Append(l.WriteSet)
		} else {
			s.tree.Append(l.Digest())
		}
	}
	return s
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return newKeyOn(t, elliptic.P384())
}

func newKeyOn(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testKeyID(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	id, err := keyID(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// issue makes a certificate; a nil parent makes it self-signed.
func (s *testService) issue(t testing.TB, name string, ca bool, pub *ecdsa.PublicKey, signer *ecdsa.PrivateKey, parent *x509.Certificate) string {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(s.now.UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             s.now.Add(-time.Hour),
		NotAfter:              s.now.AddDate(1, 0, 0),
		BasicConstraintsValid: true,
		IsCA:                  ca,
	}
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (s *testService) signRoot(t testing.TB, root Digest) []byte {
	t.Helper()
	sig, err := ecdsa.SignASN1(rand.Reader, s.nodeKey, root[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// receipt is that of transaction 2.i under the root over all leaves. claims
// must be those of the leaf.
func (s *testService) receipt(t testing.TB, i uint64, claims Digest) *Receipt {
	t.Helper()
	l := s.leaves[i]
	if claims != *l.Claims {
		t.Fatalf("leaf %d has claims %x", i, *l.Claims)
	}
	return &Receipt{
		Leaf: l, Path: s.tree.Path(i, s.tree.Size()),
		NodeID: s.nodeID, NodeCert: s.nodePEM, Signature: s.signRoot(t, s.tree.Root()),
	}
}

func (s *testService) signatureReceipt(t testing.TB) *Receipt {
	t.Helper()
	return &Receipt{
		Kind: ReceiptSignature, Bare: s.tree.Root(),
		NodeID: s.nodeID, NodeCert: s.nodePEM, Signature: s.signRoot(t, s.tree.Root()),
	}
}

func (s *testService) bareReceipt(t testing.TB, i uint64) *Receipt {
	t.Helper()
	r := s.receipt(t, i, Digest{})
	r.Kind, r.Bare, r.Leaf = ReceiptBare, r.Leaf.WriteSet, Leaf{}
	return r
}

// afterRecovery is the receipt of 2.i as the recovered service, s.next, serves
// it: with a certificate for the old key.
func (s *testService) afterRecovery(t testing.TB, i uint64) *Receipt {
	t.Helper()
	s.next = newTestServiceOn(t, s.key.Curve)
	r := s.receipt(t, i, *s.leaves[i].Claims)
	r.Endorsements = []string{s.next.issue(t, "CN=Service", true, &s.key.PublicKey, s.next.key, s.next.cert)}
	return r
}

// signCOSE returns the service's COSE signature over the whole tree.
func (s *testService) signCOSE(t testing.TB) []byte {
	t.Helper()
	root := s.tree.Root()
	signer := &Signer{Service: s.key, Issuer: "iss", Subject: "sub", Now: func() time.Time { return s.now }}
	protected, err := signer.protected(TxID{View: 2, Seqno: s.tree.Size()})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := cose.SignDetached(s.key, protected, root[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// coseReceipt is the COSE receipt of transaction 2.i.
func (s *testService) coseReceipt(t testing.TB, i uint64) []byte {
	t.Helper()
	out, err := BuildCOSEReceipt(s.signCOSE(t), s.leaves[i], s.tree.Path(i, s.tree.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hexOf(d Digest) string { return hex.EncodeToString(d[:]) }
