package raftfsm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	"chancery/internal/identity"
	"chancery/raftfsm"
)

// authority issues node certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	pem, err := identity.SelfSignedService(a.key, subject(t, "CN=Service"), valid(t))
	check(t, err)
	a.cert, err = identity.ParseCertificate(pem)
	check(t, err)
	return a
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	return k
}

func subject(t *testing.T, s string) []byte {
	t.Helper()
	der, err := identity.ParseSubject(s)
	check(t, err)
	return der
}

func valid(t *testing.T) identity.Validity {
	t.Helper()
	v, err := identity.ValidFor(time.Now().UTC().Truncate(time.Second).Add(-time.Minute), 1)
	check(t, err)
	return v
}

// peer is one node's end of the network.
type peer struct {
	*raftfsm.Peers
	id, address string
	raft, other *raftfsm.Stream
}

// newPeer starts a node's network. It believes the certificates of trusts, and shows one
// that by issued.
func newPeer(t *testing.T, by, trusts *authority, edits ...func(*raftfsm.PeersConfig)) *peer {
	t.Helper()
	key := newKey(t)
	csr, err := identity.NewRequest(key, subject(t, "CN=Node"), nil)
	check(t, err)
	pem, err := identity.EndorseNode(csr, by.key, by.cert, valid(t))
	check(t, err)
	cert, err := identity.TLSCertificate(pem, key)
	check(t, err)
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, InsecureSkipVerify: true,
		Certificates: []tls.Certificate{*cert}, SessionTicketsDisabled: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			shown, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			return identity.IssuedBy(shown, trusts.cert)
		},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &peer{address: ln.Addr().String()}
	p.id, err = identity.KeyID(key.Public())
	check(t, err)
	c := raftfsm.PeersConfig{
		Listener: ln, Advertise: p.address, TLS: func() *tls.Config { return config },
		Timeout: time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	for _, edit := range edits {
		edit(&c)
	}
	p.Peers, err = raftfsm.NewPeers(c)
	check(t, err)
	p.raft, p.other = p.Stream(raftfsm.ProtocolRaft), p.Stream("other")
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the network of a node: %v", err)
		}
	})
	return p
}

// echo answers each connection of a stream with what comes, after the stream's name.
func echo(s *raftfsm.Stream, name string) {
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.WriteString(c, name); err == nil {
					_, _ = io.Copy(c, c) // until the other end is gone
				}
			}()
		}
	}()
}

func TestPeers(t *testing.T) {
	service := newAuthority(t)
	a, b := newPeer(t, service, service), newPeer(t, service, service)
	echo(b.raft, "raft")
	echo(b.other, "misc")
	for _, tt := range []struct {
		stream *raftfsm.Stream
		want   string
	}{{a.raft, "raft"}, {a.other, "misc"}} {
		c, err := tt.stream.DialContext(t.Context(), b.address)
		check(t, err)
		got := make([]byte, len(tt.want)+4)
		_, err = io.WriteString(c, "ping")
		check(t, err)
		_, err = io.ReadFull(c, got)
		check(t, err)
		if want := tt.want + "ping"; string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
		// Cut ends it for both ends, and leaves the connections of other nodes.
		b.Cut(func(id string) bool { return id == "another" })
		_, err = io.WriteString(c, "ping")
		check(t, err)
		_, err = io.ReadFull(c, got[:4])
		check(t, err)
		b.Cut(func(id string) bool { return id == a.id })
		check(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		if _, err = c.Read(got); err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("reading from a node that cut the connection: %v", err)
		}
		check(t, c.Close())
	}
	if !a.Reachable(t.Context(), b.address, b.id) {
		t.Error("a node that is there is not reachable")
	}
	if a.Reachable(t.Context(), b.address, a.id) {
		t.Error("a node is reachable under another's id")
	}
	if a.Reachable(t.Context(), "127.0.0.1:1", b.id) {
		t.Error("a node is reachable where none is")
	}
}

