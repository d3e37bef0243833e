package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/server/api"
)

// raw sends bytes over a fresh TLS connection and returns the answer.
func (s *service) raw(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	c := s.dial(t)
	defer c.Close()
	go io.WriteString(c, request) // the node may answer before it has read all
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return res, string(b)
}

func (s *service) dial(t *testing.T) *tls.Conn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.self.cert)
	c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: roots})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *service) sessions(t *testing.T) api.Sessions {
	t.Helper()
	var m api.Metrics
	a := s.do(t, s.client(t, nil), "GET", "/node/metrics", "")
	must(t, json.Unmarshal([]byte(a.body), &m))
	return m.Sessions
}

// TestLimits reaches each bound on a request, and checks answer, counter and the
// end of the connection.
func TestLimits(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) {
		o.MaxBodySize, o.MaxHeaderSize, o.MaxHeadersCount = 1<<20, 16<<10, 256
	})
	head := func(method, path, rest string) string {
		return method + " " + path + " HTTP/1.1\r\nhost: x\r\n" + rest + "\r\n"
	}
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "x-%d: 1\r\n", i)
	}
	chunked := head("PUT", "/app/rec/a", "transfer-encoding: chunked\r\n") + strings.Repeat("10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", 17) + "0\r\n\r\n"
	tests := []struct {
		name, request string
		status        int
		code, message string
		count         func(api.SessionErrors) uint64
	}{
		{"body over", head("PUT", "/app/rec/a", fmt.Sprintf("content-length: %d\r\n", 1<<20+1)) + strings.Repeat("x", 1<<20+1), 413, "RequestBodyTooLarge", "HTTP request body is too large (max size allowed: 1MB)", func(e api.SessionErrors) uint64 { return e.RequestTooLarge }},
		{"body announced", head("PUT", "/no/such", "content-length: 99999999999\r\n"), 413, "RequestBodyTooLarge", "HTTP request body is too large (max size allowed: 1MB)", func(e api.SessionErrors) uint64 { return e.RequestTooLarge }},
		{"body in chunks", chunked, 413, "RequestBodyTooLarge", "HTTP request body is too large (max size allowed: 1MB)", func(e api.SessionErrors) uint64 { return e.RequestTooLarge }},
		{"header value", head("GET", "/node/state", "x-big: "+strings.Repeat("x", 17000)+"\r\n"), 431, "RequestHeaderTooLarge", "Header value for 'x-big' is too large (max size allowed: 16KB)", func(e api.SessionErrors) uint64 { return e.RequestHeaderTooLarge }},
		{"header key", head("GET", "/node/state", strings.Repeat("x", 17000)+": 1\r\n"), 431, "RequestHeaderTooLarge", "", func(e api.SessionErrors) uint64 { return e.RequestHeaderTooLarge }},
		{"many headers", head("GET", "/node/state", many.String()), 431, "RequestHeaderTooLarge", "Too many headers (max number allowed: 256)", func(e api.SessionErrors) uint64 { return e.RequestHeaderTooLarge }},
		{"headers in all", head("GET", "/node/state", strings.Repeat("x: "+strings.Repeat("y", 10000)+"\r\n", 200)), 431, "RequestHeaderTooLarge", "", func(e api.SessionErrors) uint64 { return e.RequestHeaderTooLarge }},
		{"no HTTP", "hello\r\n\r\n", 400, "", "", func(e api.SessionErrors) uint64 { return e.Parsing }},
		{"bad version", "GET / HTTP/9.9\r\n\r\n", 400, "", "", func(e api.SessionErrors) uint64 { return e.Parsing }},
		{"bad header", "GET /node/state HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", 400, "", "", func(e api.SessionErrors) uint64 { return e.Parsing }},
		{"two lengths", head("PUT", "/app/rec/a", "content-length: 1\r\ncontent-length: 2\r\n") + "xx", 400, "", "", func(e api.SessionErrors) uint64 { return e.Parsing }},
		{"bad encoding", head("PUT", "/app/rec/a", "transfer-encoding: gzip\r\n"), 400, "", "", func(e api.SessionErrors) uint64 { return e.Parsing }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.count(s.sessions(t).Interfaces["primary"].Errors)
			res, body := s.raw(t, tt.request)
			if res.StatusCode != tt.status || !res.Close {
				t.Fatalf("status %d, close %t: %.200s", res.StatusCode, res.Close, body)
			}
			if tt.code == "" {
				if res.Header.Get("content-type") != "text/plain" || !strings.HasPrefix(body, "Unable to parse data as a HTTP request. Error message is: ") {
					t.Errorf("content type %q, body %.200q", res.Header.Get("content-type"), body)
				}
			} else if code, message := errorOf(t, answer{res, body}); code != tt.code || tt.message != "" && message != tt.message {
				t.Errorf("%s %q, want %s %q", code, message, tt.code, tt.message)
			}
			if after := tt.count(s.sessions(t).Interfaces["primary"].Errors); after != before+1 {
				t.Errorf("counter went from %d to %d", before, after)
			}
		})
	}
	if a := s.do(t, s.client(t, nil), "PUT", "/app/rec/a", `{"value":"`+strings.Repeat("x", 1<<20-20)+`"}`); a.StatusCode != 200 {
		t.Errorf("a body at the bound: %d", a.StatusCode)
	}
	if got := s.node.Position().Head.Seqno; got != 4 {
		t.Errorf("head at %d: a refused request wrote", got)
	}
}

