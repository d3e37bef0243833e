package identity

import (
	"bufio"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// station is an interface of a node under test, and what a client of it needs.
type station struct {
	config  *tls.Config
	cert    *Certificate
	service *x509.Certificate
	pool    *x509.CertPool
	issue   func() *x509.Certificate // puts a fresh endorsed certificate in force
}

func newStation(t testing.TB, protocols ...string) *station {
	t.Helper()
	v, err := ValidFor(time.Now().Add(-time.Minute), 2)
	if err != nil {
		t.Fatal(err)
	}
	serviceKey := mustKey(t, elliptic.P384())
	pem, err := SelfSignedService(serviceKey, mustSubject(t, "CN=CCF Service"), v)
	s := &station{cert: new(Certificate), service: mustCert(t, pem, err), pool: x509.NewCertPool()}
	s.pool.AddCert(s.service)
	s.config = ServerTLS(s.cert, protocols...)
	s.issue = func() *x509.Certificate {
		key := mustKey(t, elliptic.P384())
		csr, err := NewRequest(key, mustSubject(t, "CN=CCF Node"), mustNames(t, "iPAddress:127.0.0.1", "dNSName:localhost"))
		if err != nil {
			t.Fatal(err)
		}
		pem, err := EndorseNode(csr, serviceKey, s.service, v)
		node := mustCert(t, pem, err)
		if err := s.cert.Set(pem, key); err != nil {
			t.Fatal(err)
		}
		return node
	}
	return s
}

// link is a handshake's outcome on both sides.
type link struct {
	client, server       *tls.Conn
	clientErr, serverErr error
}

// close drops both ends without TLS's farewell, which a pipe's peer would have
// to read.
func (l link) close() {
	_ = l.client.NetConn().Close()
	_ = l.server.NetConn().Close()
}

// dial runs one handshake over a pipe.
func dial(t testing.TB, server, client *tls.Config) link {
	t.Helper()
	a, b := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	_ = a.SetDeadline(deadline)
	_ = b.SetDeadline(deadline)
	l := link{client: tls.Client(a, client), server: tls.Server(b, server)}
	done := make(chan error, 1)
	go func() {
		err := l.server.Handshake()
		if err != nil {
			_ = b.Close()
		}
		done <- err
	}()
	l.clientErr = l.client.Handshake()
	if l.clientErr != nil {
		_ = a.Close()
	}
	l.serverErr = <-done
	return l
}

func (s *station) client() *tls.Config {
	c := ClientTLS(s.service, nil)
	c.ServerName = "127.0.0.1"
	return c
}

func TestHandshake(t *testing.T) {
	s := newStation(t, "http/1.1")
	node := s.issue()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := s.client()
		c.MinVersion, c.MaxVersion = version, version
		l := dial(t, s.config, c)
		if l.clientErr != nil || l.serverErr != nil {
			t.Fatalf("version %x: %v, %v", version, l.clientErr, l.serverErr)
		}
		state := l.client.ConnectionState()
		if state.Version != version || !state.PeerCertificates[0].Equal(node) {
			t.Errorf("version %x with %s", state.Version, state.PeerCertificates[0].Subject)
		}
		if len(l.server.ConnectionState().PeerCertificates) != 0 {
			t.Error("a client certificate out of nowhere")
		}
		l.close()
	}
}

// TestRefusedHandshakes: what CCF does not speak is not spoken.
func TestRefusedHandshakes(t *testing.T) {
	s := newStation(t, "http/1.1")
	s.issue()
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.0": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 },
		"TLS 1.1": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 },
		"CBC": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		},
		"ChaCha20 under TLS 1.2": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		},
		"another name":    func(c *tls.Config) { c.ServerName = "example.com" },
		"another service": func(c *tls.Config) { _, other := newService(t, elliptic.P384()); c.RootCAs = poolOf(other) },
	} {
		c := s.client()
		change(c)
		l := dial(t, s.config, c)
		if l.clientErr == nil {
			t.Errorf("%s: accepted", name)
		}
		l.close()
	}
}

func poolOf(c *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c)
	return p
}

