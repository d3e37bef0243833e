package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/server/api"
)

// memNode is a Node over a real store: what it orders is committed when the test says
// so (sign), or at once.
type memNode struct {
	store *kv.Store
	auto  bool // sign after each transaction

	mu           sync.Mutex
	pos          Position
	wake         chan struct{} // closed and replaced at each change of pos
	writes       map[uint64]writeset.WriteSet
	info         Info
	stopped      bool
	submit       func() error // what Submit returns instead, when set and not nil
	last         Submission
	files        Files
	endorsements []*ledger.IdentityEndorsement
	deposed      bool // others know better who leads
	confirmed    int
	effects      gov.Effects // in place of memEffects, where a test sets them
	forward      func(context.Context, string, *Forwarded) (*ForwardedAnswer, error)
}

func newMemNode() *memNode {
	return &memNode{
		store: kv.NewStore(), auto: true, wake: make(chan struct{}), writes: make(map[uint64]writeset.WriteSet),
		pos:  Position{View: 2, Primary: true, History: ledger.History{Views: []uint64{1, 1}}},
		info: Info{ID: strings.Repeat("ab", 32), State: "PartOfNetwork", PrimaryID: strings.Repeat("ab", 32)},
	}
}

func (n *memNode) Begin() *kv.Tx        { return n.store.Begin() }
func (n *memNode) Committed() *kv.State { return n.store.Committed() }

func (n *memNode) Position() Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pos
}

func (n *memNode) Submit(_ context.Context, tx *kv.Tx, s Submission) (TxID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.submit != nil {
		if err := n.submit(); err != nil {
			return TxID{}, err
		}
	}
	if !n.pos.Primary {
		return TxID{}, ErrNotPrimary
	}
	id := TxID{View: n.pos.View, Seqno: n.pos.Head.Seqno + 1}
	ws, err := n.store.Commit(tx, id)
	if err != nil {
		return TxID{}, err
	}
	n.pos.Head, n.writes[id.Seqno], n.last = id, ws, s
	if n.auto {
		n.signLocked()
	}
	return id, nil
}

func (n *memNode) signLocked() {
	id := TxID{View: n.pos.View, Seqno: n.pos.Head.Seqno + 1}
	ws := writeset.WriteSet{{Name: tables.NameSignatures, Writes: []writeset.Write{{Key: tables.SingletonKey, Value: []byte("{}")}}}}
	if _, err := n.store.Apply(id, ws); err != nil {
		panic(err)
	}
	n.store.Compact(id.Seqno)
	n.writes[id.Seqno] = ws
	n.pos.Head, n.pos.Committed = id, id
	close(n.wake)
	n.wake = make(chan struct{})
}

func (n *memNode) sign() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.signLocked()
}

// lose makes this node follow in the next view, whose history begins after the last signature.
func (n *memNode) lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pos.View++
	n.pos.Primary = false
	n.pos.Head = n.pos.Committed
	n.pos.Views = append(append([]uint64{}, n.pos.Views...), n.pos.Committed.Seqno+1)
	n.pos.Committed.View, n.pos.Committed.Seqno = n.pos.View, n.pos.Committed.Seqno+5
	n.pos.Head = n.pos.Committed
	close(n.wake)
	n.wake = make(chan struct{})
}

func (n *memNode) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = true
	close(n.wake)
	n.wake = make(chan struct{})
}

func (n *memNode) Wait(ctx context.Context, id TxID) (Status, error) {
	for {
		n.mu.Lock()
		status, wake, stopped := n.pos.Status(id), n.wake, n.stopped
		n.mu.Unlock()
		switch {
		case status.Final():
			return status, nil
		case stopped:
			return status, ErrStopped
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return status, ctx.Err()
		}
	}
}

func (n *memNode) RequestSignature() {}

func (n *memNode) Receipt(_ context.Context, id TxID) (*ledger.Receipt, error) {
	if n.Position().Status(id) != Committed {
		return nil, ErrNotCommitted
	}
	return nil, ErrFetching
}

