package server

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"chancery/gov/tables"
	"chancery/kv"
)

// forwards counts the forwarded requests with an outcome.
func (s *service) forwards(t *testing.T, outcome string) uint64 {
	t.Helper()
	var m dto.Metric
	must(t, s.Server.metrics.forwards.WithLabelValues(outcome).(prometheus.Metric).Write(&m))
	return m.GetHistogram().GetSampleCount()
}

// TestForwardOutcomes sends writes to a backup whose primary answers, does not, and is
// not known: CCF's statuses, and a figure for each.
func TestForwardOutcomes(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.ForwardingTimeout = 200 * time.Millisecond })
	s.node.lose()
	primary := func(id string) {
		s.node.mu.Lock()
		defer s.node.mu.Unlock()
		s.node.info.PrimaryID = id
	}
	answered := func(_ context.Context, to string, f *Forwarded) (*ForwardedAnswer, error) {
		if to != "primary" || f.Method != "PUT" || f.URL != "/app/rec/a" || string(f.Body) != `{"value":"x"}` {
			t.Errorf("forwarded to %s: %+v", to, f)
		}
		return &ForwardedAnswer{Status: 200, Body: []byte("true"), TxID: "3.9"}, nil
	}
	silent := func(ctx context.Context, _ string, _ *Forwarded) (*ForwardedAnswer, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, tt := range []struct {
		outcome, primary string
		forward          func(context.Context, string, *Forwarded) (*ForwardedAnswer, error)
		status           int
		body             string
	}{
		{"answered", "primary", answered, 200, "true"},
		{"timeout", "primary", silent, 504, "Request was forwarded to node n[primary], but no response was received after 200ms"},
		{"timeout", "primary", nil, 504, "Request was forwarded to node n[primary], but no response was received after 200ms"}, // unreachable
		{"no_primary", "", answered, 503, `{"error":{"code":"InternalError","message":"RPC could not be forwarded to unknown primary."}}`},
	} {
		primary(tt.primary)
		s.node.forward = tt.forward
		before := s.forwards(t, tt.outcome)
		a := s.do(t, s.client(t, nil), "PUT", "/app/rec/a", `{"value":"x"}`)
		if a.StatusCode != tt.status || a.body != tt.body {
			t.Errorf("%s: %d %s", tt.outcome, a.StatusCode, a.body)
		}
		if after := s.forwards(t, tt.outcome); after != before+1 {
			t.Errorf("%s went from %d to %d", tt.outcome, before, after)
		}
	}
}

// elsewhereApp has an endpoint of each kind of forwarding and of redirection.
func elsewhereApp() *App {
	a := &App{}
	here := Typed(func(_ context.Context, c *Call, _ struct{}) (string, error) {
		c.Tx.Put("public:t", []byte("k"), []byte("v"))
		who := "nobody"
		if c.Caller != nil {
			who = c.Caller.Policy
		}
		return who, nil
	})
	for _, f := range []Forwarding{ForwardAlways, ForwardSometimes, ForwardNever} {
		a.endpoints = append(a.endpoints, &Route{Frontend: AppFrontend, Method: "POST", Path: "/" + string(f), Forwarding: f, Handler: here})
	}
	for _, r := range []Redirection{RedirectNone, RedirectToPrimary, RedirectToBackup} {
		a.endpoints = append(a.endpoints, &Route{Frontend: AppFrontend, Method: "POST", Path: "/" + string(r), Redirection: r, Handler: here})
	}
	a.Handle("POST", "/user", ReadWrite, []Policy{UserCert}, here)
	return a
}

// TestForwardingRules asks a backup for endpoints of each kind, on sessions of their own
// and on one that was forwarded before.
func TestForwardingRules(t *testing.T) {
	s := testService(t, func(c *Config, _ *InterfaceOptions) { c.App = elsewhereApp() })
	forwarded := 0
	s.node.forward = func(_ context.Context, _ string, f *Forwarded) (*ForwardedAnswer, error) {
		forwarded++
		return &ForwardedAnswer{Status: 200, Body: []byte("elsewhere")}, nil
	}
	s.node.lose()
	s.node.info.PrimaryID = "primary"
	for _, tt := range []struct {
		paths     []string // on one session
		forwarded int
		status    int // of the last
	}{
		{[]string{"/app/always"}, 1, 200},
		{[]string{"/app/sometimes"}, 0, 503}, // executed here, where nothing can be written
		{[]string{"/app/never"}, 0, 503},
		{[]string{"/app/always", "/app/sometimes"}, 2, 200},
		{[]string{"/app/always", "/app/never"}, 1, 503},
		{[]string{"/app/unknown"}, 0, 404},
	} {
		forwarded = 0
		c := s.client(t, nil)
		var a answer
		for _, path := range tt.paths {
			a = s.do(t, c, "POST", path, "")
		}
		if forwarded != tt.forwarded || a.StatusCode != tt.status {
			t.Errorf("%v: forwarded %d times, %d; want %d times, %d", tt.paths, forwarded, a.StatusCode, tt.forwarded, tt.status)
		}
	}
}

