package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"chancery/kv"
	"chancery/ledger"
	"chancery/server/api"
)

type record struct {
	Value string `json:"value"`
}

// recordApp keeps records, and fails in ways that tests ask for.
func recordApp() *App {
	app := &App{}
	put := func(_ context.Context, c *Call, in record) (bool, error) {
		c.Tx.Put("records", []byte(c.Params.Get("key")), []byte(in.Value))
		c.Claims = ledger.Digest{7}
		return true, nil
	}
	get := func(_ context.Context, c *Call, _ struct{}) (record, error) {
		v, ok := c.Tx.Get("records", []byte(c.Params.Get("key")))
		if !ok {
			return record{}, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "no record")
		}
		return record{string(v)}, nil
	}
	app.Handle("PUT", "/rec/{key}", ReadWrite, nil, Typed(put))
	app.Handle("GET", "/rec/{key}", ReadOnly, nil, Typed(get))
	app.Handle("PUT", "/readonly/{key}", ReadOnly, nil, Typed(put))
	app.Handle("PUT", "/status/{status}", ReadWrite, nil, func(_ context.Context, c *Call) error {
		var status int
		fmt.Sscan(c.Params.Get("status"), &status)
		c.Tx.Put("records", []byte("status"), []byte(c.Params.Get("status")))
		c.Response.Status = status
		switch apply, _ := c.Query.Get("apply"); apply {
		case "yes":
			c.ApplyWrites(true)
		case "no":
			c.ApplyWrites(false)
		}
		return nil
	})
	app.Handle("PUT", "/panic", ReadWrite, nil, func(context.Context, *Call) error { panic("secret of a request") })
	app.Handle("PUT", "/fault", ReadWrite, nil, func(context.Context, *Call) error { return errors.New("secret of a request") })
	return app
}

func recordService(t testing.TB, edit func(*Config, *InterfaceOptions)) *service {
	t.Helper()
	return testService(t, func(c *Config, o *InterfaceOptions) {
		c.App = recordApp()
		if edit != nil {
			edit(c, o)
		}
	})
}

func TestWriteAndRead(t *testing.T) {
	s := recordService(t, nil)
	c := s.client(t, nil)
	a := s.do(t, c, "PUT", "/app/rec/a", `{"value":"one"}`)
	if a.StatusCode != 200 || a.body != "true" || a.Header.Get(api.HeaderTxID) != "2.3" {
		t.Fatalf("put: %d %s at %s", a.StatusCode, a.body, a.Header.Get(api.HeaderTxID))
	}
	if s.node.last.Claims != (ledger.Digest{7}) {
		t.Errorf("claims %x", s.node.last.Claims)
	}
	a = s.do(t, c, "GET", "/app/rec/a", "")
	if a.StatusCode != 200 || a.body != `{"value":"one"}` || a.Header.Get(api.HeaderTxID) != "2.4" {
		t.Errorf("get: %d %s at %s", a.StatusCode, a.body, a.Header.Get(api.HeaderTxID))
	}
	if a := s.do(t, c, "GET", "/app/rec/b", ""); a.StatusCode != 404 || a.Header.Get(api.HeaderTxID) != "" {
		t.Errorf("get of nothing: %d at %s", a.StatusCode, a.Header.Get(api.HeaderTxID))
	}
}

