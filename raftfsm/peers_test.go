package raftfsm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"
)

// TestKeysAreSpent sends over a connection until its keys may not be used any more: it
// ends, and the next one works.
func TestKeysAreSpent(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peers, err := NewPeers(PeersConfig{
		Listener: listener, Advertise: listener.Addr().String(), MaxRecords: 4, Timeout: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		TLS: func() *tls.Config {
			return &tls.Config{
				Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequireAnyClientCert,
				InsecureSkipVerify: true, // the test's two ends are one
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	stream := peers.Stream("test/1")
	go func() {
		for {
			c, err := stream.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	for range 2 {
		c, err := stream.DialContext(t.Context(), listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		// Two small messages and one that takes two records are four.
		for _, size := range []int{1, 1, recordSize + 1} {
			if _, err := c.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, errKeysSpent) {
			t.Errorf("beyond the limit: %v", err)
		}
	}
	peers.mu.Lock()
	defer peers.mu.Unlock()
	if n := len(peers.conns); n > 2 { // the accepting ends may not have seen it yet
		t.Errorf("%d connections are registered", n)
	}
}
