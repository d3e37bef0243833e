package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/server/api"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startLedger serves a testLedger and returns a client for it.
func startLedger(t *testing.T) (*testLedger, *Client) {
	t.Helper()
	i := newIssuer(t)
	key, pem := i.endorse(t)
	l := newTestLedger(t, i, key, pem)
	c, _ := newClient(t, i, serveAs(t, l, key, pem).URL)
	return l, c
}

// TestWait writes and waits in each way, with a node that holds its answers and
// with one that does not.
func TestWait(t *testing.T) {
	for _, prefers := range []bool{true, false} {
		for _, wait := range []Wait{ForExecution, ForCommit, ForReceipt} {
			l, c := startLedger(t)
			l.prefers = prefers
			ctx := t.Context()
			resp, err := c.Do(ctx, Request{Method: "POST", Path: "/app/log", JSON: map[string]int{"id": 1}, Wait: wait})
			if err != nil {
				t.Fatalf("prefers=%t wait=%d: %v", prefers, wait, err)
			}
			if resp.TxID != (ledger.TxID{View: 2, Seqno: 1}) || resp.Status != 200 || string(resp.Body) != `{"ok":true}` {
				t.Errorf("prefers=%t wait=%d: %v %d %s", prefers, wait, resp.TxID, resp.Status, resp.Body)
			}
			if (resp.Receipt != nil) != (wait == ForReceipt) {
				t.Errorf("prefers=%t wait=%d: receipt %v", prefers, wait, resp.Receipt)
			}
			if wait == ForExecution {
				continue
			}
			if s, err := c.Status(ctx, resp.TxID); err != nil || s != Committed {
				t.Errorf("prefers=%t wait=%d: status %s, %v", prefers, wait, s, err)
			}
		}
	}
}

// TestReceipts fetches and verifies both forms, and refuses those of another
// transaction.
func TestReceipts(t *testing.T) {
	l, c := startLedger(t)
	ctx := t.Context()
	var id ledger.TxID
	for range 2 {
		resp, err := c.Do(ctx, Request{Method: "POST", Path: "/app/log", Wait: ForCommit})
		if err != nil {
			t.Fatal(err)
		}
		id = resp.TxID
	}
	r, err := c.Receipt(ctx, id, ledger.ExpectClaims(ledger.Digest{}))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := r.TxID(); got != id {
		t.Errorf("receipt of %v, want %v", got, id)
	}
	if _, _, err := c.COSEReceipt(ctx, id); err != nil {
		t.Error(err)
	}
	if _, err := c.Receipt(ctx, id, ledger.ExpectClaims(ledger.Digest{1})); !errors.Is(err, ErrUntrusted) || !errors.Is(err, ledger.ErrWrongClaims) {
		t.Errorf("other claims: %v", err)
	}
	l.other = true
	if _, err := c.Receipt(ctx, id); !errors.Is(err, ErrUntrusted) || !errors.Is(err, ledger.ErrWrongTx) {
		t.Errorf("receipt of another transaction: %v", err)
	}
	if last, err := c.Commit(ctx); err != nil || last.Seqno < id.Seqno {
		t.Errorf("commit: %v, %v", last, err)
	}
}

func TestRolledBack(t *testing.T) {
	l, c := startLedger(t)
	l.invalid = true
	_, err := c.Do(t.Context(), Request{Method: "POST", Path: "/app/log", Wait: ForCommit})
	if !errors.Is(err, ErrRolledBack) {
		t.Errorf("error %v, want ErrRolledBack", err)
	}
}

// TestWaitEndsWithContext waits for a transaction that stays unknown.
func TestWaitEndsWithContext(t *testing.T) {
	l, c := startLedger(t)
	l.invalid = false
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	n := 0
	c.sleep = func(context.Context, time.Duration) error {
		if n++; n == 5 {
			cancel(cause)
		}
		return context.Cause(ctx)
	}
	if err := c.WaitCommitted(ctx, ledger.TxID{View: 9, Seqno: 999}); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
}