// TestClientCertificates: any certificate whose key the client holds is let
// through to those who look it up: self-signed, expired, RSA.
func TestClientCertificates(t *testing.T) {
	s := newStation(t, "http/1.1")
	s.issue()
	user, err := NewParticipant("user0", elliptic.P256(), time.Now(), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	expired, err := NewParticipant("old", elliptic.P384(), time.Now().AddDate(-3, 0, 0), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Participant{user, expired} {
		own, err := TLSCertificate(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		checkClientCert(t, s, own)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now()}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &rsaKey.PublicKey, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	checkClientCert(t, s, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: rsaKey})

	// A certificate without its key is refused: possession is proved.
	stolen, err := TLSCertificate(user.Cert, user.Key)
	if err != nil {
		t.Fatal(err)
	}
	stolen.PrivateKey = mustKey(t, elliptic.P256())
	c := ClientTLS(s.service, stolen)
	c.ServerName = "127.0.0.1"
	c.MaxVersion = tls.VersionTLS12 // under 1.3 the client ends before the server judges
	l := dial(t, s.config, c)
	defer l.close()
	if l.serverErr == nil {
		t.Error("a certificate without its key was accepted")
	}
}

// TestHugeClientCertificate shows certificates with more and more names: beyond what
// OpenSSL takes they are refused.
func TestHugeClientCertificate(t *testing.T) {
	s := newStation(t, "http/1.1")
	s.issue()
	key := mustKey(t, elliptic.P256())
	for names, accepted := range map[int]bool{1000: true, 4000: true, 6000: false, 10000: false} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now()}
		for i := range names {
			template.DNSNames = append(template.DNSNames, fmt.Sprintf("name-%d.example.com", i))
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c := ClientTLS(s.service, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
		c.ServerName = "127.0.0.1"
		c.MaxVersion = tls.VersionTLS12 // under 1.3 the client ends before the server judges
		l := dial(t, s.config, c)
		l.close()
		if (l.serverErr == nil) != accepted || !accepted && !errors.Is(l.serverErr, errClientChain) {
			t.Errorf("%d names in %d bytes: %v", names, len(der), l.serverErr)
		}
	}
}

func checkClientCert(t *testing.T, s *station, own *tls.Certificate) {
	t.Helper()
	c := ClientTLS(s.service, own)
	c.ServerName = "127.0.0.1"
	l := dial(t, s.config, c)
	defer l.close()
	if l.serverErr != nil {
		t.Fatalf("client certificate refused: %v", l.serverErr)
	}
	got := l.server.ConnectionState().PeerCertificates
	if len(got) != 1 || CertID(got[0].Raw) != CertID(own.Certificate[0]) {
		t.Errorf("%d client certificates", len(got))
	}
}

// TestALPN: the interface's protocol when the client knows it, none when it
// does not; the handshake never fails for it.
func TestALPN(t *testing.T) {
	for _, c := range []struct {
		server, client []string
		want           string
	}{
		{[]string{"http/1.1"}, []string{"h2", "http/1.1"}, "http/1.1"},
		{[]string{"h2"}, []string{"h2", "http/1.1"}, "h2"},
		{[]string{"http/1.1"}, []string{"h2"}, ""},
		{[]string{"h2"}, []string{"http/1.1"}, ""},
		{[]string{"http/1.1"}, []string{"spdy/1", "x"}, ""},
		{[]string{"http/1.1"}, nil, ""},
		{nil, []string{"h2"}, ""},
	} {
		s := newStation(t, c.server...)
		s.issue()
		client := s.client()
		client.NextProtos = c.client
		l := dial(t, s.config, client)
		if l.clientErr != nil || l.serverErr != nil {
			t.Errorf("%v to %v: %v, %v", c.client, c.server, l.clientErr, l.serverErr)
		} else if got := l.client.ConnectionState().NegotiatedProtocol; got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.client, c.server, got, c.want)
		}
		l.close()
	}
}

// TestCertificateSwap: handshakes fail until there is a certificate; a new one
// serves the next handshake, while a connection under the old one goes on.
func TestCertificateSwap(t *testing.T) {
	s := newStation(t, "http/1.1")
	l := dial(t, s.config, s.client())
	if !errors.Is(l.serverErr, ErrNoCertificate) || l.clientErr == nil {
		t.Errorf("without a certificate: %v, %v", l.serverErr, l.clientErr)
	}
	l.close()

	first := s.issue()
	old := dial(t, s.config, s.client())
	if old.clientErr != nil {
		t.Fatal(old.clientErr)
	}
	defer old.close()
	second := s.issue()
	fresh := dial(t, s.config, s.client())
	if fresh.clientErr != nil {
		t.Fatal(fresh.clientErr)
	}
	defer fresh.close()
	if !old.client.ConnectionState().PeerCertificates[0].Equal(first) ||
		!fresh.client.ConnectionState().PeerCertificates[0].Equal(second) {
		t.Error("a connection has the wrong certificate")
	}
	go func() { _, _ = old.server.Write([]byte("still here\n")) }()
	line, err := bufio.NewReader(old.client).ReadString('\n')
	if err != nil || line != "still here\n" {
		t.Errorf("the old connection: %q, %v", line, err)
	}
}

// TestNoResumption: a client with a session cache never gets to resume.
func TestNoResumption(t *testing.T) {
	s := newStation(t, "http/1.1")
	s.issue()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := s.client()
		c.MaxVersion = version
		c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		for range 3 {
			l := dial(t, s.config, c)
			if l.clientErr != nil {
				t.Fatal(l.clientErr)
			}
			go func() { _, _ = l.server.Write([]byte("x")) }()
			if _, err := l.client.Read(make([]byte, 1)); err != nil { // would take a ticket in
				t.Fatal(err)
			}
			if l.client.ConnectionState().DidResume {
				t.Errorf("version %x resumed", version)
			}
			l.close()
		}
	}
}

func TestTLSCertificateRefuses(t *testing.T) {
	p, err := NewParticipant("x", elliptic.P256(), start, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TLSCertificate(p.Cert, mustKey(t, elliptic.P256())); err == nil || !strings.Contains(err.Error(), "CN=x") {
		t.Errorf("another key: %v", err)
	}
	if err := new(Certificate).Set([]byte("junk"), p.Key); !errors.Is(err, ErrPEM) {
		t.Errorf("junk: %v", err)
	}
}
