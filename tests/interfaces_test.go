package tests

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInterfaces configures a node with five interfaces, each in its own way, and reaches
// every limit that the configuration sets.
func TestInterfaces(t *testing.T) {
	s := prepared(t)
	s.configure(func(c map[string]any) {
		c["idle_connection_timeout"] = "3s"
		c["output_files"] = map[string]any{"rpc_addresses_file": "rpc.json"}
		interfaces := c["network"].(map[string]any)["rpc_interfaces"].(map[string]any)
		for name, about := range map[string]string{
			"node":   `{"endorsement": {"authority": "Node"}}`,
			"clear":  `{"endorsement": {"authority": "Unsecured"}, "accepted_endpoints": ["/node/(state|version)"]}`,
			"two":    `{"app_protocol": "HTTP2"}`,
			"narrow": `{"max_open_sessions_soft": 2, "max_open_sessions_hard": 3, "http_configuration": {"max_body_size": "1KB", "max_header_size": "200B", "max_headers_count": 5}, "accepted_endpoints": ["/app/.*", "/node/state", "/node/ledger_chunk"]}`,
			"closed": `{"accepted_endpoints": []}`,
		} {
			var i map[string]any
			if err := json.Unmarshal([]byte(about), &i); err != nil {
				t.Fatal(err)
			}
			i["bind_address"] = "127.0.0.1:0"
			interfaces[name] = i
		}
	})
	n := s.start()
	c := s.client()
	defer c.Close()
	n.open(c)
	at := s.addresses()

	t.Run("authorities", func(t *testing.T) { s.authorities(t, at) })
	t.Run("clear", func(t *testing.T) {
		for path, want := range map[string]int{"/node/state": 200, "/node/version": 200, "/node/network": 503, "/app/commit": 503} {
			resp, err := http.Get("http://" + at["clear"] + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
			}
		}
	})
	t.Run("limits", func(t *testing.T) { s.limits(t, at["narrow"]) })
	t.Run("sessions", func(t *testing.T) { s.caps(t, at["narrow"]) })
	t.Run("nothing is accepted", func(t *testing.T) {
		if status, body := s.ask(t, at["closed"], "GET /node/state HTTP/1.1\r\nhost: x\r\n\r\n"); status != 503 || body != "" {
			t.Errorf("%d %q", status, body)
		}
	})
	t.Run("idle", func(t *testing.T) {
		conn := s.dialTLS(t, at["primary_rpc_interface"], nil)
		from := time.Now()
		if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(from) > 10*time.Second {
			t.Errorf("an idle session ends with %v after %v", err, time.Since(from))
		}
	})
	n.stop()
}

// TestTakenPort starts a node on a port that somebody else has: it ends and says which.
func TestTakenPort(t *testing.T) {
	s := prepared(t)
	ln, err := net.Listen("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	n := s.start()
	if code := n.await(15 * time.Second); code != 1 || !strings.Contains(n.log(), "network.rpc_interfaces.primary_rpc_interface: listen tcp 127.0.0.1:"+s.port) {
		t.Errorf("exit code %d\n%s", code, n.log())
	}
}

// addresses reads where the interfaces are.
func (s *sandbox) addresses() map[string]string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.home(), "rpc.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var at map[string]string
	if err := json.Unmarshal(text, &at); err != nil || len(at) != 6 {
		s.t.Fatalf("rpc_addresses_file: %s (%v)", text, err)
	}
	return at
}

// certificate reads a certificate of the sandbox.
func (s *sandbox) certificate(path ...string) *x509.Certificate {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{s.dir, "workspace"}, path...)...))
	if err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// dialTLS connects; what the server shows is left to the caller to judge.
func (s *sandbox) dialTLS(t *testing.T, address string, edit func(*tls.Config)) *tls.Conn {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true}
	if edit != nil {
		edit(cfg)
	}
	conn, err := tls.Dial("tcp", address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// authorities looks at the certificate that each interface shows, and at what it speaks.
func (s *sandbox) authorities(t *testing.T, at map[string]string) {
	service, own := s.certificate("sandbox_common", "service_cert.pem"), s.certificate("sandbox_0", "nodecert.pem")
	for _, name := range []string{"primary_rpc_interface", "two", "narrow"} {
		shown := s.dialTLS(t, at[name], nil).ConnectionState().PeerCertificates[0]
		if err := shown.CheckSignatureFrom(service); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if shown := s.dialTLS(t, at["node"], nil).ConnectionState().PeerCertificates[0]; !bytes.Equal(shown.Raw, own.Raw) {
		t.Errorf("node: %v is not the node's own certificate", shown.Subject)
	}
	for name, want := range map[string]string{"primary_rpc_interface": "http/1.1", "two": "h2"} {
		both := func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }
		if got := s.dialTLS(t, at[name], both).ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("%s speaks %q, want %q", name, got, want)
		}
	}
	for name, address := range at {
		if name == "clear" {
			continue
		}
		old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		if conn, err := tls.Dial("tcp", address, old); err == nil {
			conn.Close()
			t.Errorf("%s speaks TLS 1.1", name)
		}
	}
}

