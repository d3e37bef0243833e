package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"chancery/server/api"
)

// listener hands accepted connections to an http.Server: counted, capped, wrapped.
type listener struct {
	net.Listener
	in     *iface
	config *tls.Config // nil in the clear
	conns  *connSet
}

// Accept returns the next connection that is within the hard cap and leaves enough file
// descriptors to the rest of the node.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var session *Session
		ok := !takesLast(raw)
		if ok {
			session, ok = l.in.open()
		}
		if !ok {
			_ = raw.Close() // there is nobody to tell
			continue
		}
		c := &conn{Conn: raw, raw: raw, session: session, conns: l.conns}
		if !l.in.opts.HTTP2 {
			c.framing = new(framing)
		}
		session.extend = func() {
			_ = raw.SetReadDeadline(time.Time{}) // fails on a dead connection, which the next read shows
		}
		if l.config != nil {
			c.tls = tls.Server(raw, l.config)
			c.Conn = c.tls
			session.tlsState = c.state
		}
		l.conns.add(c)
		return c, nil
	}
}

// conn is one client connection. It runs the TLS handshake on the first read, under
// its own deadline; bounds each write; and puts CCF's answers in the place of those
// that net/http writes by itself when a request does not parse.
type conn struct {
	net.Conn // the TLS connection, or raw
	raw      net.Conn
	tls      *tls.Conn // nil in the clear
	session  *Session
	conns    *connSet

	framing  *framing // of HTTP/1.1; nil over HTTP/2
	ahead    []byte   // to be read before anything else comes from the client
	fragment []byte   // what was read last
	wrong    string   // what framing found in it: written by Read, before the answer to it
	refusal  string   // what net/http is still to read of malformed

	shake sync.Once
	ready atomic.Bool
	begun atomic.Bool // a request has begun to arrive
	ended sync.Once
}

// handshake runs the TLS handshake once.
func (c *conn) handshake() bool {
	c.shake.Do(func() {
		if c.tls != nil {
			ctx, cancel := context.WithTimeout(context.Background(), c.session.in.opts.HandshakeTimeout)
			defer cancel()
			if err := c.tls.HandshakeContext(ctx); err != nil {
				return
			}
		}
		c.ready.Store(true)
	})
	return c.ready.Load()
}

// Read reads plaintext. A failed handshake reads as a client that went away.
func (c *conn) Read(p []byte) (int, error) {
	if !c.handshake() {
		return 0, io.EOF
	}
	if c.wrong != "" {
		return c.refuse(p)
	}
	if c.framing == nil {
		return c.Conn.Read(p)
	}
	for {
		n, err := c.receive(p)
		if n == 0 {
			return n, err
		}
		var passed int
		if passed, c.wrong = c.framing.feed(p[:n]); c.wrong != "" {
			c.fragment = bytes.Clone(c.fragment) // net/http reads malformed into its place
			if c.refusal = malformed; passed == 0 {
				return c.refuse(p)
			}
			return passed, nil
		}
		if passed < n {
			c.ahead = slices.Concat([]byte(hostField), p[passed:n], c.ahead)
			if err == nil && passed == 0 {
				continue
			}
		}
		return passed, err
	}
}