func TestBadBodies(t *testing.T) {
	s := recordService(t, nil)
	c := s.client(t, nil)
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	for _, body := range []string{"nope", "{", "[1,2", `{"value":1}`, deep, "\xff", `{"value":"x"} y`,
		"{\"value\":\"\xff\"}", "{\"value\":\"\xed\xa0\x80\"}", `{"value":"\ud800"}`, `{"value":"\ud800x"}`, `{"value":"\ud800\n"}`, `{"value":"\udc00\ud800"}`, `{"value":"x","n":1e309}`, `{"value":"x","n":[-1e999]}`} {
		a := s.do(t, c, "PUT", "/app/rec/a", body)
		if code, message := errorOf(t, a); a.StatusCode != 400 || code != "InvalidInput" || message == "" {
			t.Errorf("%.20q: %d %s %q", body, a.StatusCode, code, message)
		}
	}
	if got := s.node.Position().Head.Seqno; got != 2 {
		t.Errorf("the head moved to %d", got)
	}
	for _, body := range []string{`{"value":"\ud83d\ude00"}`, `{"value":"\\ud800"}`, `{"value":"\u0000\"1e309"}`, `{"value":"x","n":1e308}`, `{"value":"x","value":"y"}`, "{\"value\":\"\u00e9\"}"} {
		if a := s.do(t, c, "PUT", "/app/rec/a", body); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", body, a.StatusCode, a.body)
		}
	}
	if a := s.do(t, c, "PUT", "/app/rec/a", "x"); !strings.Contains(a.body, "parse error at line 1, column 1: syntax error while parsing value - invalid literal; last read: 'x'") {
		t.Errorf("CCF's wording is missing: %s", a.body)
	}
}

// TestApplyWrites checks when a transaction is committed.
func TestApplyWrites(t *testing.T) {
	s := recordService(t, nil)
	c := s.client(t, nil)
	for _, tt := range []struct {
		path    string
		applied bool
	}{
		{"/app/status/200", true}, {"/app/status/204", true}, {"/app/status/400", false}, {"/app/status/302", false},
		{"/app/status/400?apply=yes", true}, {"/app/status/200?apply=no", false},
	} {
		before := s.node.Position().Head
		a := s.do(t, c, "PUT", tt.path, "")
		applied := s.node.Position().Head != before
		if applied != tt.applied || (a.Header.Get(api.HeaderTxID) != "") != tt.applied {
			t.Errorf("%s: applied %t, TxID %q, want %t", tt.path, applied, a.Header.Get(api.HeaderTxID), tt.applied)
		}
	}
}

func TestReadOnlyEndpointThatWrites(t *testing.T) {
	s := recordService(t, nil)
	before := s.node.Position().Head
	a := s.do(t, s.client(t, nil), "PUT", "/app/readonly/a", `{"value":"x"}`)
	if code, _ := errorOf(t, a); a.StatusCode != 500 || code != "InternalError" || s.node.Position().Head != before {
		t.Errorf("%d %s, head %v", a.StatusCode, code, s.node.Position().Head)
	}
}

