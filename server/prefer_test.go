package server

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"chancery/server/api"
)

func TestParsePrefer(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   preference
	}{
		{nil, preference{}},
		{[]string{"respond-async"}, preference{async: true}},
		{[]string{"wait=commit"}, preference{commit: true}},
		{[]string{"Wait = \"receipt\" , wait=10"}, preference{receipt: true, bound: 10 * time.Second}},
		{[]string{"wait=commit; x=y", "wait=3"}, preference{commit: true, bound: 3 * time.Second}},
		{[]string{"wait=soon, wait=-1, wait=0, handling=lenient, ,="}, preference{}},
	} {
		if got := parsePrefer(tt.values); cmp.Diff(tt.want, got, cmp.AllowUnexported(preference{})) != "" {
			t.Errorf("%q: got %+v, want %+v", tt.values, got, tt.want)
		}
	}
}

// held sends a write that waits, and returns its answer when it comes.
func held(t *testing.T, s *service, prefer string) <-chan answer {
	t.Helper()
	out := make(chan answer, 1)
	c := s.client(t, nil)
	go func() { out <- s.do(t, c, "PUT", "/app/rec/a", `{"value":"x"}`, "prefer", prefer) }()
	for s.node.Position().Head.Seqno < 3 { // until it is ordered
		select {
		case a := <-out:
			t.Fatalf("the answer came before the commit: %d %s", a.StatusCode, a.body)
		default:
		}
	}
	return out
}

func TestWaitForCommit(t *testing.T) {
	s := recordService(t, nil)
	s.node.auto = false
	out := held(t, s, "wait=commit")
	s.node.sign()
	a := <-out
	if a.StatusCode != 200 || a.body != "true" || a.Header.Get(api.HeaderTxID) != "2.3" || a.Header.Get("preference-applied") != "wait=commit" {
		t.Errorf("%d %s at %s, applied %q", a.StatusCode, a.body, a.Header.Get(api.HeaderTxID), a.Header.Get("preference-applied"))
	}
}

func TestWaitInvalidated(t *testing.T) {
	s := recordService(t, nil)
	s.node.auto = false
	out := held(t, s, "wait=commit")
	s.node.lose()
	a := <-out
	code, message := errorOf(t, a)
	if a.StatusCode != 500 || code != "TransactionInvalid" || message != "While waiting for TxID 2.3 to commit, it was invalidated" || a.Header.Get(api.HeaderTxID) != "2.3" {
		t.Errorf("%d %s %q", a.StatusCode, code, message)
	}
}

func TestWaitNodeStops(t *testing.T) {
	s := recordService(t, nil)
	s.node.auto = false
	out := held(t, s, "wait=commit")
	s.node.stop()
	a := <-out
	if code, _ := errorOf(t, a); a.StatusCode != 503 || code != "TransactionPendingOrUnknown" || a.Header.Get(api.HeaderTxID) != "2.3" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestWaitBound(t *testing.T) {
	s := recordService(t, func(c *Config, _ *InterfaceOptions) { c.MaxWait = time.Millisecond })
	s.node.auto = false
	a := s.do(t, s.client(t, nil), "PUT", "/app/rec/a", `{"value":"x"}`, "prefer", "wait=commit, wait=5")
	var status api.TxStatus
	if err := json.Unmarshal([]byte(a.body), &status); err != nil || a.StatusCode != http.StatusAccepted || status != (api.TxStatus{Status: "Pending", TransactionID: "2.3"}) {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a.Header.Get("retry-after") != "1" || a.Header.Get("preference-applied") != "wait=commit, wait=5" {
		t.Errorf("headers %v", a.Header)
	}
}

// TestRespondCommitted checks the configured default, and that a client can decline it.
func TestRespondCommitted(t *testing.T) {
	s := recordService(t, func(c *Config, _ *InterfaceOptions) { c.RespondCommitted, c.MaxWait = true, time.Millisecond })
	s.node.auto = false
	c := s.client(t, nil)
	if a := s.do(t, c, "PUT", "/app/rec/a", `{"value":"x"}`); a.StatusCode != 202 {
		t.Errorf("by default: %d", a.StatusCode)
	}
	a := s.do(t, c, "PUT", "/app/rec/a", `{"value":"x"}`, "prefer", "respond-async")
	if a.StatusCode != 200 || a.Header.Get("preference-applied") != "respond-async" {
		t.Errorf("respond-async: %d, applied %q", a.StatusCode, a.Header.Get("preference-applied"))
	}
	if a := s.do(t, c, "GET", "/node/state", ""); a.StatusCode != 200 {
		t.Errorf("/node does not wait: %d", a.StatusCode)
	}
}

// TestLinearizableReads: a read that waits is confirmed by the primary, and forwarded to
// it by a backup; others are neither.
func TestLinearizableReads(t *testing.T) {
	s := recordService(t, nil)
	c := s.client(t, nil)
	if a := s.do(t, c, "PUT", "/app/rec/a", `{"value":"x"}`, "prefer", "wait=commit"); a.StatusCode != 200 || s.node.confirmed != 0 {
		t.Errorf("a write: %d, confirmed %d times: its commit says it", a.StatusCode, s.node.confirmed)
	}
	if a := s.do(t, c, "GET", "/app/rec/a", ""); a.StatusCode != 200 || s.node.confirmed != 0 {
		t.Errorf("a read that does not wait: %d, confirmed %d times", a.StatusCode, s.node.confirmed)
	}
	if a := s.do(t, c, "GET", "/app/rec/a", "", "prefer", "wait=commit"); a.StatusCode != 200 || s.node.confirmed != 1 {
		t.Errorf("a read that waits: %d, confirmed %d times", a.StatusCode, s.node.confirmed)
	}
	s.node.deposed = true
	if a := s.do(t, c, "GET", "/app/rec/a", "", "prefer", "wait=commit"); a.StatusCode != 503 {
		t.Errorf("at a primary that is none any more: %d %s", a.StatusCode, a.body)
	}
	forwarded := 0
	s.node.forward = func(context.Context, string, *Forwarded) (*ForwardedAnswer, error) {
		forwarded++
		return &ForwardedAnswer{Status: 200}, nil
	}
	s.node.lose()
	s.node.info.PrimaryID = "primary"
	for _, prefer := range []string{"wait=commit", "respond-async"} {
		if a := s.do(t, s.client(t, nil), "GET", "/app/rec/a", "", "prefer", prefer); a.StatusCode != 200 || forwarded != 1 {
			t.Errorf("at a backup, %s: %d, forwarded %d times", prefer, a.StatusCode, forwarded)
		}
	}
}