// TestForwardedOverHTTP2 forwards what came by HTTP/2.
func TestForwardedOverHTTP2(t *testing.T) {
	s := testService(t, func(c *Config, o *InterfaceOptions) { c.App, o.HTTP2 = elsewhereApp(), true })
	s.node.forward = func(_ context.Context, _ string, f *Forwarded) (*ForwardedAnswer, error) {
		return &ForwardedAnswer{Status: 200, Body: f.Body}, nil
	}
	s.node.lose()
	s.node.info.PrimaryID = "primary"
	c := s.client(t, nil)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	if a := s.do(t, c, "POST", "/app/always", `{}`); a.StatusCode != 200 || a.ProtoMajor != 2 || a.body != "{}" {
		t.Errorf("%d %s over %s", a.StatusCode, a.body, a.Proto)
	}
}

// TestRedirectionRules asks an interface that redirects, at the primary and at a backup.
func TestRedirectionRules(t *testing.T) {
	const other = "other"
	start := func(r Redirections) *service {
		s := testService(t, func(c *Config, o *InterfaceOptions) { c.App, o.Redirections = elsewhereApp(), &r })
		s.node.put(t, func(tx *kv.Tx) {
			must(t, tables.NodesInfo.Put(tx, other, tables.Node{
				Status: tables.NodeTrusted, RPC: map[string]tables.Interface{"primary": {PublishedAddress: "127.0.0.1:9"}},
			}))
			must(t, tables.NodesInfo.Put(tx, "elsewhere named", tables.Node{
				Status: tables.NodeTrusted, RPC: map[string]tables.Interface{"secondary": {PublishedAddress: "127.0.0.1:10"}},
			}))
		})
		return s
	}
	byRole := Redirections{ToBackup: Resolver{Backup: true}}
	for _, tt := range []struct {
		name     string
		r        Redirections
		backup   bool
		primary  string
		path     string
		status   int
		location string
	}{
		{"to the primary from a backup", byRole, true, other, "to_primary?a=%20", 307, "https://127.0.0.1:9/app/to_primary?a=%20"},
		{"to the primary at the primary", byRole, false, "", "to_primary", 200, ""},
		{"to a backup at the primary", byRole, false, "", "to_backup", 307, "https://127.0.0.1:9/app/to_backup"},
		{"to a backup at a backup", byRole, true, other, "to_backup", 503, ""}, // executed here
		{"nowhere from a backup", byRole, true, other, "none", 503, ""},
		{"no primary is known", byRole, true, "", "to_primary", 503, ""},
		{"the primary has no such interface", byRole, true, "elsewhere named", "to_primary", 503, ""},
		{"a fixed address", Redirections{ToPrimary: Resolver{Address: "front:1"}}, true, other, "to_primary", 307, "https://front:1/app/to_primary"},
	} {
		s := start(tt.r)
		if tt.backup {
			s.node.lose()
			s.node.info.PrimaryID = tt.primary
		}
		a := s.do(t, s.client(t, nil), "POST", "/app/"+tt.path, "")
		if a.StatusCode != tt.status || a.Header.Get("location") != tt.location {
			t.Errorf("%s: %d %s %s, want %d %s", tt.name, a.StatusCode, a.Header.Get("location"), a.body, tt.status, tt.location)
		}
	}
}

// TestServeForwarded executes what a backup forwards: as the client whose certificate it
// names, once, on the primary, in the view of the client's session.
func TestServeForwarded(t *testing.T) {
	s := testService(t, func(c *Config, _ *InterfaceOptions) { c.App = elsewhereApp() })
	user := validIdentity(t)
	s.register(t, user, false, "")
	ask := func(f Forwarded) *ForwardedAnswer {
		t.Helper()
		f.Method, f.Interface = "POST", "primary"
		a, err := s.ServeForwarded(t.Context(), &f)
		must(t, err)
		return a
	}
	if a := ask(Forwarded{URL: "/app/user", Caller: user.cert.Raw}); a.Status != 200 || string(a.Body) != `"user_cert"` || a.TxID == "" {
		t.Errorf("a user: %d %s at %s", a.Status, a.Body, a.TxID)
	}
	if a := ask(Forwarded{URL: "/app/user"}); a.Status != 401 || a.TxID != "" {
		t.Errorf("nobody: %d %s", a.Status, a.Body)
	}
	if a := ask(Forwarded{URL: "/app/user", Caller: validIdentity(t).cert.Raw}); a.Status != 401 {
		t.Errorf("a stranger: %d %s", a.Status, a.Body)
	}
	if a := ask(Forwarded{URL: "/app/always", View: 1}); a.Status != 500 || !a.Closing {
		t.Errorf("a session of an old view: %d %s, closing %t", a.Status, a.Body, a.Closing)
	}
	if _, err := s.ServeForwarded(t.Context(), &Forwarded{Method: "POST", URL: "/app/user", Caller: []byte("junk")}); err == nil {
		t.Error("a caller that is no certificate is accepted")
	}
	s.node.forward = func(context.Context, string, *Forwarded) (*ForwardedAnswer, error) {
		t.Error("a forwarded request is forwarded again")
		return nil, ErrUnreachable
	}
	s.node.lose()
	if _, err := s.ServeForwarded(t.Context(), &Forwarded{Method: "POST", URL: "/app/always"}); !errors.Is(err, ErrNotPrimary) {
		t.Errorf("at a backup: %v, want %v", err, ErrNotPrimary)
	}
}