// TestFaults checks that faults of an endpoint are answered without a word of the
// request, and that the node serves on.
func TestFaults(t *testing.T) {
	s := recordService(t, nil)
	c := s.client(t, nil)
	for _, path := range []string{"/app/panic", "/app/fault"} {
		a := s.do(t, c, "PUT", path, "")
		if code, message := errorOf(t, a); a.StatusCode != 500 || code != "InternalError" || strings.Contains(message, "secret") {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if a := s.do(t, c, "GET", "/node/state", ""); a.StatusCode != 200 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}

// TestConflicts checks that a conflicting request is executed again, and how often.
func TestConflicts(t *testing.T) {
	for _, tt := range []struct{ conflicts, status int }{{0, 200}, {1, 200}, {29, 200}, {30, 503}} {
		s := recordService(t, nil)
		var left, runs atomic.Int64
		left.Store(int64(tt.conflicts))
		s.node.submit = func() error {
			runs.Add(1)
			if left.Add(-1) >= 0 {
				return kv.ErrConflict
			}
			return nil
		}
		a := s.do(t, s.client(t, nil), "PUT", "/app/rec/a", `{"value":"x"}`)
		if a.StatusCode != tt.status || runs.Load() != int64(min(tt.conflicts+1, 30)) {
			t.Errorf("%d conflicts: status %d after %d runs", tt.conflicts, a.StatusCode, runs.Load())
		}
		if tt.status == 503 {
			code, message := errorOf(t, a)
			if code != "TransactionCommitAttemptsExceedLimit" || a.Header.Get("retry-after") != "3" || message != "Transaction continued to conflict after 30 attempts. Retry later." {
				t.Errorf("%s %q, retry-after %q", code, message, a.Header.Get("retry-after"))
			}
		}
	}
}

// TestRefusedSubmits checks the answers when the node does not take a transaction.
func TestRefusedSubmits(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code string
	}{
		{ErrNotPrimary, "TransactionReplicationFailed"}, {ErrStopped, "TransactionReplicationFailed"},
		{ErrBusy, "TransactionReplicationFailed"}, {fmt.Errorf("more: %w", ErrTooManyPending), "TooManyPendingTransactions"},
	} {
		s := recordService(t, nil)
		s.node.submit = func() error { return tt.err }
		a := s.do(t, s.client(t, nil), "PUT", "/app/rec/a", `{"value":"x"}`)
		if code, _ := errorOf(t, a); a.StatusCode != 503 || code != tt.code || a.Header.Get(api.HeaderTxID) != "" {
			t.Errorf("%v: %d %s", tt.err, a.StatusCode, code)
		}
	}
}

// TestBackPressure checks that too many uncommitted transactions stop all frontends but /node.
func TestBackPressure(t *testing.T) {
	s := recordService(t, func(c *Config, _ *InterfaceOptions) { c.MaxUncommitted = 2 })
	s.node.auto = false
	c := s.client(t, nil)
	for i, want := range []int{200, 200, 503} {
		if a := s.do(t, c, "PUT", "/app/rec/a", `{"value":"x"}`); a.StatusCode != want {
			t.Fatalf("write %d: %d %s", i, a.StatusCode, a.body)
		}
	}
	for path, want := range map[string]int{"/app/commit": 503, "/gov/commit": 503, "/node/commit": 200} {
		if a := s.do(t, c, "GET", path, ""); a.StatusCode != want {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	s.node.sign()
	if a := s.do(t, c, "PUT", "/app/rec/a", `{"value":"x"}`); a.StatusCode != 200 {
		t.Errorf("after the commit: %d %s", a.StatusCode, a.body)
	}
}

// TestSessionView checks that a session ends when the view changes under it.
func TestSessionView(t *testing.T) {
	s := recordService(t, nil)
	c := s.client(t, nil)
	if a := s.do(t, c, "GET", "/node/state", ""); a.StatusCode != 200 {
		t.Fatal(a.body)
	}
	s.node.lose()
	a := s.do(t, c, "GET", "/node/state", "")
	code, message := errorOf(t, a)
	if a.StatusCode != 500 || code != "SessionConsistencyLost" || !a.Close || !strings.Contains(message, "Started in view 2, now in view 3. Closing session.") {
		t.Errorf("%d %s %q, close %t", a.StatusCode, code, message, a.Close)
	}
	if a := s.do(t, c, "GET", "/node/state", ""); a.StatusCode != 200 {
		t.Errorf("a new session: %d %s", a.StatusCode, a.body)
	}
	if a := s.do(t, c, "HEAD", "/node/primary", ""); a.StatusCode != 308 || a.Header.Get("location") != "https://127.0.0.1:8000/node/primary" {
		t.Errorf("HEAD /node/primary on a backup: %d %q", a.StatusCode, a.Header.Get("location"))
	}
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{"", "{}", "x", "[1,", "\xff", `{"a":"\\\""}`, "  \n", strings.Repeat("[", 100)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := checkJSON(body)
		if err == nil && !json.Valid(body) {
			t.Errorf("%q was taken", body)
		}
		if err != nil && json.Valid(body) && !strings.Contains(err.Error(), "64 levels") && illFormed(body) == "" {
			t.Errorf("%q was refused: %v", body, err)
		}
	})
}