// TestPeersRefuse sends what is no node of the service to the node-to-node address: it
// gets nothing, and nodes are served as before.
func TestPeersRefuse(t *testing.T) {
	service, foreign := newAuthority(t), newAuthority(t)
	a, b := newPeer(t, service, service), newPeer(t, service, service)
	echo(b.raft, "raft")
	stranger := newPeer(t, foreign, foreign)
	credulous := newPeer(t, foreign, service) // would believe b, and is not believed
	for name, p := range map[string]*peer{"another service": stranger, "another service's certificate": credulous} {
		if p.Reachable(t.Context(), b.address, b.id) && connected(p, b) {
			t.Errorf("%s is served", name)
		}
	}
	plain, err := tls.Dial("tcp", b.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{string(raftfsm.ProtocolRaft)}})
	if err == nil { // in TLS 1.3 a client learns with its first read
		_, err = plain.Read(make([]byte, 1))
		_ = plain.Close()
	}
	if err == nil {
		t.Error("a client without a certificate is served")
	}
	junk := make([]byte, 4096)
	if _, err := rand.Read(junk); err != nil {
		t.Fatal(err)
	}
	for _, what := range [][]byte{junk, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0x16, 3, 1, 0xff, 0xff}, 100), nil} {
		c, err := net.Dial("tcp", b.address)
		check(t, err)
		defer c.Close() // the last one stays silent
		_, err = c.Write(what)
		check(t, err)
	}
	if !connected(a, b) {
		t.Error("a node of the service is not served any more")
	}
}

// connected says whether a node hears from another one over Raft's stream.
func connected(a, b *peer) bool {
	c, err := a.raft.Dial(raft.ServerAddress(b.id+"@"+b.address), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_, err = io.ReadFull(c, make([]byte, 4))
	return err == nil
}

// TestPeersCross has two nodes connect to each other at once, again and again: both
// connections live.
func TestPeersCross(t *testing.T) {
	service := newAuthority(t)
	a, b := newPeer(t, service, service), newPeer(t, service, service)
	echo(a.raft, "raft")
	echo(b.raft, "raft")
	for range 50 {
		var both errgroup.Group
		for _, way := range [][2]*peer{{a, b}, {b, a}} {
			both.Go(func() error {
				if !connected(way[0], way[1]) {
					return fmt.Errorf("%s does not hear from %s", way[0].id, way[1].id)
				}
				return nil
			})
		}
		check(t, both.Wait())
	}
}

// TestPinned leads messages for one node to another of the same service: they are not
// delivered.
func TestPinned(t *testing.T) {
	service := newAuthority(t)
	a, b, c := newPeer(t, service, service), newPeer(t, service, service), newPeer(t, service, service)
	echo(b.raft, "raft")
	from := a.NewTransport()
	defer func() { check(t, from.Close()) }()
	to := c.NewTransport()
	defer func() { check(t, to.Close()) }()
	go func() {
		for rpc := range to.Consumer() {
			rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
		}
	}()
	ask := func(id, address string) (granted bool, err error) {
		var resp raft.RequestVoteResponse
		err = from.RequestVote(raft.ServerID(id), raft.ServerAddress(address), &raft.RequestVoteRequest{}, &resp)
		return resp.Granted, err
	}
	if granted, err := ask(c.id, c.address); err != nil || !granted {
		t.Errorf("a message to a node at its address: %t, %v", granted, err)
	}
	if granted, err := ask(b.id, c.address); err == nil || granted {
		t.Errorf("a message to a node at another's address: %t, %v", granted, err)
	}
}

// TestPeersStalled: a Raft message that begins and does not end is given up, and so is one
// node's connection too many; a connection that rests between messages is not.
func TestPeersStalled(t *testing.T) {
	service := newAuthority(t)
	a := newPeer(t, service, service)
	b := newPeer(t, service, service, func(c *raftfsm.PeersConfig) { c.Timeout = 200 * time.Millisecond })
	echo(b.raft, "")
	dial := func() net.Conn {
		t.Helper()
		c, err := a.raft.DialContext(t.Context(), b.address)
		check(t, err)
		check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		return c
	}
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "ping"); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 4))
		return err
	}
	resting := dial()
	defer resting.Close()
	check(t, ask(resting))

	silent := newPeer(t, service, service, func(c *raftfsm.PeersConfig) { c.Timeout = 200 * time.Millisecond })
	ended := make(chan error, 1)
	go func() { // a reader that answers nothing, as in the middle of a message
		c, err := silent.raft.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, c)
		}
		ended <- err
	}()
	c, err := a.raft.DialContext(t.Context(), silent.address)
	check(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "half a message")
	check(t, err)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("a message that does not end is awaited for ever")
	}
	if err := ask(resting); err != nil { // it has rested as long
		t.Errorf("a connection that rested: %v", err)
	}

	const many = 40
	conns := []net.Conn{resting}
	for range many {
		c := dial()
		defer c.Close()
		check(t, ask(c))
		conns = append(conns, c)
	}
	served := 0
	for _, c := range conns {
		if ask(c) == nil {
			served++
		}
	}
	if served != 32 || ask(resting) == nil {
		t.Errorf("%d connections of one node are served", served)
	}
}
