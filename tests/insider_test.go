package tests

import (
	"bytes"
	"context"
	"crypto/tls"
	bits "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/client"
	"chancery/internal/identity"
	"chancery/server"
	"chancery/server/api"
)

// What nodes speak to each other, by ALPN.
const overRaft, overForward, overFiles = "chancery-raft/1", "chancery-forward/1", "chancery-files/1"

// insider is somebody who holds the key and the certificate of a node of the service.
type insider struct {
	w    *network
	cert *tls.Certificate
}

// insider takes a node's key and certificate from its key file.
func (w *network) insider(n *netNode) *insider {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "keys.json"))
	must(w.t, err)
	var file struct {
		Key  string `json:"node_key"`
		Cert string `json:"node_certificate"`
	}
	must(w.t, json.Unmarshal(text, &file))
	key, err := identity.ParseECPrivateKey([]byte(file.Key))
	must(w.t, err)
	cert, err := identity.TLSCertificate([]byte(file.Cert), key)
	must(w.t, err)
	return &insider{w, cert}
}

// dial connects to a node as another one does. A node that refuses says so at the first
// read: TLS 1.3 lets a client go first.
func (i *insider) dial(ctx context.Context, to *netNode, protocol string) (net.Conn, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*i.cert}, NextProtos: []string{protocol}}}
	return d.DialContext(ctx, "tcp", "127.0.0.1:"+to.ports[n2n])
}

// forward has a node execute a request as if a backup had forwarded it.
func (i *insider) forward(to *netNode, f *server.Forwarded) (status int, a server.ForwardedAnswer, err error) {
	body, err := json.Marshal(f)
	if err != nil {
		return 0, a, err
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return i.dial(ctx, to, overForward) }}
	ctx, cancel := context.WithTimeout(i.w.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/forward", bytes.NewReader(body))
	if err != nil {
		return 0, a, err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, a, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(data, &a)
	}
	return resp.StatusCode, a, err
}

// withMetrics has each node serve its figures.
func withMetrics(t *testing.T) func(map[string]any) {
	return func(c map[string]any) {
		c["chancery"].(map[string]any)["metrics"] = map[string]any{"bind_address": "127.0.0.1:" + freePort(t)}
	}
}

// figures scrapes a node that was started withMetrics.
func (n *netNode) figures() figures {
	t := n.net.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "config.json"))
	must(t, err)
	var c struct {
		Chancery struct {
			Metrics struct {
				Address string `json:"bind_address"`
			}
		}
	}
	must(t, json.Unmarshal(text, &c))
	f, _ := scrape(t, c.Chancery.Metrics.Address)
	return f
}

// packed is a MessagePack map of some keys and values: numbers, or bytes as they are.
func packed(pairs ...any) []byte {
	out := []byte{0x80 | byte(len(pairs)/2)}
	for i := 0; i < len(pairs); i += 2 {
		key := pairs[i].(string)
		out = append(append(out, 0xa0|byte(len(key))), key...)
		switch v := pairs[i+1].(type) {
		case int:
			out = bits.BigEndian.AppendUint64(append(out, 0xcf), uint64(v))
		case []byte:
			out = append(out, v...)
		}
	}
	return out
}

