package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/kv"
	"chancery/server/api"
)

// TestCheckOriginal: an action passes once, none passes that is older than the median of
// the recent ones, and only so many are remembered.
func TestCheckOriginal(t *testing.T) {
	e, st := NewCustomEndpoints("public:custom"), kv.NewStore()
	tx := st.Begin()
	check := func(body string, at uint64) string {
		err := e.CheckOriginal(&Call{Request: &Request{Body: []byte(body)}, Tx: tx}, at)
		var refused *api.Error
		if errors.As(err, &refused) {
			return fmt.Sprint(refused.Status, " ", refused.Message)
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	const replayed, stale = "500 Action was already applied", "500 Action created_at timestamp is too old"
	for i, tt := range []struct {
		body string
		at   uint64
		want string
	}{{"a", 100, ""}, {"a", 100, replayed}, {"a", 101, ""}, {"b", 100, stale}, {"b", 101, ""}, {"c", 100, stale}, {"c", 1000, ""}, {"d", 101, ""}} {
		if got := check(tt.body, tt.at); got != tt.want {
			t.Errorf("%d: %s at %d: %q, want %q", i, tt.body, tt.at, got, tt.want)
		}
	}
	for i := range uint64(300) {
		if got := check(fmt.Sprint(i), 2000+i); got != "" {
			t.Fatal(i, got)
		}
	}
	if n := tx.Len("public:custom.recent_actions"); n != recentActions {
		t.Errorf("%d actions are remembered, want %d", n, recentActions)
	}
	for k := range tx.Range("public:custom.recent_actions", kv.Bounds{}) {
		if !strings.HasPrefix(string(k), `"0000002200:`) {
			t.Errorf("the oldest action is %s", k)
		}
		break
	}
}

// TestCustomBundles: what is no bundle is refused, and what is one comes back.
func TestCustomBundles(t *testing.T) {
	e := NewCustomEndpoints("public:custom")
	install := func(bundle string) (*Call, error) {
		c := &Call{Request: &Request{}, Tx: kv.NewStore().Begin()}
		return c, e.Install(c, []byte(bundle))
	}
	for bundle, status := range map[string]int{
		``: 400, `[]`: 400, `{"metadata": 1}`: 400, `{"modules": [{"name": 1}]}`: 400,
		`{"metadata": {"endpoints": {"/x": {"get": {"mode": "nonsense"}}}}}`:       500,
		`{"modules": [{"name": "a.js", "module": "export const = 1"}]}`:            500,
		`{"modules": [{"name": "a.js", "module": "import './none.js'"}]}`:          500,
		`{"metadata": {"endpoints": {"/x/{a}/{a}": {"get": {"js_module": "a"}}}}}`: 500,
	} {
		var refused *api.Error
		if _, err := install(bundle); !errors.As(err, &refused) || refused.Status != status {
			t.Errorf("%s: %v, want %d", bundle, err, status)
		}
	}
	c, err := install(`{"metadata": {"endpoints": {"/x": {"get": {"js_module": "a.js", "js_function": "f"}}}}, "modules": [{"name": "a.js", "module": "export function f() {}"}]}`)
	must(t, err)
	got, err := encodeJSON(e.Bundle(c))
	must(t, err)
	want := `{"metadata":{"endpoints":{"/x":{"GET":{"js_module":"a.js","js_function":"f"}}}},"modules":[{"name":"/a.js","module":"export function f() {}"}]}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

// TestCustomOrder: custom endpoints win over those in Go, and governance's over both; all
// methods of a path are named.
func TestCustomOrder(t *testing.T) {
	app := nativeApp()
	app.Custom = NewCustomEndpoints("public:custom")
	s := testService(t, func(c *Config, _ *InterfaceOptions) { c.App = app })
	answer := func(text string) string {
		return fmt.Sprintf(`{"metadata": {"endpoints": {"/read": {"get": {"js_module": "a.js", "js_function": "f"}, "post": {"js_module": "a.js", "js_function": "f"}}}}, "modules": [{"name": "a.js", "module": "export const f = () => ({body: '%s'});"}]}`, text)
	}
	c := s.client(t, nil)
	ask := func(want string) {
		t.Helper()
		if a := s.do(t, c, "GET", "/app/read", ""); !strings.Contains(a.body, want) {
			t.Errorf("%q, want %q", a.body, want)
		}
	}
	ask("Committed")
	s.node.put(t, func(tx *kv.Tx) {
		must(t, app.Custom.Install(&Call{Request: &Request{}, Tx: tx}, []byte(answer("custom"))))
	})
	ask("custom")
	if a := s.do(t, c, "PUT", "/app/read", ""); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("allow") != "OPTIONS, GET, POST" {
		t.Errorf("PUT: %d, %q", a.StatusCode, a.Header.Get("allow"))
	}
	s.node.put(t, func(tx *kv.Tx) {
		tx.Put("public:ccf.gov.endpoints", []byte("GET /read"), []byte(`{"js_module": "/b.js", "js_function": "f"}`))
		tx.Put("public:ccf.gov.modules", []byte("/b.js"), []byte(`export const f = () => ({body: 'deployed'});`))
	})
	ask("deployed")
}