// answer is one answer of a scripted node.
type answer struct {
	status     int
	code       api.Code
	retryAfter string
	drop       bool // the connection breaks in place of an answer
}

// TestRetries is the table of what is sent again.
func TestRetries(t *testing.T) {
	ok := answer{status: 200}
	conflict := answer{status: 503, code: api.TransactionCommitAttemptsExceedLimit, retryAfter: "3"}
	busy := answer{status: 503, code: api.TooManyPendingTransactions}
	stopping := answer{status: 503, code: api.TransactionPendingOrUnknown}
	gateway := answer{status: 504}
	lost := answer{status: 500, code: api.SessionConsistencyLost}
	dropped := answer{drop: true}
	tests := []struct {
		name    string
		request Request
		answers []answer
		sent    int
		err     error // nil: success; errRefused: an *Error
	}{
		{"success", Request{Method: "POST"}, []answer{ok}, 1, nil},
		{"conflict", Request{Method: "POST"}, []answer{conflict, ok}, 2, nil},
		{"busy", Request{Method: "POST"}, []answer{busy, busy, ok}, 3, nil},
		{"view changed", Request{Method: "POST"}, []answer{lost, ok}, 2, nil},
		{"write to a stopping node", Request{Method: "POST"}, []answer{stopping}, 1, errRefused},
		{"read from a stopping node", Request{}, []answer{stopping, ok}, 2, nil},
		{"write that timed out", Request{Method: "POST"}, []answer{gateway}, 1, ErrOutcomeUnknown},
		{"read that timed out", Request{}, []answer{gateway, ok}, 2, nil},
		{"idempotent write that timed out", Request{Method: "PUT", Idempotent: true}, []answer{gateway, ok}, 2, nil},
		{"write cut off", Request{Method: "POST"}, []answer{dropped}, 1, ErrOutcomeUnknown},
		{"read cut off", Request{}, []answer{dropped, dropped, ok}, 3, nil},
		{"refused", Request{Method: "POST"}, []answer{{status: 400, code: api.InvalidInput}}, 1, errRefused},
		{"busy for ever", Request{Method: "POST"}, []answer{busy, busy, busy, busy}, 4, errRefused},
		{"still fetching", Request{Fetched: true}, []answer{{status: 202, retryAfter: "3"}, {status: 202}, ok}, 3, nil},
		{"accepted", Request{}, []answer{{status: 202}}, 1, nil},
		{"unmodified", Request{}, []answer{{status: 304}}, 1, nil},
	}
	i := newIssuer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int32
			s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a := tt.answers[sent.Add(1)-1]
				if a.drop {
					panic(http.ErrAbortHandler)
				}
				if a.retryAfter != "" {
					w.Header().Set(api.HeaderRetryAfter, a.retryAfter)
				}
				if a.code != "" {
					fail(w, a.status, a.code, "no")
					return
				}
				w.WriteHeader(a.status)
			}))
			c, pauses := newClient(t, i, s.URL)
			c.cfg.Retry.Attempts = 4
			c.http.Transport.(*http.Transport).DisableKeepAlives = true // or net/http repeats cut off reads itself
			tt.request.Path = "/app/x"
			_, err := c.Do(t.Context(), tt.request)
			checkRetry(t, err, tt.err)
			if int(sent.Load()) != tt.sent {
				t.Errorf("sent %d times, want %d", sent.Load(), tt.sent)
			}
			if len(*pauses) != tt.sent-1 {
				t.Errorf("pauses %v", *pauses)
			}
			if tt.sent > 1 && tt.answers[0].retryAfter == "3" && (*pauses)[0] != 3*time.Second {
				t.Errorf("pause %v, Retry-After was 3", (*pauses)[0])
			}
		})
	}
}

// errRefused stands for any *Error in a table.
var errRefused = errors.New("refused")