// TestInsider sends frames of every odd kind over a connection that only a node can have: of
// size 0 and of 4 GB, of no known type, cut off, and a snapshot that never comes. Each
// connection ends, the nodes go on, and neither their memory nor their goroutines have grown
// (row 50 of the fault matrix).
func TestInsider(t *testing.T) {
	w := newNetwork(t, 3, withMetrics(t), func(c map[string]any) { c["client_connection_timeout"] = "500ms" })
	lead, other, victim := w.nodes[0], w.nodes[1], w.nodes[2]
	i := w.insider(other)
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	deep := bytes.Repeat([]byte{0x91}, 1<<20)
	head := func(pairs ...any) []byte { return packed(append([]any{"ProtocolVersion", 3, "Term", 1}, pairs...)...) }
	frames := map[string][]byte{
		"nothing":                    {},
		"type 99":                    {99},
		"type 255, and much":         bytes.Repeat([]byte{255}, 1<<20),
		"a type alone":               {0},
		"no message":                 {0, 0xc0},
		"half a message":             append([]byte{0}, head("Leader", []byte{0xc4, 200, 1, 2, 3})...),
		"a text for a message":       append([]byte{1, 0xdb}, huge...),
		"4 GB of bytes":              append(append([]byte{0}, head("Leader", append([]byte{0xc6}, huge...))...), make([]byte, 4<<20)...),
		"4 G records":                append([]byte{0}, head("Entries", append([]byte{0xdd}, huge...))...),
		"4 G pairs":                  append([]byte{1, 0xdf}, huge...),
		"4 GB in an unknown field":   append([]byte{4}, head("Unknown", append([]byte{0xc6}, huge...))...),
		"a million nested lists":     append([]byte{1}, head("Unknown", deep)...),
		"a snapshot of 2^62 bytes":   append(append([]byte{2}, head("SnapshotVersion", 1, "Size", 1<<62)...), make([]byte, 1<<20)...),
		"a snapshot of -1 byte":      append([]byte{2}, head("SnapshotVersion", 1, "Size", -1)...),
		"an old view's records":      append([]byte{0}, head("PrevLogEntry", 1<<40, "LeaderCommitIndex", 1<<40)...),
		"a heartbeat of an old view": append([]byte{0}, head("Leader", []byte{0xc4, 1, 'x'})...),
	}
	answered := map[string]bool{"nothing": true, "no message": true, "a snapshot of -1 byte": true, "an old view's records": true, "a heartbeat of an old view": true}
	mb := map[*netNode]int{}
	routines := map[*netNode]float64{}
	for _, n := range w.nodes {
		mb[n], routines[n] = residentMB(t, n), n.figures().value(t, "go_goroutines")
	}
	type shot struct {
		name     string
		to       *netNode
		protocol string
		data     []byte
	}
	var shots []shot
	for _, to := range []*netNode{lead, victim} {
		for name, data := range frames {
			shots = append(shots, shot{name, to, overRaft, data})
		}
		for _, protocol := range []string{overForward, overFiles} {
			shots = append(shots,
				shot{"junk", to, protocol, bytes.Repeat([]byte{0, 0xff, '\r', '\n'}, 1<<10)},
				shot{"an announced body", to, protocol, []byte("POST /forward HTTP/1.1\r\nHost: node\r\nContent-Length: 4294967296\r\n\r\n{")},
				shot{"half a head", to, protocol, []byte("POST /forward HTTP/1.1\r\nHost: no")})
		}
		shots = append(shots, shot{"another protocol", to, "chancery-raft/2", nil})
	}
	together(len(shots), func(k int) {
		s := shots[k]
		c, err := i.dial(t.Context(), s.to, s.protocol)
		if err != nil {
			if s.protocol != "chancery-raft/2" {
				t.Errorf("%s over %s to %s: %v", s.name, s.protocol, s.to.name, err)
			}
			return
		}
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		_, _ = c.Write(s.data) // the node may have had enough of it already
		if answered[s.name] {  // or nothing to answer: the connection may go on
			return
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s over %s to %s: the connection stays", s.name, s.protocol, s.to.name)
		}
	})
	for k, n := range w.nodes {
		if code, body, err := n.put(k, "afterwards"); err != nil || code != http.StatusOK {
			t.Errorf("a write by %s: %d %s %v", n.name, code, body, err)
		}
	}
	w.agree(w.nodes...)
	for _, n := range w.nodes {
		w.settles(n, routines[n])
		if after := residentMB(t, n); after > mb[n]+150 {
			t.Errorf("the memory of %s grew from %d to %d MB", n.name, mb[n], after)
		}
	}
}

// settles waits until a node has about as many goroutines as before.
func (w *network) settles(n *netNode, before float64) {
	w.t.Helper()
	w.until(n.name+" has ended what it began", func() error {
		if now := n.figures().value(w.t, "go_goroutines"); now > before+10 {
			return fmt.Errorf("%v goroutines, before %v", now, before)
		}
		return nil
	})
}

