package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/kv"
)

// lockedBuffer takes what several goroutines log.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestJSRecord: transactions of an endpoint that asks for it keep their request, others
// and those that write nothing keep none. The log says at level debug what ran, unless the
// application says otherwise.
func TestJSRecord(t *testing.T) {
	log := new(lockedBuffer)
	s := testService(t, func(c *Config, _ *InterfaceOptions) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	const module = `
		export function put(r) {
			if (r.query === "quiet") ccf.enableMetricsLogging(false);
			ccf.kv.t.set(ccf.strToBuf("k"), r.body.arrayBuffer());
			return { statusCode: r.query === "fail" ? 400 : 200 };
		}
		export function nothing() { return {}; }`
	endpoint := func(f, own string) []byte {
		return []byte(`{"js_module":"/a.js","js_function":"` + f + `","mode":"readwrite","forwarding_required":"always","authn_policies":["no_auth"]` + own + `}`)
	}
	const recorded = `,"chancery":{"record":true}`
	s.node.put(t, func(tx *kv.Tx) {
		tx.Put(tables.NameModules, []byte("/a.js"), []byte(module))
		tx.Put(tables.NameInterpreterFlush, tables.SingletonKey, []byte("true"))
		for key, value := range map[string][]byte{
			"PUT /kept/{a}": endpoint("put", recorded), "PUT /plain": endpoint("put", ""), "PUT /nothing": endpoint("nothing", recorded),
		} {
			tx.Put(tables.NameEndpoints, []byte(key), value)
		}
	})
	c := s.client(t, nil)
	kept := func() (string, uint64) {
		tx := s.node.Begin()
		text, _ := tx.Get(js.RecordTable, js.RecordKey)
		version, _ := tx.VersionOfPreviousWrite(js.RecordTable, js.RecordKey)
		return string(text), version
	}
	for _, path := range []string{"/plain", "/nothing", "/kept/x?fail"} {
		s.do(t, c, "PUT", "/app"+path, "body")
		if text, _ := kept(); text != "" {
			t.Errorf("%s was recorded: %s", path, text)
		}
	}
	for _, path := range []string{"/kept/x%20y?a=b%20c", "/kept/z?quiet"} {
		a := s.do(t, c, "PUT", "/app"+path, "the body", "authorization", "Bearer token", "x-own", "field")
		text, version := kept()
		if a.StatusCode != 200 || a.Header.Get("x-ms-ccf-transaction-id") == "" || version != s.node.Position().Head.Seqno-1 {
			t.Fatalf("%s: %d; recorded at %d, the head is %v", path, a.StatusCode, version, s.node.Position().Head)
		}
		var r js.Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		p, query, _ := strings.Cut(path, "?")
		if r.Method != "PUT" || r.Path != "/app"+p || r.Query != strings.ReplaceAll(query, "%20", " ") || string(r.Body) != "the body" || r.Caller.Policy != "no_auth" || r.At.IsZero() {
			t.Errorf("%s: recorded %s", path, text)
		}
		if !strings.Contains(text, `["x-own","field"]`) || !strings.Contains(text, `["authorization",""]`) || strings.Contains(text, "token") {
			t.Errorf("%s: headers in %s", path, text)
		}
	}
	if got, want := strings.Count(log.String(), `"JS execution complete: Method=PUT, Path=/app/kept/{a}, Status=`), 2; got != want {
		t.Errorf("%d lines about executions, want %d:\n%s", got, want, log)
	}
}