func checkRetry(t *testing.T, err, want error) {
	t.Helper()
	switch {
	case want == errRefused:
		if e := (*Error)(nil); !errors.As(err, &e) || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("error %v, want an *Error", err)
		}
	case !errors.Is(err, want):
		t.Errorf("error %v, want %v", err, want)
	}
}

// TestTrust lets the client meet nodes that it must not believe.
func TestTrust(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("a request was sent") })
	foreign := other.serve(t, h)
	key, pem := i.endorse(t)
	misnamed := serveAs(t, h, key, pem)
	old := httptest.NewUnstartedServer(h)
	cert, err := identity.TLSCertificate(pem, key)
	if err != nil {
		t.Fatal(err)
	}
	old.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, MaxVersion: tls.VersionTLS12}
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	defer old.Close()
	for name, target := range map[string]string{
		"another service's node": foreign.URL,
		"another name":           strings.Replace(misnamed.URL, "127.0.0.1", "localhost", 1),
		"nobody":                 "https://127.0.0.1:1",
		"TLS 1.2":                old.URL,
	} {
		c, _ := newClient(t, i, target)
		c.cfg.Retry.Attempts = 2
		if _, err := c.Do(t.Context(), Request{Method: "POST", Path: "/x"}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: error %v, want ErrUnreachable", name, err)
		}
	}
}

// TestFailover gives a client a dead node first.
func TestFailover(t *testing.T) {
	i := newIssuer(t)
	s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	c, pauses := newClient(t, i, "https://127.0.0.1:1", s.URL)
	for range 2 {
		if _, err := c.Do(t.Context(), Request{Method: "POST", Path: "/app/x"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(*pauses) != 1 {
		t.Errorf("%d repetitions, want one: the live node is remembered", len(*pauses))
	}
}

// TestRedirects follows 307 and 308 with method and body, to nodes of the service
// only.
func TestRedirects(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	primary := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "hello" || r.Method != "POST" || r.URL.RawQuery != "a=1" || r.Header.Get("Authorization") != "Bearer t" {
			t.Errorf("%s %s %q %v", r.Method, r.URL, body, r.Header)
		}
	}))
	foreign := other.serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed to a foreign node") }))
	for _, tt := range []struct {
		name, location string
		err            error
	}{
		{"primary", primary.URL + "/app/x?a=1", nil},
		{"foreign", foreign.URL + "/app/x", ErrUnreachable},
		{"plain", "http://" + strings.TrimPrefix(primary.URL, "https://"), ErrBadAnswer},
		{"with user", "https://u@" + strings.TrimPrefix(primary.URL, "https://"), ErrBadAnswer},
		{"itself", "/app/x?a=1", ErrBadAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(api.HeaderLocation, tt.location)
				w.WriteHeader(http.StatusTemporaryRedirect)
			}))
			c, _ := newClient(t, i, s.URL)
			c.cfg.Retry.Attempts = 1
			c.cfg.Bearer = func(context.Context) (string, error) { return "t", nil }
			_, err := c.Do(t.Context(), Request{Method: "POST", Path: "/app/x?a=1", Body: []byte("hello")})
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
		})
	}
}