// TestRepeatedHeader checks that the first of several fields of a name counts.
func TestRepeatedHeader(t *testing.T) {
	s := recordService(t, nil)
	res, body := s.raw(t, "GET /gov/commit HTTP/1.1\r\nhost: x\r\naccept: application/json\r\naccept: text/html\r\nconnection: close\r\n\r\n")
	if res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestSessionCaps fills an interface up to its soft and hard caps.
func TestSessionCaps(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.MaxSessionsSoft, o.MaxSessionsHard = 2, 3 })
	const get = "GET /node/state HTTP/1.1\r\nhost: x\r\n\r\n"
	ask := func(c net.Conn) (*http.Response, string) {
		t.Helper()
		_, err := io.WriteString(c, get)
		must(t, err)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		b, err := io.ReadAll(res.Body)
		must(t, err)
		return res, string(b)
	}
	first, second := s.dial(t), s.dial(t)
	for _, c := range []net.Conn{first, second} {
		if res, body := ask(c); res.StatusCode != 200 {
			t.Fatalf("within the caps: %d %s", res.StatusCode, body)
		}
	}
	third := s.dial(t)
	// The fourth is beyond the hard cap while the third is open.
	raw, err := net.Dial("tcp", s.addr)
	must(t, err)
	defer raw.Close()
	must(t, raw.SetDeadline(time.Now().Add(10*time.Second)))
	if _, err := raw.Read(make([]byte, 1)); err == nil {
		t.Error("beyond the hard cap: the connection was not closed")
	}
	res, body := ask(third)
	if code, message := errorOf(t, answer{res, body}); res.StatusCode != 503 || !res.Close || code != "SessionCapExhausted" || message != "Service is currently busy and unable to serve new connections" {
		t.Errorf("beyond the soft cap: %d %s %q", res.StatusCode, code, message)
	}
	if res, body := ask(first); res.StatusCode != 200 {
		t.Errorf("the others are served on: %d %s", res.StatusCode, body)
	}
	if peak := s.Server.sessionMetrics().Peak; peak != 3 {
		t.Errorf("peak %d, want 3", peak)
	}
}

// TestAcceptedEndpoints checks the filter of an interface, and that an interface in
// the clear without a filter accepts nothing.
func TestAcceptedEndpoints(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) {
		o.AcceptedEndpoints = []string{"/node/network/nodes/\\{node_id\\}", "/node/s.*"}
	})
	c := s.client(t, nil)
	for path, want := range map[string]int{"/node/state": 200, "/node/network/nodes/x": 404, "/node/network": 503, "/app/commit": 503, "/node/no/such": 404} {
		if a := s.do(t, c, "GET", path, ""); a.StatusCode != want || want == 503 && a.body != "" {
			t.Errorf("%s: %d %q, want %d", path, a.StatusCode, a.body, want)
		}
	}
	clear := recordService(t, func(_ *Config, o *InterfaceOptions) { o.TLS = nil })
	res, err := http.Get("http://" + clear.addr + "/node/state")
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != 503 {
		t.Errorf("in the clear: %d", res.StatusCode)
	}
}

func TestOperatorFeatures(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.OperatorFeatures = nil })
	c := s.client(t, nil)
	for _, q := range []string{"GET /node/ledger_chunk?since=1", "HEAD /node/snapshot", "GET /node/snapshot/x", "POST /node/snapshot:create"} {
		method, path, _ := strings.Cut(q, " ")
		if a := s.do(t, c, method, path, ""); a.StatusCode != 404 || a.body != "" || a.Header.Get("content-type") != "" {
			t.Errorf("%s: %d %q", q, a.StatusCode, a.body)
		}
	}
	if _, err := newInterface(InterfaceOptions{OperatorFeatures: []string{"Everything"}}); err == nil {
		t.Error("an unknown feature was taken")
	}
	if _, err := newInterface(InterfaceOptions{AcceptedEndpoints: []string{"("}}); err == nil {
		t.Error("a broken expression was taken")
	}
}

