package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"chancery/attest"
	"chancery/internal/identity"
	"chancery/server/api"
)

// Attestation makes a client prove of each node on what it runs, before anything else
// is sent to it.
type Attestation struct {
	// Verifier says what evidence claims: attest/platform's. Required.
	Verifier attest.Verifier
	// Policy says which claims are trusted. Required.
	Policy attest.Policy
}

// ErrNotAttested means that a node's evidence is not what Config.Attest asks for.
// Nothing was sent to the node but the request for its evidence.
var ErrNotAttested = fmt.Errorf("%w: the node is not attested", ErrUntrusted)

// attestTimeout bounds the handshake with a node and its attestation.
const attestTimeout = 2 * dialTimeout

// maxQuote bounds a node's answer about its evidence, in bytes.
const maxQuote = 1 << 20

// attestedDial returns a function that dials, shakes hands and has the node at the other
// end attested. A node's key is attested once: the key is what the evidence is about,
// and the handshake proves that the node has it.
func (c *Client) attestedDial(t *http.Transport) dialFunc {
	var mu sync.Mutex
	attested := map[[32]byte]bool{}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, attestTimeout)
		defer cancel()
		conn, key, err := handshake(ctx, t, network, address)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		known := attested[key]
		mu.Unlock()
		if known {
			return conn, nil
		}
		if err := c.attest(ctx, conn, key); err != nil {
			return nil, closing(conn, fmt.Errorf("%w: %w", ErrNotAttested, err))
		}
		mu.Lock()
		attested[key] = true
		mu.Unlock()
		return conn, nil
	}
}

// handshake dials and shakes hands as t would, and returns the digest of the key that
// the node has proven.
func handshake(ctx context.Context, t *http.Transport, network, address string) (*tls.Conn, [32]byte, error) {
	raw, err := t.DialContext(ctx, network, address)
	if err != nil {
		return nil, [32]byte{}, err
	}
	conf := t.TLSClientConfig.Clone()
	if conf.ServerName == "" {
		if conf.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, [32]byte{}, closing(raw, err)
		}
	}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, [32]byte{}, closing(raw, err)
	}
	key, err := identity.KeyDigest(conn.ConnectionState().PeerCertificates[0].PublicKey)
	if err != nil {
		return nil, key, closing(conn, err)
	}
	return conn, key, nil
}

func closing(conn net.Conn, err error) error {
	_ = conn.Close() // err says what is wrong
	return err
}

// attest asks the node at the other end of a connection for its evidence, and judges it.
func (c *Client) attest(ctx context.Context, conn *tls.Conn, key [32]byte) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()
	q, err := askQuote(conn)
	if err != nil {
		return fmt.Errorf("asking for its evidence: %w", err)
	}
	e, err := Evidence(q)
	if err != nil {
		return err
	}
	_, err = attest.Check(ctx, c.cfg.Attest.Verifier, e, c.cfg.Attest.Policy, key)
	return err
}

// askQuote sends one request over a connection and reads its answer, to the last byte:
// the connection goes on to be used.
func askQuote(conn *tls.Conn) (*api.Quote, error) {
	req, err := http.NewRequest(http.MethodGet, "https://"+conn.ConnectionState().ServerName+"/node/quotes/self", nil)
	if err != nil {
		return nil, err
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxQuote+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxQuote:
		return nil, fmt.Errorf("more than %d bytes", maxQuote)
	case resp.StatusCode != http.StatusOK:
		return nil, newError(req.Method, req.URL.Path, &Response{Status: resp.StatusCode, Header: resp.Header, Body: body})
	case r.Buffered() > 0 || resp.Close:
		return nil, fmt.Errorf("the node does not keep the connection as it was")
	}
	q := new(api.Quote)
	if err := json.Unmarshal(body, q); err != nil {
		return nil, err
	}
	return q, nil
}

// Evidence returns the evidence that a node shows at /node/quotes/self.
func Evidence(q *api.Quote) (attest.Evidence, error) {
	e := attest.Evidence{Format: attest.Format(q.Format)}
	var uvm string
	if q.UVMEndorsements != nil {
		uvm = *q.UVMEndorsements
	}
	for _, f := range []struct {
		name, text string
		into       *[]byte
	}{{"raw", q.Raw, &e.Quote}, {"endorsements", q.Endorsements, &e.Endorsements}, {"uvm_endorsements", uvm, &e.UVMEndorsements}} {
		var err error
		if *f.into, err = base64.StdEncoding.DecodeString(f.text); err != nil {
			return e, fmt.Errorf("%w: %s of the evidence: %w", ErrBadAnswer, f.name, err)
		}
	}
	if q.UVMEndorsements == nil {
		e.UVMEndorsements = nil // absent, not empty
	}
	return e, nil
}

// Quote fetches the evidence of the first of the client's nodes, over a connection of its
// own, and returns with it the SHA-256 of the public key that the node has proven in the
// handshake: what the evidence must be about. Nothing of it is verified.
func (c *Client) Quote(ctx context.Context) (*api.Quote, [32]byte, error) {
	t := c.transport()
	t.DialTLSContext = nil
	address := c.nodes[0].Host
	if c.nodes[0].Port() == "" {
		address = net.JoinHostPort(c.nodes[0].Hostname(), "443")
	}
	conn, key, err := handshake(ctx, t, "tcp", address)
	if err != nil {
		return nil, key, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()
	q, err := askQuote(conn)
	return q, key, err
}
