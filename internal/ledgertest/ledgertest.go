// Package ledgertest writes ledgers that verify, without a service: for tests and
// measurements of what reads them. No program links it.
package ledgertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// Ledger is a ledger that is being written into a directory. The first error ends it:
// see Close.
type Ledger struct {
	// Service is the certificate of the service that signs it.
	Service *x509.Certificate

	now    func() time.Time
	dir    *ledger.Dir
	signer ledger.Signer
	secret *ledger.Secret
	tree   *merkle.Tree
	signed uint64 // seqno of the last signature
	span   []*ledger.Entry
	err    error
}

// view is that of every transaction.
const view = 2

// New begins a ledger of a service that is open, in dir. Keys are of the curve P-384, which
// is CCF's default, or P-256, which is faster. It is signed by the clock now.
func New(fsys durable.FS, dir string, curve elliptic.Curve, now func() time.Time) (*Ledger, error) {
	raw := make([]byte, ledger.SecretSize)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("making a ledger secret: %w", err)
	}
	secret, err := ledger.NewSecret(raw)
	if err != nil {
		return nil, err
	}
	l := &Ledger{secret: secret, tree: merkle.New(), now: now}
	l.tree.Append(merkle.Hash{})
	if l.dir, err = ledger.OpenDir(fsys, dir, nil); err != nil {
		return nil, err
	}
	created, opened, err := l.identities(curve)
	if err != nil {
		return nil, err
	}
	l.add(created)
	l.Sign(false)
	l.add(opened)
	l.Sign(false)
	return l, l.err
}

// identities makes the service and its node, and the writes that create and open it.
func (l *Ledger) identities(curve elliptic.Curve) (created, opened writeset.WriteSet, err error) {
	service, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	node, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if l.Service, err = certify("service", service, nil, service); err != nil {
		return nil, nil, err
	}
	nodeCert, err := certify("node", node, l.Service, service)
	if err != nil {
		return nil, nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(node.Public())
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(spki)
	id := hex.EncodeToString(sum[:])
	l.signer = ledger.Signer{
		NodeID: id, NodeCertPEM: pemOf(nodeCert), Node: node, Service: service,
		Issuer: "issuer", Subject: "subject", Now: l.now,
	}
	info := func(status string) writeset.MapWrites {
		return single("public:ccf.gov.service.info", object{
			"cert": pemOf(l.Service), "status": status,
			"current_service_create_txid": ledger.TxID{View: view, Seqno: 1}.String(),
		})
	}
	created = writeset.WriteSet{
		{Name: "public:ccf.gov.nodes.endorsed_certificates", Writes: []writeset.Write{{Key: []byte(id), Value: []byte(l.signer.NodeCertPEM)}}},
		{Name: "public:ccf.gov.nodes.info", Writes: []writeset.Write{{Key: []byte(id), Value: jsonOf(object{"status": "Trusted"})}}},
		info("Opening"),
	}
	key, err := x509.MarshalPKIXPublicKey(l.Service.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	endorsement, err := ledger.EndorseIdentity(service, key, ledger.Epoch{Begin: ledger.TxID{View: view, Seqno: 1}}, l.now())
	if err != nil {
		return nil, nil, err
	}
	return created, writeset.WriteSet{
		info("Open"),
		single("public:ccf.internal.previous_service_identity_endorsement", object{"endorsement": base64.StdEncoding.EncodeToString(endorsement)}),
		single("public:ccf.internal.historical_encrypted_ledger_secret", object{"next_version": 1}),
	}, nil
}

type object = map[string]any

func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a value of ours
	}
	return b
}

func single(name string, v any) writeset.MapWrites {
	return writeset.MapWrites{Name: name, Writes: []writeset.Write{{Key: make([]byte, 8), Value: jsonOf(v)}}}
}

func certify(name string, key *ecdsa.PrivateKey, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	if err != nil {
		return nil, fmt.Errorf("certifying %s: %w", name, err)
	}
	return x509.ParseCertificate(der)
}

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// add seals a transaction at the end.
func (l *Ledger) add(ws writeset.WriteSet) { l.seal(ws, 0) }

func (l *Ledger) seal(ws writeset.WriteSet, flags ledger.Flags) {
	if l.err != nil {
		return
	}
	e, err := ledger.Seal(l.secret, ledger.TxID{View: view, Seqno: l.tree.Size()}, ws, ledger.Digest{}, flags)
	if err != nil {
		l.err = err
		return
	}
	l.tree.Append(e.Leaf())
	l.span = append(l.span, e)
}

// Write adds transactions, each with a private value of so many bytes.
func (l *Ledger) Write(n, size int) {
	value := make([]byte, size)
	for range n {
		key := binary.LittleEndian.AppendUint64(nil, l.tree.Size())
		l.add(writeset.WriteSet{{Name: "records", Writes: []writeset.Write{{Key: key, Value: value}}}})
	}
}

// Sign adds a signature, behind which the chunk ends if so wished, and writes what was
// added since the last one. It returns the signature's position.
func (l *Ledger) Sign(closing bool) ledger.TxID {
	id := ledger.TxID{View: view, Seqno: l.tree.Size()}
	if l.err != nil {
		return id
	}
	ws, err := l.signer.Sign(id, l.tree.Root(), l.tree.AppendTo(nil, l.signed))
	if err != nil {
		l.err = err
		return id
	}
	var flags ledger.Flags
	if closing {
		flags = ledger.ForceChunkAfter
	}
	l.seal(ws, flags)
	if l.err == nil {
		l.err = l.dir.AppendSigned(l.span)
	}
	l.signed, l.span = id.Seqno, nil
	return id
}

// Secrets returns what the ledger is sealed with.
func (l *Ledger) Secrets() *ledger.Secrets {
	secrets := new(ledger.Secrets)
	if err := secrets.Add(1, l.secret); err != nil && l.err == nil {
		l.err = err
	}
	return secrets
}

// Close ends the writing, and returns the first error.
func (l *Ledger) Close() error {
	if err := l.dir.Close(); l.err == nil {
		l.err = err
	}
	return l.err
}