// receive reads what is ahead, or comes next.
func (c *conn) receive(p []byte) (n int, err error) {
	if len(c.ahead) > 0 {
		n = copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err = c.Conn.Read(p)
	c.fragment = p[:n] // until the next read, which is after the answer to what is wrong with this one
	return n, err
}

// malformed is a line that no request has, and the end of a header section.
const malformed = "\x00\r\n\r\n"

// refuse makes net/http refuse what it is reading, with 400: it reads malformed, then
// the end of the connection.
func (c *conn) refuse(p []byte) (int, error) {
	if c.refusal == "" {
		return 0, io.EOF
	}
	n := copy(p, c.refusal)
	c.refusal = c.refusal[n:]
	return n, nil
}

// Write writes plaintext; a client that does not take a piece of it within the idle time
// is cut off.
func (c *conn) Write(p []byte) (n int, err error) {
	if !c.ready.Load() {
		return 0, io.ErrClosedPipe
	}
	if status, text, ok := ownError(p); ok {
		if _, err := c.writePiece(c.session.in.parserAnswer(status, text, c.wrong, c.fragment)); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	for len(p) > 0 && err == nil {
		var took int
		took, err = c.writePiece(p[:min(len(p), pacedPiece)])
		n += took
		p = p[took:]
	}
	return n, err
}

func (c *conn) writePiece(p []byte) (int, error) {
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.session.in.opts.patience())); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// CloseWrite tells the client that nothing more comes, so that it can still read what
// was sent while it was sending.
func (c *conn) CloseWrite() error {
	if c.tls != nil {
		_ = c.tls.CloseWrite() // fails before the handshake; the line below ends it then
	}
	if cw, ok := c.raw.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// Close closes the connection and takes it off the count.
func (c *conn) Close() error {
	c.ended.Do(func() {
		c.session.in.closed()
		c.conns.remove(c)
	})
	return c.Conn.Close()
}

// state returns the TLS connection's state, once there is one.
func (c *conn) state() (tls.ConnectionState, bool) {
	if !c.ready.Load() {
		return tls.ConnectionState{}, false
	}
	return c.tls.ConnectionState(), true
}

// ownErrorHeader is what follows the status line of every answer that net/http writes
// to a connection by itself. An endpoint's answer never has this form: it carries a
// content-length.
const ownErrorHeader = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// ownError recognises an answer of net/http's own, and returns its status and text.
func ownError(p []byte) (status int, text string, ok bool) {
	const proto = "HTTP/1.1 "
	if len(p) < len(proto)+3 || p[len(proto)] < '4' || !bytes.HasPrefix(p, []byte(proto)) {
		return 0, "", false
	}
	line := bytes.IndexByte(p, '\r')
	if line < 0 || !bytes.HasPrefix(p[line:], []byte(ownErrorHeader)) {
		return 0, "", false
	}
	status, err := strconv.Atoi(string(p[len(proto) : len(proto)+3]))
	return status, string(p[line+len(ownErrorHeader):]), err == nil
}

// parserAnswer counts a request that did not parse and returns the whole answer to it.
// wrong is what framing found, "" where it was net/http that refused; fragment is what
// was read last.
func (in *iface) parserAnswer(status int, text, wrong string, fragment []byte) []byte {
	if wrong != "" && status == http.StatusBadRequest {
		text = wrong
	}
	var res Response
	if status == http.StatusRequestHeaderFieldsTooLarge {
		in.header.Add(1)
		res.setError(api.Errorf(status, api.RequestHeaderTooLarge, "Header fields are too large (max size allowed in total: %d)", in.headerBytes()))
	} else {
		in.parsing.Add(1)
		res.Status = http.StatusBadRequest
		res.Raw(api.TypeText, slices.Concat([]byte("Unable to parse data as a HTTP request. Error message is: "+text+"\nError occurred while parsing fragment:\n"), fragment))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n",
		res.Status, http.StatusText(res.Status), res.Header[api.HeaderContentType], len(res.Body))
	b.Write(res.Body)
	return b.Bytes()
}

// maxHeaderBytes bounds a request's header in memory, whatever count and size allow.
const maxHeaderBytes = 1 << 20

// headerBytes is the bound on a request's whole header.
func (in *iface) headerBytes() int {
	return int(min(in.opts.MaxHeaderSize*in.opts.MaxHeadersCount, max(maxHeaderBytes, 4*in.opts.MaxHeaderSize)))
}

// alpn returns the TLS configuration of an interface. Only its own protocol is
// offered; a client that offers no protocol in common is served without (crypto/tls
// by itself would refuse it, CCF does not).
func alpn(base *tls.Config, proto string) *tls.Config {
	cfg := base.Clone()
	cfg.NextProtos = []string{proto}
	inner := base.GetConfigForClient
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		chosen := base
		if inner != nil {
			c, err := inner(hello)
			if err != nil {
				return nil, err
			}
			if c != nil {
				chosen = c
			}
		}
		c := chosen.Clone()
		c.GetConfigForClient, c.NextProtos = nil, nil
		if slices.Contains(hello.SupportedProtos, proto) {
			c.NextProtos = []string{proto}
		}
		return c, nil
	}
	return cfg
}

// connSet holds the open connections of an interface, to close what is left at the end.
type connSet struct {
	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
}

func newConnSet() *connSet { return &connSet{conns: make(map[*conn]struct{})} }

func (s *connSet) add(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// closeFresh closes the connections on which nothing was ever asked: http.Server would
// wait five seconds for a first request on each.
func (s *connSet) closeFresh() { s.close(func(c *conn) bool { return !c.begun.Load() }) }

// closeAll closes every connection that is still open.
func (s *connSet) closeAll() { s.close(func(*conn) bool { return true }) }

func (s *connSet) close(which func(*conn) bool) {
	s.mu.Lock()
	left := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		if which(c) {
			left = append(left, c)
		}
	}
	s.mu.Unlock()
	for _, c := range left {
		_ = c.Close() // the end of the node; nothing to do about a failing close
	}
}
