package ledger

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// history writes a ledger in memory, the way a primary does.
type history struct {
	t       testing.TB
	secret  *Secret
	signer  *Signer
	service *x509.Certificate
	tree    *merkle.Tree
	view    uint64
	signed  uint64 // seqno of the last signature
	entries []*Entry

	first *Secret      // from seqno 1
	known []secretFrom // the later ones

	// Of a recovery that has begun: what the identity before is to be endorsed for.
	before   Epoch
	endorsed *x509.Certificate
}

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSecret(t testing.TB, fill byte) *Secret {
	t.Helper()
	raw := make([]byte, SecretSize)
	for i := range raw {
		raw[i] = fill
	}
	s, err := NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testNow() time.Time { return time.Unix(1761669641, 0) }

// certify issues a certificate for key; a nil parent makes it self-signed.
func certify(t testing.TB, subject string, key *ecdsa.PrivateKey, parent *x509.Certificate, by crypto.Signer) *x509.Certificate {
	t.Helper()
	return certifyPublic(t, subject, key.Public(), parent, by)
}

func certifyPublic(t testing.TB, subject string, key crypto.PublicKey, parent *x509.Certificate, by crypto.Signer) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject},
		NotBefore: testNow(), NotAfter: testNow().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func idOf(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	id, err := keyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newHistory returns an empty history whose service has keys of the given curve.
func newHistory(t testing.TB, curve elliptic.Curve) *history {
	t.Helper()
	h := &history{t: t, secret: newSecret(t, 7), tree: merkle.New(), view: 2, signer: &Signer{
		Issuer: "issuer", Subject: "subject", Now: testNow,
	}}
	h.first = h.secret
	h.identities(curve)
	h.tree.Append(merkle.Hash{})
	return h
}

// identities gives the service and its node new keys.
func (h *history) identities(curve elliptic.Curve) {
	node, service := ecKey(h.t, curve), ecKey(h.t, curve)
	h.service = certify(h.t, "service", service, nil, service)
	h.signer.NodeID = idOf(h.t, node)
	h.signer.NodeCertPEM = pemOf(certify(h.t, "node", node, h.service, service))
	h.signer.Node, h.signer.Service = node, service
}

func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a test's own value
	}
	return b
}

// created is the write set of the transaction that creates a service: its identity
// with a status, and one node.
func (h *history) created(status string) writeset.WriteSet {
	ws := h.joined(h.signer.NodeID, nodeTrusted, h.signer.NodeCertPEM)
	return append(ws, single(serviceInfoMap, jsonOf(map[string]string{"cert": pemOf(h.service), "status": status})))
}

// joined is the write set that gives a node its status and its certificate.
func (h *history) joined(id, status, cert string) writeset.WriteSet {
	return writeset.WriteSet{
		{Name: endorsedCertsMap, Writes: []writeset.Write{{Key: []byte(id), Value: []byte(cert)}}},
		{Name: nodesInfoMap, Writes: []writeset.Write{{Key: []byte(id), Value: jsonOf(map[string]string{"status": status})}}},
	}
}

// newService returns a history with a service that is open, two spans.
func newService(t testing.TB, curve elliptic.Curve) *history {
	t.Helper()
	h := newHistory(t, curve)
	h.seal(h.created(statusOpening), 0)
	h.sign(0)
	h.opened(1)
	h.sign(0)
	return h
}

// opened seals the opening of the service: its own endorsement, and the first mention
// of its ledger secret.
func (h *history) opened(nextSecret uint64) *Entry {
	h.t.Helper()
	key, err := x509.MarshalPKIXPublicKey(h.service.PublicKey)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.seal(writeset.WriteSet{
		single(serviceInfoMap, jsonOf(map[string]string{"cert": pemOf(h.service), "status": statusOpen})),
		h.endorsing(key, Epoch{Begin: TxID{View: h.view, Seqno: 1}}),
		single(historicalSecretMap, jsonOf(map[string]uint64{"next_version": nextSecret})),
	}, 0)
}

// endorsing is the write of an identity endorsement.
func (h *history) endorsing(key []byte, epoch Epoch) writeset.MapWrites {
	h.t.Helper()
	raw, err := EndorseIdentity(h.signer.Service, key, epoch, testNow())
	if err != nil {
		h.t.Fatal(err)
	}
	return single(endorsementMap, jsonOf(map[string]string{"endorsement": base64.StdEncoding.EncodeToString(raw)}))
}

func (h *history) id() TxID { return TxID{View: h.view, Seqno: h.tree.Size()} }

// write seals a transaction with one public and one private write.
func (h *history) write(flags Flags) *Entry {
	h.t.Helper()
	key := binary.LittleEndian.AppendUint64(nil, h.tree.Size())
	return h.seal(writeset.WriteSet{
		{Name: "private", Writes: []writeset.Write{{Key: key, Value: []byte("a private value")}}, Removes: [][]byte{{1}}},
		{Name: "public:open", Writes: []writeset.Write{{Key: key, Value: []byte("a public value")}}},
	}, flags)
}

func (h *history) seal(ws writeset.WriteSet, flags Flags) *Entry {
	h.t.Helper()
	e, err := Seal(h.secret, h.id(), ws, Digest{}, flags)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.add(e)
}

func (h *history) add(e *Entry) *Entry {
	h.tree.Append(e.Leaf())
	h.entries = append(h.entries, e)
	return e
}

// signature makes the write set of the next signature transaction.
func (h *history) signature() writeset.WriteSet {
	h.t.Helper()
	ws, err := h.signer.Sign(h.id(), h.tree.Root(), h.tree.AppendTo(nil, h.signed))
	if err != nil {
		h.t.Fatal(err)
	}
	return ws
}

func (h *history) sign(flags Flags) *Entry {
	h.t.Helper()
	e := h.seal(h.signature(), flags)
	h.signed = e.ID.Seqno
	return e
}

// span returns n writes and a signature.
func (h *history) span(n int, flags Flags) []*Entry {
	h.t.Helper()
	from := len(h.entries)
	for range n {
		h.write(0)
	}
	h.sign(flags)
	return h.entries[from:]
}

// spans cuts the history into its signed spans; unsigned entries are left out.
func (h *history) spans() [][]*Entry {
	var out [][]*Entry
	from := 0
	for i, e := range h.entries {
		if IsSignature(e.Public) {
			out = append(out, h.entries[from:i+1])
			from = i + 1
		}
	}
	return out
}

// store writes the history's signed spans to a new ledger directory.
func (h *history) store(fsys durable.FS) {
	h.t.Helper()
	d := openDir(h.t, fsys)
	for _, span := range h.spans() {
		appendSpan(h.t, d, span)
	}
	if err := d.Sync(); err != nil {
		h.t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// secrets returns the history's ledger secrets.
func (h *history) secrets() *Secrets {
	h.t.Helper()
	s := new(Secrets)
	for _, k := range append([]secretFrom{{1, h.first}}, h.known...) {
		if err := s.Add(k.from, k.secret); err != nil {
			h.t.Fatal(err)
		}
	}
	return s
}

// verifyAt audits a ledger directory of openDir's.
func (h *history) verifyAt(fsys durable.FS) (*Report, error) {
	return Verify(context.Background(), fsys, []string{"/ledger"}, VerifyOptions{Secrets: h.secrets(), Service: h.service})
}