// TestForwardInsider forwards requests as no backup does: for a caller that is none, for a
// member who has signed nothing, to a node that does not lead, after the node whose
// certificate it is was retired (row 91 of the fault matrix).
func TestForwardInsider(t *testing.T) {
	w := newNetwork(t, 3, withMetrics(t))
	lead, other, backup := w.nodes[0], w.nodes[1], w.nodes[2]
	i := w.insider(other)
	der := func(pem []byte) []byte {
		cert, err := identity.ParseCertificate(pem)
		must(t, err)
		return cert.Raw
	}
	curve, err := identity.CurveByName("secp384r1")
	must(t, err)
	stranger, err := identity.NewParticipant("stranger", curve, time.Now(), 1, false)
	must(t, err)
	put := func(id int, caller []byte) *server.Forwarded {
		return &server.Forwarded{
			Method: "POST", URL: "/app/log/private", Host: "node", Header: http.Header{"Content-Type": {"application/json"}},
			Body: fmt.Appendf(nil, `{"id": %d, "msg": "forwarded"}`, id), Caller: caller, Interface: rpc,
		}
	}
	propose := func(caller []byte) *server.Forwarded {
		f := put(0, caller)
		f.URL, f.Body = "/gov/members/proposals:create?api-version=2024-07-01", []byte(`{"actions":[]}`)
		return f
	}
	w.agree(w.nodes...)
	for _, tt := range []struct {
		name     string
		to       *netNode
		request  *server.Forwarded
		status   int // of the node
		answered int // of the request
		code     api.Code
	}{
		{"a caller that is no certificate", lead, put(1, []byte("junk")), 400, 0, ""},
		{"nobody", lead, put(1, nil), 200, 401, api.InvalidAuthenticationInfo},
		{"a stranger", lead, put(1, der(stranger.Cert)), 200, 401, api.InvalidAuthenticationInfo},
		{"a member who signed nothing", lead, propose(der(w.member.Cert)), 200, 401, api.InvalidAuthenticationInfo},
		{"a request for a node that does not lead", backup, put(1, der(w.user.Cert)), 421, 0, ""},
		{"a user", lead, put(2, der(w.user.Cert)), 200, 200, ""},
	} {
		status, answer, err := i.forward(tt.to, tt.request)
		if err != nil || status != tt.status || answer.Status != tt.answered || !strings.Contains(string(answer.Body), string(tt.code)) {
			t.Errorf("%s: %d, %d %s %v, want %d, %d %s", tt.name, status, answer.Status, answer.Body, err, tt.status, tt.answered, tt.code)
		}
	}
	w.agree(w.nodes...)
	c := w.client(lead)
	defer c.Close()
	if _, err := c.Do(t.Context(), client.Request{Path: "/app/log/private?id=1"}); err == nil {
		t.Error("a request was executed for a caller who may not, or by two hops")
	}
	if !w.heldAs(c, 2, "forwarded") {
		t.Error("a user's request was not executed")
	}
	if hops, _ := backup.figures().sum("chancery_server_forward_seconds"); hops != 0 {
		t.Errorf("a backup forwarded %v requests that were forwarded to it", hops)
	}

	// Whoever is no node of the service is not heard, and who was one is not heard any more.
	self, err := identity.TLSCertificate(stranger.Cert, stranger.Key)
	must(t, err)
	if _, _, err := (&insider{w, self}).forward(lead, put(1, der(w.user.Cert))); err == nil {
		t.Error("a stranger may forward requests")
	}
	open, err := i.dial(t.Context(), lead, overForward)
	must(t, err)
	defer open.Close()
	w.retire(other)
	w.removable(other, lead)
	must(t, open.SetDeadline(time.Now().Add(30*time.Second)))
	if _, err := io.Copy(io.Discard, open); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection of a node that is retired stays")
	}
	if status, answer, err := i.forward(lead, put(1, der(w.user.Cert))); err == nil {
		t.Errorf("a node that is retired may forward requests: %d %d", status, answer.Status)
	}
}
