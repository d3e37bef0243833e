package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"chancery/internal/identity"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
	"chancery/server/api"
)

// issuer is a service identity that endorses nodes.
type issuer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key := newKey(t)
	pem, err := identity.SelfSignedService(key, subject(t, "CN=Test Service"), validity(t))
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{key: key, cert: certificate(t, pem)}
}

// endorse issues a node certificate for 127.0.0.1.
func (i *issuer) endorse(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key := newKey(t)
	name, err := identity.ParseAltName("iPAddress:127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, subject(t, "CN=Test Node"), []identity.AltName{name})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := identity.EndorseNode(csr, i.key, i.cert, validity(t))
	if err != nil {
		t.Fatal(err)
	}
	return key, pem
}

// serve starts a TLS server with a certificate endorsed by i.
func (i *issuer) serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	key, pem := i.endorse(t)
	return serveAs(t, h, key, pem)
}

func serveAs(t testing.TB, h http.Handler, key *ecdsa.PrivateKey, pem []byte) *httptest.Server {
	t.Helper()
	cert, err := identity.TLSCertificate(pem, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what tests are for
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := identity.GenerateKey(elliptic.P384())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func subject(t testing.TB, s string) []byte {
	t.Helper()
	b, err := identity.ParseSubject(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func validity(t testing.TB) identity.Validity {
	t.Helper()
	v, err := identity.ValidFor(time.Now().Add(-time.Minute), 2)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func certificate(t testing.TB, pem []byte) *x509.Certificate {
	t.Helper()
	cert, err := ParseCertificate(pem)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// newClient makes a client whose pauses take no time, and records them.
func newClient(t testing.TB, i *issuer, urls ...string) (*Client, *[]time.Duration) {
	t.Helper()
	c, err := New(Config{URLs: urls, Service: i.cert})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var mu sync.Mutex
	var pauses []time.Duration
	c.sleep = func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		pauses = append(pauses, d)
		return context.Cause(ctx)
	}
	return c, &pauses
}

// fail answers with an error body.
func fail(w http.ResponseWriter, status int, code api.Code, message string) {
	w.Header().Set(api.HeaderContentType, api.TypeJSON)
	w.WriteHeader(status)
	reply(w, api.ErrorBody{Error: &api.Error{Code: code, Message: message}})
}

func reply(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		panic(err)
	}
}

// testLedger is a ledger in memory: real entries, a real tree and real signatures,
// one signature after each write, as soon as someone asks for its status twice.
type testLedger struct {
	mu      sync.Mutex
	secret  *ledger.Secret
	signer  *ledger.Signer
	tree    *merkle.Tree
	entries []*ledger.Entry // by seqno
	asked   int
	invalid bool // transactions are rolled back in place of being signed
	other   bool // receipts are those of another transaction
	prefers bool // the server honours Prefer
}

func newTestLedger(t testing.TB, i *issuer, nodeKey *ecdsa.PrivateKey, nodePEM []byte) *testLedger {
	t.Helper()
	raw := make([]byte, 32)
	rand.Read(raw)
	secret, err := ledger.NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.KeyID(&nodeKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	l := &testLedger{
		secret: secret, tree: merkle.New(), entries: make([]*ledger.Entry, 1),
		signer: &ledger.Signer{NodeID: id, NodeCertPEM: string(nodePEM), Node: nodeKey, Service: i.key, Now: time.Now},
	}
	l.tree.Append(merkle.Hash{})
	return l
}

func (l *testLedger) next() ledger.TxID {
	return ledger.TxID{View: 2, Seqno: uint64(len(l.entries))}
}

func (l *testLedger) append(ws writeset.WriteSet) ledger.TxID {
	e, err := ledger.Seal(l.secret, l.next(), ws, ledger.Digest{}, 0)
	if err != nil {
		panic(err)
	}
	l.entries = append(l.entries, e)
	l.tree.Append(e.Leaf())
	return e.ID
}

func (l *testLedger) sign() {
	ws, err := l.signer.Sign(l.next(), l.tree.Root(), l.tree.AppendTo(nil, 0))
	if err != nil {
		panic(err)
	}
	l.append(ws)
}

// signature returns the first signature after id.
func (l *testLedger) signature(id ledger.TxID) *ledger.Signature {
	for _, e := range l.entries[id.Seqno+1:] {
		if !ledger.IsSignature(e.Public) {
			continue
		}
		s, err := ledger.ParseSignature(e)
		if err != nil {
			panic(err)
		}
		return s
	}
	return nil
}

func (l *testLedger) receipt(id ledger.TxID) *ledger.Receipt {
	if l.other {
		id.Seqno--
	}
	s, e := l.signature(id), l.entries[id.Seqno]
	r, err := ledger.BuildReceipt(e, ledger.CommitEvidence(l.secret, id), l.tree.Path(id.Seqno, s.ID.Seqno), s, s.CertPEM)
	if err != nil {
		panic(err)
	}
	return r
}

func (l *testLedger) coseReceipt(id ledger.TxID) []byte {
	s, e := l.signature(id), l.entries[id.Seqno]
	leaf := ledger.Leaf{WriteSet: e.WriteSetDigest(), Evidence: ledger.CommitEvidence(l.secret, id), Claims: &e.Claims}
	b, err := ledger.BuildCOSEReceipt(s.COSE, leaf, l.tree.Path(id.Seqno, s.ID.Seqno))
	if err != nil {
		panic(err)
	}
	return b
}

func (l *testLedger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, _ := ledger.ParseTxID(r.URL.Query().Get("transaction_id"))
	switch r.Method + " " + r.URL.Path {
	case "POST /app/log":
		l.write(w, r)
	case "GET /app/tx":
		reply(w, api.TxStatus{TransactionID: id.String(), Status: l.status(id)})
	case "GET /app/commit":
		reply(w, api.Commit{TransactionID: l.entries[len(l.entries)-1].ID.String()})
	case "GET /app/receipt":
		reply(w, l.receipt(id))
	case "GET /app/receipt/cose":
		w.Header().Set(api.HeaderContentType, api.TypeCOSE)
		if _, err := w.Write(l.coseReceipt(id)); err != nil {
			panic(err)
		}
	default:
		fail(w, http.StatusNotFound, api.ResourceNotFound, "Unknown path: "+r.URL.Path)
	}
}

func (l *testLedger) status(id ledger.TxID) string {
	if l.asked++; l.asked%3 == 0 && !l.invalid {
		l.sign()
	}
	switch {
	case l.invalid && l.asked > 1:
		return "Invalid"
	case id.Seqno >= uint64(len(l.entries)):
		return "Unknown"
	case l.signature(id) == nil:
		return "Pending"
	}
	return "Committed"
}

func (l *testLedger) write(w http.ResponseWriter, r *http.Request) {
	id := l.append(writeset.WriteSet{{Name: "public:records", Writes: []writeset.Write{{Key: []byte("k"), Value: []byte("v")}}}})
	w.Header().Set(api.HeaderTxID, id.String())
	prefer := r.Header.Get(api.HeaderPrefer)
	if l.prefers && prefer != "" {
		l.sign()
		w.Header().Set(api.HeaderPreferApplied, prefer)
	}
	w.Header().Set(api.HeaderContentType, api.TypeJSON)
	if l.prefers && prefer == "wait=receipt" {
		receipt, err := json.Marshal(l.receipt(id))
		if err != nil {
			panic(err)
		}
		reply(w, api.Written{TransactionID: id.String(), Status: 200, ContentType: api.TypeJSON, Body: json.RawMessage(`{"ok":true}`), Receipt: receipt})
		return
	}
	reply(w, map[string]bool{"ok": true})
}
