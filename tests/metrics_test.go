package tests

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"chancery/client"
)

// figures are the families of one scrape, by name.
type figures map[string]*dto.MetricFamily

// sum adds the samples of a family that have all the given labels ("name=value"); of a
// histogram it counts the observations. ok is false where there is no such sample.
func (f figures) sum(name string, labels ...string) (sum float64, ok bool) {
	for _, m := range f[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range m.Label {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		if slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
			continue
		}
		ok = true
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum, ok
}

// value is a sum that must have a sample.
func (f figures) value(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	sum, ok := f.sum(name, labels...)
	if !ok {
		t.Errorf("there is no %s%q", name, labels)
	}
	return sum
}

// scrape reads the figures as Prometheus does, with its own parser.
func scrape(t *testing.T, address string) (figures, string) {
	t.Helper()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("scraping: %d %v\n%s", resp.StatusCode, err, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("Prometheus' parser: %v\n%s", err, text)
	}
	return families, string(text)
}

// TestMetrics scrapes a node before and after some load: each figure says what was
// done, and none says what was in it.
func TestMetrics(t *testing.T) {
	s := newSandbox(t)
	address := "127.0.0.1:" + freePort(t)
	s.up("--metrics", address)
	before, _ := scrape(t, address)
	c := s.client()
	defer c.Close()
	const writes = 20
	for i := range writes {
		post := client.Request{Method: "POST", Path: "/app/log/private", Wait: client.ForCommit, JSON: map[string]any{"id": 8812345000 + i, "msg": canary}}
		if _, err := c.Do(t.Context(), post); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/app/log/private?id=8812345001", "/app/log/private?id=9912345678"} {
		_, _ = c.Do(t.Context(), client.Request{Method: "GET", Path: path}) // the second is refused
	}
	after, text := scrape(t, address)

	post := []string{"method=POST", "route=/app/log/private", "status=200"}
	for _, grew := range []struct {
		name   string
		labels []string
		least  float64
	}{
		{"chancery_server_requests_total", post, writes},
		{"chancery_server_requests_total", []string{"method=GET", "route=/app/log/private"}, 2},
		{"chancery_server_execution_seconds", post[:2], writes},
		{"chancery_server_commit_wait_seconds", []string{"status=Committed"}, writes},
		{"chancery_transactions_total", nil, writes},
		{"chancery_committed_transactions_total", nil, writes},
		{"chancery_signatures_total", nil, 1},
		{"chancery_raft_batches_total", nil, 1},
		{"chancery_seqno", []string{"of=head"}, writes},
		{"chancery_seqno", []string{"of=committed"}, writes},
		{"chancery_raft_index", []string{"of=applied"}, 1},
		{"chancery_disk_operation_seconds", []string{"operation=raft_log"}, 1},
		{"chancery_disk_operation_seconds", []string{"operation=write"}, 1},
		{"chancery_ledger_bytes", []string{"state=open"}, writes * 100},
		{"chancery_kv_keys", []string{"access=private"}, writes},
	} {
		from, _ := before.sum(grew.name, grew.labels...) // without a sample yet it stands at 0
		if got := after.value(t, grew.name, grew.labels...) - from; got < grew.least {
			t.Errorf("%s%q grew by %v, want at least %v", grew.name, grew.labels, got, grew.least)
		}
	}
	for _, is := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"chancery_raft_state", []string{"state=Leader"}, 1},
		{"chancery_raft_state", []string{"state=Follower"}, 0},
		{"chancery_commit_lag_transactions", nil, 0},
		{"chancery_raft_last_contact_seconds", nil, 0},
		{"chancery_queue_length", []string{"queue=commit_waiters"}, 0},
		{"chancery_queue_bound", []string{"queue=uncommitted_transactions"}, 10000},
		{"chancery_server_sessions_cap", []string{"interface=primary_rpc_interface", "kind=soft"}, 1000},
		{"chancery_server_refused_sessions_total", []string{"kind=hard"}, 0},
		{"chancery_js_interpreters", []string{"use=running"}, 0},
	} {
		if got := after.value(t, is.name, is.labels...); got != is.want {
			t.Errorf("%s%q is %v, want %v", is.name, is.labels, got, is.want)
		}
	}
	for name, least := range map[string]float64{
		"chancery_server_sessions": 1, "chancery_js_interpreters_bound": 1, "chancery_kv_tables": 10, "chancery_raft_term": 2,
		"process_open_fds": 10, "go_goroutines": 5,
	} {
		if got := after.value(t, name); got < least {
			t.Errorf("%s is %v, want at least %v", name, got, least)
		}
	}
	s.showsNothing(text)
	page := shellBlocks(t, "../docs/operations.md", 2)[0]
	if out := s.sh(strings.ReplaceAll(page, "127.0.0.1:9464", address)); !strings.Contains(out, "config.json is valid") || !strings.Contains(out, "chancery_signatures_total") {
		t.Errorf("the commands of docs/operations.md print:\n%s", out)
	}
	s.refusesOthers(address)
}

// showsNothing looks for a request's value and key, the private table's name and the
// service's identities in the figures.
func (s *sandbox) showsNothing(text string) {
	s.t.Helper()
	secrets := []string{canary, "88123450", "9912345678", `"records"`, "private_records", "member0", "user0", "BEGIN"}
	for _, secret := range secrets {
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") && strings.Contains(line, secret) {
				s.t.Errorf("the figures show %q: %s", secret, line)
			}
		}
	}
}

// refusesOthers asks the listener for what it does not have.
func (s *sandbox) refusesOthers(address string) {
	s.t.Helper()
	for _, q := range []struct {
		method, path string
		want         int
	}{{"GET", "/", 404}, {"GET", "/node/state", 404}, {"POST", "/metrics", 405}, {"HEAD", "/metrics", 200}} {
		req, err := http.NewRequestWithContext(s.t.Context(), q.method, "http://"+address+q.path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != q.want {
			s.t.Errorf("%s %s: %d, want %d", q.method, q.path, resp.StatusCode, q.want)
		}
	}
}
