package js

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/internal/ccftest"
	"chancery/kv"
)

// answer is what CCF 7.0.2 answered to one question about the probe application.
type answer struct {
	Status  json.RawMessage   `json:"status"`
	Code    string            `json:"code"`
	Message string            `json:"message"`
	Headers map[string]string `json:"headers"`
	JSON    any               `json:"json"`
	Text    *string           `json:"text"`
}

func answers(t *testing.T) map[string]answer {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(ccftest.Answers(t), "ccf-answers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]answer)
	for k, v := range raw {
		var a answer
		if json.Unmarshal(v, &a) == nil && len(a.Status) > 0 {
			out[k] = a
		}
	}
	return out
}

func probeModules(t testing.TB) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for name, path := range map[string]string{"/probe.js": "probe.js", "/lib/show.js": "lib/show.js"} {
		b, err := os.ReadFile(filepath.Join(ccftest.Answers(t), "app", "src", path))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

// probe deploys the probe application. What CCF's node did not survive is not asked.
func probe(t *testing.T) *kv.Store {
	t.Helper()
	eps := map[string]map[string]any{}
	for path, f := range map[string]string{
		"globals": "globals", "kvargs": "kvArgs", "convert": "convert", "crypto": "crypto", "kvwalk": "kvWalk",
		"claims": "claims", "logs": "logs", "rangeargs": "rangeArgs", "kvshape": "kvShape", "kvin": "kvIn",
		"kvkeys": "kvKeys", "tcbbad": "tcbBad", "kvsize": "kvSize", "certs": "certs", "access/{map}": "access",
		"reuse": "reuse", "consensus": "consensus",
	} {
		eps["POST /"+path] = endpoint("probe.js", f)
	}
	eps["GET /respond/{how}"] = endpoint("probe.js", "respond")
	for _, m := range []string{"GET", "POST", "PUT"} {
		eps[m+" /echo/{a}/{b}"] = endpoint("probe.js", "echo")
	}
	ro := endpoint("probe.js", "access")
	ro["mode"] = "readonly"
	eps["POST /accessro/{map}"] = ro
	shared := endpoint("probe.js", "reuse")
	shared["interpreter_reuse"] = map[string]string{"key": "a"}
	eps["POST /reuse/shared"] = shared
	return deploy(t, eps, probeModules(t))
}

// TestProbeAnswers compares with what CCF answered: status, error text, body, and the
// headers that the application decides.
func TestProbeAnswers(t *testing.T) {
	all, st := answers(t), probe(t)
	var apps Apps
	cases := map[string]string{}
	for _, p := range []string{"kvargs", "convert", "kvwalk", "claims", "kvshape", "tcbbad", "kvsize", "crypto", "consensus", "reuse"} {
		cases[p] = "POST /" + p
	}
	for name := range all {
		group, rest, _ := strings.Cut(name, " ")
		switch group {
		case "respond":
			cases[name] = "GET /respond/" + rest
		case "access":
			cases[name] = "POST /access/" + rest
		case "read-only":
			cases[name] = "POST /accessro/" + rest
		}
	}
	asked := 0
	for name, question := range cases {
		want, ok := all[name]
		if !ok || string(want.Status) == `"CRASH"` {
			continue
		}
		asked++
		t.Run(name, func(t *testing.T) {
			method, path, _ := strings.Cut(question, " ")
			got, err := ask(t, st, &apps, &Request{Method: method, Consensus: fixedConsensus{}}, path)
			compareAnswer(t, want, got, err)
		})
	}
	t.Logf("%d questions", asked)
}

func compareAnswer(t *testing.T, want answer, got *Response, err error) {
	t.Helper()
	if want.Code != "" {
		var failed *EndpointError
		if !errors.As(err, &failed) {
			t.Fatalf("got %+v, %v; want 500 %q", got, err, want.Message)
		}
		if failed.Message != want.Message || string(want.Status) != "500" {
			t.Errorf("got %q, want %s %q", failed.Message, want.Status, want.Message)
		}
		return
	}
	if err != nil {
		var failed *EndpointError
		errors.As(err, &failed)
		t.Fatalf("got %v (%+v), want %s", err, failed.Exception, want.Status)
	}
	if s, _ := json.Marshal(got.Status); string(s) != string(want.Status) {
		t.Errorf("status %s, want %s", s, want.Status)
	}
	for _, h := range []string{"content-type", "x-own"} {
		if got.Header[h] != want.Headers[h] {
			t.Errorf("header %s is %q, want %q", h, got.Header[h], want.Headers[h])
		}
	}
	if want.Text != nil && string(got.Body) != *want.Text {
		t.Errorf("body %q, want %q", got.Body, *want.Text)
	}
	if want.JSON != nil {
		var have any
		if err := json.Unmarshal(blank(got.Body), &have); err != nil {
			t.Fatalf("body %q: %v", got.Body, err)
		}
		if d := cmp.Diff(want.JSON, have); d != "" {
			t.Errorf("body (-want +got):\n%s", d)
		}
	}
}

var hexes = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// blank replaces what the recording replaced: times and the headers of PEM texts.
func blank(body []byte) []byte {
	body = regexp.MustCompile(`-----BEGIN ([A-Z ]+)-----`).ReplaceAll(body, []byte("<begin $1>"))
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"\s]*`).ReplaceAll(body, []byte("<time>"))
}

// fixedConsensus has committed 2.100.
type fixedConsensus struct{}

func (fixedConsensus) LastCommitted() (view, seqno uint64) { return 2, 100 }
func (fixedConsensus) ViewOf(seqno uint64) (uint64, bool)  { return 2, seqno > 0 && seqno <= 100 }
func (fixedConsensus) Status(view, seqno uint64) string {
	switch {
	case seqno > 100:
		return "Unknown"
	case view == 2:
		return "Committed"
	}
	return "Invalid"
}