// TestSession checks that a session keeps to one connection and ends with it.
func TestSession(t *testing.T) {
	i := newIssuer(t)
	s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
		if _, err := io.WriteString(w, r.RemoteAddr); err != nil {
			t.Error(err)
		}
	}))
	c, _ := newClient(t, i, s.URL)
	session := c.Session()
	defer session.Close()
	seen := map[string]bool{}
	for _, path := range []string{"/a", "/b", "/close"} {
		resp, err := session.Do(t.Context(), Request{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		seen[string(resp.Body)] = true
	}
	if len(seen) != 1 {
		t.Errorf("connections %v", seen)
	}
	if _, err := session.Do(t.Context(), Request{Path: "/a"}); !errors.Is(err, ErrSessionLost) {
		t.Errorf("error %v, want ErrSessionLost", err)
	}
}

// TestError reads error bodies, and answers that have none.
func TestError(t *testing.T) {
	i := newIssuer(t)
	s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/coded":
			w.Header().Set(api.HeaderTxID, "2.7")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"error":{"code":"AuthorizationFailed","message":"no","details":[{"auth_policy":"x"}]}}`)
		case "/badtx":
			w.Header().Set(api.HeaderTxID, "seven")
		case "/large":
			_, _ = w.Write(make([]byte, 2000))
		default:
			http.Error(w, "plain", http.StatusTeapot)
		}
	}))
	c, _ := newClient(t, i, s.URL)
	c.cfg.MaxAnswer = 1000
	_, err := c.Do(t.Context(), Request{Path: "/coded"})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	want := &Error{Method: "GET", Path: "/coded", Status: 403, Code: api.AuthorizationFailed, Message: "no",
		Details: []byte(`[{"auth_policy":"x"}]`), TxID: ledger.TxID{View: 2, Seqno: 7}}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
	if CodeOf(err) != api.AuthorizationFailed {
		t.Errorf("code %s", CodeOf(err))
	}
	if _, err := c.Do(t.Context(), Request{Path: "/plain"}); !errors.As(err, &e) || e.Status != http.StatusTeapot || e.Code != "" {
		t.Errorf("plain error: %v", err)
	}
	for _, path := range []string{"/badtx", "/large"} {
		if _, err := c.Do(t.Context(), Request{Path: path}); !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%s: error %v, want ErrBadAnswer", path, err)
		}
	}
}

// TestPathIsSentAsIs checks that escapes in paths survive.
func TestPathIsSentAsIs(t *testing.T) {
	i := newIssuer(t)
	var got atomic.Value
	s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got.Store(r.RequestURI) }))
	c, _ := newClient(t, i, s.URL)
	for path, want := range map[string]string{
		"/gov/service/javascript-modules/%2Fa%2Fb": "/gov/service/javascript-modules/%2Fa%2Fb?k=v",
		"/app/x?a=1&b":                  "/app/x?a=1&b&k=v",
		"/gov/members/proposals:create": "/gov/members/proposals:create?k=v",
	} {
		if _, err := c.Do(t.Context(), Request{Path: path, Query: url.Values{"k": {"v"}}}); err != nil {
			t.Fatal(err)
		}
		if got.Load() != want {
			t.Errorf("%s was sent as %v, want %s", path, got.Load(), want)
		}
	}
	if _, err := c.Do(t.Context(), Request{Path: "x"}); err == nil {
		t.Error("a path without a slash was accepted")
	}
}

func TestNewRefuses(t *testing.T) {
	i := newIssuer(t)
	for name, cfg := range map[string]Config{
		"no service":  {URLs: []string{"https://a:1"}},
		"no node":     {Service: i.cert},
		"plain http":  {Service: i.cert, URLs: []string{"http://a:1"}},
		"with a path": {Service: i.cert, URLs: []string{"https://a:1/app"}},
		"with a user": {Service: i.cert, URLs: []string{"https://u:p@a:1"}},
		"no host":     {Service: i.cert, URLs: []string{"https:///"}},
		"no URL":      {Service: i.cert, URLs: []string{"https://a b"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestSlowNode moves on from a node that takes a request and never answers; where the
// request may have been executed there, it says so.
func TestSlowNode(t *testing.T) {
	i := newIssuer(t)
	gone := make(chan struct{})
	frozen := i.serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-gone:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(gone) })
	well := i.serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	c, _ := newClient(t, i, frozen.URL, well.URL)
	c.cfg.AnswerTimeout = 100 * time.Millisecond
	if _, err := c.Do(t.Context(), Request{Method: "POST", Path: "/app/x"}); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("a write: error %v, want %v", err, ErrOutcomeUnknown)
	}
	c, _ = newClient(t, i, frozen.URL, well.URL)
	c.cfg.AnswerTimeout = 100 * time.Millisecond
	for range 2 {
		if _, err := c.Do(t.Context(), Request{Path: "/app/x"}); err != nil {
			t.Errorf("a read: %v", err)
		}
	}
}