// TestHTTP2 serves the same endpoints over HTTP/2, and nothing else there.
func TestHTTP2(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.HTTP2 = true })
	c := s.client(t, nil)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	a := s.do(t, c, "PUT", "/app/rec/a", `{"value":"x"}`)
	if a.StatusCode != 200 || a.ProtoMajor != 2 {
		t.Errorf("%d %s over %s", a.StatusCode, a.body, a.Proto)
	}
	if a := s.do(t, c, "GET", "/node/metrics", ""); !strings.Contains(a.body, `"active":1`) {
		t.Errorf("one session: %s", a.body)
	}
	if a := s.do(t, c, "GET", "/node/state", "", "x-big", strings.Repeat("x", 17000)); a.StatusCode != 431 {
		t.Errorf("a large header: %d", a.StatusCode)
	}
	conn := s.dial(t)
	_, err := io.WriteString(conn, "GET /node/state HTTP/1.1\r\nhost: x\r\n\r\n")
	must(t, err)
	must(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	if b, _ := io.ReadAll(conn); strings.Contains(string(b), " 200 ") {
		t.Errorf("HTTP/1.1 on an HTTP/2 interface: %q", b)
	}
}

// TestALPN checks that a client without a protocol in common is served without ALPN.
func TestALPN(t *testing.T) {
	s := recordService(t, nil)
	roots := x509.NewCertPool()
	roots.AddCert(s.self.cert)
	for _, protos := range [][]string{nil, {"http/1.1"}, {"spdy/9"}, {"h2"}} {
		c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: roots, NextProtos: protos})
		if err != nil {
			t.Errorf("%q: %v", protos, err)
			continue
		}
		want := ""
		if len(protos) == 1 && protos[0] == "http/1.1" {
			want = "http/1.1"
		}
		if got := c.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("%q: negotiated %q, want %q", protos, got, want)
		}
		c.Close()
	}
}

// TestSilentClients checks that connections that say nothing, or no TLS, end and harm nobody.
func TestSilentClients(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) {
		o.HandshakeTimeout, o.IdleTimeout = 50*time.Millisecond, 100*time.Millisecond
	})
	for _, first := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01"} {
		c, err := net.Dial("tcp", s.addr)
		must(t, err)
		_, err = io.WriteString(c, first)
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		if b, err := io.ReadAll(c); err != nil || strings.HasPrefix(string(b), "HTTP") {
			t.Errorf("after %q: %q, %v", first, b, err)
		}
		c.Close()
	}
	idle := s.dial(t)
	must(t, idle.SetReadDeadline(time.Now().Add(10*time.Second)))
	if _, err := io.ReadAll(idle); err != nil {
		t.Errorf("an idle session did not end: %v", err)
	}
	e := s.sessions(t).Interfaces["primary"].Errors
	if e != (api.SessionErrors{}) {
		t.Errorf("counted as errors of requests: %+v", e)
	}
}

// TestShutdown checks that a running request is finished, and that Serve returns.
func TestShutdown(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	app := &App{}
	app.Handle("GET", "/slow", ReadOnly, nil, func(_ context.Context, c *Call) error {
		close(entered)
		<-release
		return c.Response.JSON("done")
	})
	s := testService(t, func(c *Config, _ *InterfaceOptions) { c.App = app })
	idle := s.dial(t)
	got := make(chan answer, 1)
	c := s.client(t, nil)
	go func() { got <- s.do(t, c, "GET", "/app/slow", "") }()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	// A reset: the node may close before it has read the last message of the handshake.
	if _, err := io.ReadAll(idle); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an idle session at the end: %v", err)
	}
	close(release)
	if a := <-got; a.StatusCode != 200 || a.body != `"done"` {
		t.Errorf("the running request: %d %s", a.StatusCode, a.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("the listener is still open")
	}
}

func FuzzOwnError(f *testing.F) {
	f.Add([]byte("HTTP/1.1 431 Request Header Fields Too Large" + ownErrorHeader + "431 x"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if status, _, ok := ownError(p); ok && (status < 400 || status > 999) {
			t.Errorf("%q: status %d", p, status)
		}
	})
}
