package server

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
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