// ask sends one request over a connection of its own.
func (s *sandbox) ask(t *testing.T, address, request string) (int, string) {
	t.Helper()
	return askOver(t, s.dialTLS(t, address, nil), request)
}

func askOver(t *testing.T, conn net.Conn, request string) (int, string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// limits reaches what http_configuration and accepted_endpoints set.
func (s *sandbox) limits(t *testing.T, address string) {
	head := func(path, fields string) string { return "GET " + path + " HTTP/1.1\r\nhost: x\r\n" + fields + "\r\n" }
	long := strings.Repeat("x", 201)
	for _, tt := range []struct {
		name, request string
		status        int
		says          string
	}{
		{"body within", "POST /app/no/such HTTP/1.1\r\nhost: x\r\ncontent-length: 1024\r\n\r\n" + strings.Repeat("x", 1024), 404, "ResourceNotFound"},
		{"body beyond", "POST /app/no/such HTTP/1.1\r\nhost: x\r\ncontent-length: 1025\r\n\r\n", 413, "HTTP request body is too large (max size allowed: 1KB)"},
		{"field within", head("/node/state", "x: "+long[1:]+"\r\n"), 200, ""},
		{"field beyond", head("/node/state", "x: "+long+"\r\n"), 431, "Header value for 'x' is too large (max size allowed: 200B)"},
		{"as many fields", head("/node/state", "a: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n"), 200, ""},
		{"one field more", head("/node/state", "a: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1\r\n"), 431, "Too many headers (max number allowed: 5)"},
		{"another endpoint", head("/node/network", ""), 503, ""},
		{"operator feature", head("/node/ledger_chunk?since=1", ""), 404, ""},
	} {
		status, body := s.ask(t, address, tt.request)
		if status != tt.status || !strings.Contains(body, tt.says) || status/100 == 5 && body != "" || tt.name == "operator feature" && body != "" {
			t.Errorf("%s: %d %s", tt.name, status, body)
		}
		s.awaitNoSession(t, "narrow")
	}
	// Where the feature is on there is a body, whether the chunk is committed or not.
	if status, body := s.ask(t, "127.0.0.1:"+s.port, head("/node/ledger_chunk?since=1", "")); status == 404 && body == "" {
		t.Error("the feature is off where it is configured")
	}
}

// awaitNoSession waits until an interface has no session: those that were closed count
// until the node has seen it.
func (s *sandbox) awaitNoSession(t *testing.T, name string) {
	t.Helper()
	until(t, "the sessions of "+name+" are closed", func() bool {
		_, body := s.ask(t, "127.0.0.1:"+s.port, "GET /node/metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
		var m struct {
			Sessions struct {
				Interfaces map[string]struct {
					Active uint64 `json:"active"`
				} `json:"interfaces"`
			} `json:"sessions"`
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		return m.Sessions.Interfaces[name].Active == 0
	})
}

// caps fills an interface up to its soft and its hard cap.
func (s *sandbox) caps(t *testing.T, address string) {
	s.awaitNoSession(t, "narrow")
	const get = "GET /node/state HTTP/1.1\r\nhost: x\r\n\r\n"
	var conns []net.Conn
	for i := range 3 {
		conn := s.dialTLS(t, address, nil)
		conns = append(conns, conn)
		if i == 2 { // beyond the soft cap; asked last, since the answer ends the session
			break
		}
		if status, body := askOver(t, conn, get); status != 200 {
			t.Fatalf("session %d: %d %s", i, status, body)
		}
	}
	raw, err := net.Dial("tcp", address) // beyond the hard cap
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := raw.Read(make([]byte, 1)); err == nil {
		t.Errorf("beyond the hard cap: %d bytes", n)
	}
	if status, body := askOver(t, conns[2], get); status != 503 || !strings.Contains(body, "SessionCapExhausted") {
		t.Errorf("beyond the soft cap: %d %s", status, body)
	}
	if status, body := askOver(t, conns[0], get); status != 200 {
		t.Errorf("the first session: %d %s", status, body)
	}
}