func (n *memNode) COSEReceipt(_ context.Context, id TxID) ([]byte, error) {
	if n.Position().Status(id) != Committed {
		return nil, ErrNotCommitted
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.writes[id.Seqno][0].Name == tables.NameSignatures {
		return nil, ErrNoReceipt
	}
	return []byte{0xd2}, nil
}

func (n *memNode) COSESignature(_ context.Context, id TxID) ([]byte, error) {
	if n.Position().Status(id) != Committed {
		return nil, ErrNotCommitted
	}
	return []byte{0xd2}, nil
}

func (n *memNode) COSESignatures() COSESignatures { return COSESignatures{} }

func (n *memNode) Endorsements(context.Context) ([]*ledger.IdentityEndorsement, error) {
	return n.endorsements, nil
}

func (n *memNode) Transaction(_ context.Context, id TxID) (writeset.WriteSet, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.writes[id.Seqno], nil
}

func (n *memNode) Scan(ctx context.Context, first uint64, each func(TxID, writeset.WriteSet) bool) error {
	for p, seqno := n.Position(), first; seqno <= p.Committed.Seqno; seqno++ {
		id := TxID{View: p.ViewOf(seqno), Seqno: seqno}
		writes, err := n.Transaction(ctx, id)
		if err != nil || !each(id, writes) {
			return err
		}
	}
	return nil
}

func (n *memNode) Effects(tx *kv.Tx) gov.Effects {
	if n.effects != nil {
		return n.effects
	}
	return &memEffects{node: n}
}

func (n *memNode) Info() Info {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.info
}

func (n *memNode) Consensus() (Consensus, bool) {
	id := n.info.ID
	return Consensus{
		Configs: []ConsensusConfig{{Idx: 1, Rid: 1, Nodes: map[string]ConsensusPeer{id: {Address: "127.0.0.1:1"}}}},
		Acks:    map[string]ConsensusAck{}, MembershipState: "Active", LeadershipState: "Leader", PrimaryID: &id, CurrentView: 2, Ticking: true,
	}, true
}

func (n *memNode) Confirm(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.confirmed++
	if !n.pos.Primary || n.deposed {
		return ErrNotPrimary
	}
	return nil
}

func (n *memNode) Forward(ctx context.Context, primary string, f *Forwarded) (*ForwardedAnswer, error) {
	if n.forward == nil {
		return nil, ErrUnreachable
	}
	return n.forward(ctx, primary, f)
}

func (n *memNode) NetworkInfo() (*api.NetworkInfo, error) {
	return &api.NetworkInfo{Identity: api.NetworkIdentity{PrivateKey: "the service's key"}}, nil
}

func (n *memNode) SignStatement(contentType string, payload []byte) ([]byte, string, error) {
	return []byte(contentType + string(payload)), "the node's key", nil
}

func (n *memNode) Files() Files { return n.files }

// memEffects is a carrier that only answers with the time and an empty root.
type memEffects struct {
	gov.Effects // nil: what these tests do not use
	node        *memNode
}

func (*memEffects) Root() (ledger.Digest, error) { return ledger.Digest{1}, nil }
func (*memEffects) Now() time.Time               { return time.Now() }

// put writes to the node's store outside any request.
func (n *memNode) put(t testing.TB, write func(tx *kv.Tx)) TxID {
	t.Helper()
	tx := n.Begin()
	write(tx)
	id, err := n.Submit(t.Context(), tx, Submission{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open makes the service Open and this node endorsed, as genesis and governance do.
func (n *memNode) open(t testing.TB) {
	t.Helper()
	n.put(t, func(tx *kv.Tx) {
		count := uint64(0)
		must(t, tables.ServiceInfo.Put(tx, tables.Service{Status: tables.ServiceOpen, Cert: "cert", CreateTxID: "2.1", RecoveryCount: &count}))
		must(t, tables.ServiceConfig.Put(tx, tables.Config{RecoveryThreshold: 1}))
		must(t, tables.NodesEndorsedCertificates.Put(tx, n.info.ID, "cert"))
		must(t, tables.NodesInfo.Put(tx, n.info.ID, tables.Node{
			Status: tables.NodeTrusted, CodeDigest: "ab", Quote: tables.QuoteInfo{Format: tables.QuoteVirtual, Quote: []byte("{}")},
			RPC: map[string]tables.Interface{"primary": {BindAddress: "127.0.0.1:0", PublishedAddress: "127.0.0.1:8000"}},
		}))
	})
}

// person is a key with a self-signed certificate.
type person struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
	id   string
}

func newIdentity(t testing.TB, from, to time.Time) person {
	t.Helper()
	return identityOn(t, elliptic.P384(), from, to)
}

func ecIdentity(t testing.TB) person {
	t.Helper()
	return identityOn(t, elliptic.P256(), time.Now(), time.Now().Add(time.Hour))
}

func identityOn(t testing.TB, curve elliptic.Curve, from, to time.Time) person {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	sum := sha256.Sum256(der)
	return person{key, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), hex.EncodeToString(sum[:])}
}

func validIdentity(t testing.TB) person {
	return newIdentity(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

func (i person) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{i.cert.Raw}, PrivateKey: i.key, Leaf: i.cert}
}

// service is a server on a loopback interface.
type service struct {
	*Server
	node *memNode
	addr string
	self person
	stop func() error
}

// testService starts a server over an open node.
func testService(t testing.TB, edit func(*Config, *InterfaceOptions)) *service {
	t.Helper()
	n := newMemNode()
	n.open(t)
	return serveNode(t, n, edit)
}

func serveNode(t testing.TB, n *memNode, edit func(*Config, *InterfaceOptions)) *service {
	t.Helper()
	self := validIdentity(t)
	cfg := Config{Node: n, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "test"}
	opts := DefaultInterface()
	opts.Name, opts.PublishedAddress = "primary", "127.0.0.1:8000"
	opts.OperatorFeatures = []string{FeatureSnapshotRead, FeatureLedgerChunkRead, FeatureSnapshotCreate}
	opts.TLS = &tls.Config{Certificates: []tls.Certificate{self.tls()}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true}
	if edit != nil {
		edit(&cfg, &opts)
	}
	s, err := New(cfg)
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, opts) }()
	var once sync.Once
	var result error
	stop := func() error {
		once.Do(func() { cancel(); result = <-done })
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &service{Server: s, node: n, addr: ln.Addr().String(), self: self, stop: stop}
}

// client returns an HTTP client, with a certificate when who is not nil.
func (s *service) client(t testing.TB, who *person) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.self.cert)
	cfg := &tls.Config{RootCAs: roots}
	if who != nil {
		cfg.Certificates = []tls.Certificate{who.tls()}
	}
	tr := &http.Transport{TLSClientConfig: cfg, MaxResponseHeaderBytes: 1 << 20}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (s *service) do(t testing.TB, c *http.Client, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+s.addr, strings.NewReader(body))
	must(t, err)
	req.URL.Opaque = path // as it is, without cleaning
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := c.Do(req)
	must(t, err)
	b, err := io.ReadAll(res.Body)
	must(t, err)
	must(t, res.Body.Close())
	return answer{res, string(b)}
}
