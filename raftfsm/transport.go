package raftfsm

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// TransportConfig is what the node-to-node transport is made of.
type TransportConfig struct {
	// Listener is bound to network.node_to_node_interface.
	Listener net.Listener
	// Advertise is the published address, host:port.
	Advertise string
	// TLS returns the mutual TLS 1.3 configuration in force, for both directions; it
	// is asked at every connection, so a renewed certificate is used at once.
	TLS func() *tls.Config
	// LocalAddr is where outgoing sockets are bound (CCF's node_client_interface), nil for any.
	LocalAddr *net.TCPAddr
	// Timeout bounds the TLS handshake and each Raft message.
	Timeout time.Duration
	Now     func() time.Time
	Log     *slog.Logger
}

// NewTransport carries Raft's messages over mutual TLS between nodes.
func NewTransport(cfg TransportConfig) (*raft.NetworkTransport, error) {
	addr, err := net.ResolveTCPAddr("tcp", cfg.Advertise)
	if err != nil {
		return nil, fmt.Errorf("node-to-node published address %q: %w", cfg.Advertise, err)
	}
	layer := &tlsLayer{cfg: cfg, addr: addr}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: layer, MaxPool: 3, MaxRPCsInFlight: 2, Timeout: cfg.Timeout, Logger: newRaftLogger(cfg.Log),
	}), nil
}

// tlsLayer is Raft's stream layer.
type tlsLayer struct {
	cfg  TransportConfig
	addr net.Addr
}

// Accept returns the next connection; its handshake runs when Raft first reads,
// under a deadline, so that a silent peer holds up nobody else.
func (l *tlsLayer) Accept() (net.Conn, error) {
	c, err := l.cfg.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(l.cfg.Now().Add(l.cfg.Timeout)); err != nil {
		return nil, fmt.Errorf("bounding a handshake: %w", err)
	}
	return &inbound{Conn: tls.Server(c, l.cfg.TLS())}, nil
}

// inbound lifts the handshake's deadline once the handshake is done.
type inbound struct {
	*tls.Conn
	done bool // owned by the reading goroutine
}

func (c *inbound) Read(p []byte) (int, error) {
	if !c.done {
		if err := c.Handshake(); err != nil {
			return 0, err
		}
		c.done = true
		if err := c.SetDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

// Dial connects to a peer and completes the handshake within the timeout.
func (l *tlsLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: l.cfg.TLS()}
	if l.cfg.LocalAddr != nil {
		d.NetDialer.LocalAddr = l.cfg.LocalAddr
	}
	c, err := d.DialContext(ctx, "tcp", string(address))
	if err != nil {
		return nil, fmt.Errorf("connecting to node at %s: %w", address, err)
	}
	return c, nil
}

func (l *tlsLayer) Close() error   { return l.cfg.Listener.Close() }
func (l *tlsLayer) Addr() net.Addr { return l.addr }
