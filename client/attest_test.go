package client

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"chancery/attest"
	"chancery/attest/platform"
	"chancery/attest/snp/snptest"
	"chancery/attest/virtual"
	"chancery/internal/identity"
	"chancery/server/api"
)

// attestedNode is a node that shows evidence, and counts what else is sent to it.
type attestedNode struct {
	mu       sync.Mutex
	evidence attest.Evidence
	answer   http.HandlerFunc // in place of the evidence, where not nil
	asked    int
	got      []string // bodies of other requests
}

func (n *attestedNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.URL.Path != "/node/quotes/self" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		n.got = append(n.got, string(body))
		reply(w, map[string]bool{"ok": true})
		return
	}
	n.asked++
	if n.answer != nil {
		n.answer(w, r)
		return
	}
	q := api.Quote{
		NodeID: "n", Format: string(n.evidence.Format), Raw: base64.StdEncoding.EncodeToString(n.evidence.Quote),
		Endorsements: base64.StdEncoding.EncodeToString(n.evidence.Endorsements),
	}
	if n.evidence.UVMEndorsements != nil {
		text := base64.StdEncoding.EncodeToString(n.evidence.UVMEndorsements)
		q.UVMEndorsements = &text
	}
	reply(w, q)
}

// TestAttest sends a secret to a node that attests to what is asked, and to several that
// do not: these get nothing but the question.
func TestAttest(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	policy := &attest.JoinPolicy{}
	good := snptest.Allow(t, m)
	if err := json.Unmarshal(good, policy); err != nil {
		t.Fatal(err)
	}
	status := func(code int, body string) func(*snptest.Machine, *attestedNode, *[32]byte) {
		return func(_ *snptest.Machine, n *attestedNode, _ *[32]byte) {
			n.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(code)
				if _, err := io.WriteString(w, body); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		edit func(m *snptest.Machine, n *attestedNode, key *[32]byte)
		want error
	}{
		{"good", func(*snptest.Machine, *attestedNode, *[32]byte) {}, nil},
		{"another key", func(_ *snptest.Machine, _ *attestedNode, key *[32]byte) { key[0]++ }, attest.ErrReportData},
		{"debug", func(m *snptest.Machine, _ *attestedNode, _ *[32]byte) { m.Report.PolicyFlags |= 8 }, attest.ErrNotGenuine},
		{"measurement", func(m *snptest.Machine, _ *attestedNode, _ *[32]byte) { m.Report.Measurement[0]++ }, attest.ErrMeasurement},
		{"no evidence", status(http.StatusNotFound, "{}"), ErrNotAttested},
		{"no JSON", status(http.StatusOK, "evidence"), ErrNotAttested},
		{"no base64", status(http.StatusOK, `{"format":"AMD_SEV_SNP_v1","raw":"?"}`), ErrNotAttested},
		{"huge", status(http.StatusOK, strings.Repeat("x", maxQuote+1)), ErrNotAttested},
		{"closing", func(_ *snptest.Machine, n *attestedNode, _ *[32]byte) {
			n.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Connection", "close")
				reply(w, api.Quote{})
			}
		}, ErrNotAttested},
	} {
		i := newIssuer(t)
		key, pem := i.endorse(t)
		digest, err := identity.KeyDigest(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		m, n := *m, &attestedNode{}
		c.edit(&m, n, &digest)
		n.evidence = m.Evidence(t, digest)
		node := serveAs(t, n, key, pem)
		client, err := New(Config{URLs: []string{node.URL}, Service: i.cert, Attest: &Attestation{
			Verifier: platform.Verifier{SNP: m.Verifier()}, Policy: policy,
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err = client.Do(t.Context(), Request{Method: http.MethodPost, Path: "/app/secret", Body: []byte("secret"), ContentType: "text/plain"})
		}
		if !errors.Is(err, c.want) || c.want != nil && (!errors.Is(err, ErrNotAttested) || !errors.Is(err, ErrUntrusted)) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		n.mu.Lock()
		if c.want == nil && (len(n.got) != 2 || n.asked != 1) {
			t.Errorf("%s: asked %d times, got %q", c.name, n.asked, n.got)
		}
		if c.want != nil && len(n.got) != 0 {
			t.Errorf("%s: the node got %q", c.name, n.got)
		}
		n.mu.Unlock()
		client.Close()
	}
}

// TestAttestSession: a session's one connection is attested too.
func TestAttestSession(t *testing.T) {
	i := newIssuer(t)
	key, pem := i.endorse(t)
	digest, err := identity.KeyDigest(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	n := &attestedNode{}
	if n.evidence, err = virtual.NewIssuer([32]byte{1}).Issue(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	policy, err := attest.ParseJoinPolicy([]byte(`{"virtual":{"hostData":["01` + strings.Repeat("00", 31) + `"],"measurements":["` + virtual.Measurement + `"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	node := serveAs(t, n, key, pem)
	for _, production := range []bool{false, true} {
		c, err := New(Config{URLs: []string{node.URL}, Service: i.cert, Attest: &Attestation{
			Verifier: platform.Verifier{Production: production}, Policy: policy,
		}})
		if err != nil {
			t.Fatal(err)
		}
		s := c.Session()
		_, err = s.Do(t.Context(), Request{Path: "/app/x"})
		if errors.Is(err, ErrNotAttested) != production {
			t.Errorf("production %t: %v", production, err)
		}
		q, shown, err := c.Quote(t.Context())
		if err != nil || shown != digest || q.Format != string(attest.FormatVirtual) {
			t.Errorf("quote %+v of key %x, %v", q, shown, err)
		}
		s.Close()
		c.Close()
	}
}
