package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"chancery/kv/writeset"
	"chancery/server/api"
)

// nativeApp uses what applications in Go have besides reading and writing.
func nativeApp() *App {
	app := &App{}
	taken := func(_ context.Context, c *Call) error {
		if err := c.CheckETag("tag"); err != nil {
			return err
		}
		c.Response.Raw(api.TypeText, []byte("taken"))
		c.Tx.Put("t", []byte("k"), nil)
		return nil
	}
	for _, m := range []string{"PUT", "DELETE"} {
		app.Handle(m, "/tagged", ReadWrite, nil, taken)
	}
	app.Handle("GET", "/tagged", ReadWrite, nil, taken)
	put := func(c *Call) { c.Tx.Put("t", []byte("k"), []byte(c.Query)) }
	app.Handle("PUT", "/executed", ReadWrite, nil, func(_ context.Context, c *Call) error {
		put(c)
		c.OnExecuted(func(id TxID, r *Response) error {
			r.Raw(api.TypeText, []byte("at "+id.String()))
			if fail, _ := c.Query.Get("fail"); fail == "yes" {
				return api.Errorf(http.StatusTeapot, api.InternalError, "after it")
			}
			return nil
		})
		if status, _ := c.Query.Get("status"); status != "" {
			c.Response.Status = 400
		}
		return nil
	})
	app.Handle("PUT", "/committed", ReadWrite, nil, func(_ context.Context, c *Call) error {
		put(c)
		c.Response.Raw(api.TypeText, []byte("the handler's"))
		c.OnCommitted(RespondCommitted)
		return nil
	})
	app.Handle("PUT", "/receipt", ReadWrite, nil, func(_ context.Context, c *Call) error {
		put(c)
		c.OnCommitted(RespondWithReceipt)
		return nil
	})
	app.Handle("PUT", "/failing", ReadWrite, nil, func(_ context.Context, c *Call) error {
		put(c)
		c.OnCommitted(func(context.Context, *Decided) error { return errors.New("secret") })
		return nil
	})
	app.Handle("GET", "/read", ReadOnly, nil, func(_ context.Context, c *Call) error {
		c.Tx.Get("t", []byte("k"))
		c.OnCommitted(func(_ context.Context, d *Decided) error {
			d.Response.Raw(api.TypeText, []byte(fmt.Sprint(d.ID, d.Status)))
			return nil
		})
		return nil
	})
	own := NewPolicy("own", func(c *Call) (*Caller, error) {
		switch name := c.Get("X-Name"); name {
		case "":
			return nil, Refuse("who are you", "own realm")
		case "broken":
			return nil, api.Errorf(http.StatusTeapot, api.InternalError, "broken")
		default:
			return &Caller{Own: name}, nil
		}
	})
	whoami := func(_ context.Context, c *Call) error {
		c.Response.Raw(api.TypeText, fmt.Appendf(nil, "%s %v", c.Caller.Policy, c.Caller.Own))
		return nil
	}
	app.Handle("GET", "/own", ReadOnly, []Policy{own}, whoami)
	app.Handle("GET", "/either", ReadOnly, []Policy{own, NoAuth}, whoami)
	app.Handle("GET", "/past", ReadOnly, nil, AboutPast(func(_ context.Context, c *Call, past *Past) error {
		value, ok := past.Get("t", []byte("k"))
		_, other := past.Get("u", []byte("k"))
		c.Response.Raw(api.TypeText, fmt.Appendf(nil, "%s %s %v %v", past.ID, value, ok, other))
		return nil
	}))
	return app
}

func nativeService(t *testing.T) *service {
	return testService(t, func(c *Config, _ *InterfaceOptions) { c.App = nativeApp() })
}

func TestETags(t *testing.T) {
	s := nativeService(t)
	c := s.client(t, nil)
	for _, tt := range []struct {
		method, field, value string
		want                 int
	}{
		{"PUT", "x", "y", 200},
		{"PUT", "if-match", `"tag"`, 200}, {"PUT", "if-match", `*`, 200}, {"PUT", "if-match", `"a", "tag"`, 200}, {"PUT", "if-match", `"tag","a"`, 200},
		{"PUT", "if-match", `"a","tag",`, 200}, {"PUT", "if-match", `"a"`, 412}, {"PUT", "if-match", `"a" , "tag"`, 400},
		{"PUT", "if-match", `tag`, 400}, {"PUT", "if-match", `W/"tag"`, 400}, {"PUT", "if-match", `"tag`, 400}, {"PUT", "if-match", `""`, 400},
		{"PUT", "if-match", `"tag" x`, 400}, {"PUT", "if-match", ``, 400}, {"PUT", "if-match", `*,"tag"`, 400},
		{"PUT", "if-none-match", `"tag"`, 412}, {"PUT", "if-none-match", `*`, 412}, {"PUT", "if-none-match", `"a"`, 200}, {"PUT", "if-none-match", `a`, 400},
		{"GET", "if-none-match", `"tag"`, 304}, {"GET", "if-none-match", `"a"`, 200}, {"GET", "if-match", `"a"`, 412}, {"GET", "if-match", `"tag"`, 200},
		{"DELETE", "if-none-match", `"tag"`, 304}, {"DELETE", "if-match", `"a"`, 412},
	} {
		a := s.do(t, c, tt.method, "/app/tagged", "", tt.field, tt.value)
		if a.StatusCode != tt.want {
			t.Errorf("%s with %s: %s: %d %s, want %d", tt.method, tt.field, tt.value, a.StatusCode, a.body, tt.want)
		}
		switch a.StatusCode {
		case 304:
			if a.body != "" || a.Header.Get("content-type") != "" || a.Header.Get(api.HeaderTxID) != "" {
				t.Errorf("a body or a transaction with 304: %q %v", a.body, a.Header)
			}
		case 412:
			if code, message := errorOf(t, a); code != "PreconditionFailed" || message != "Resource has changed." {
				t.Errorf("412 is %s %q", code, message)
			}
		case 400:
			if code, message := errorOf(t, a); code != "InvalidHeaderValue" || message != "Invalid If-Match header" {
				t.Errorf("400 is %s %q", code, message)
			}
		}
	}
	if a := s.do(t, c, "PUT", "/app/tagged", "", "if-match", "*", "if-none-match", "*"); a.StatusCode != 400 {
		t.Errorf("both fields: %d", a.StatusCode)
	}
}

func TestOnExecuted(t *testing.T) {
	s := nativeService(t)
	c := s.client(t, nil)
	a := s.do(t, c, "PUT", "/app/executed", "")
	id := a.Header.Get(api.HeaderTxID)
	if a.StatusCode != 200 || id == "" || a.body != "at "+id {
		t.Errorf("%d %q at %s", a.StatusCode, a.body, id)
	}
	a = s.do(t, c, "PUT", "/app/executed?fail=yes", "")
	if code, message := errorOf(t, a); a.StatusCode != 418 || message != "after it" || a.Header.Get(api.HeaderTxID) == "" {
		t.Errorf("failing: %d %s %s at %q: the transaction stands", a.StatusCode, code, message, a.Header.Get(api.HeaderTxID))
	}
	if a = s.do(t, c, "PUT", "/app/executed?status=400", ""); a.StatusCode != 400 || a.body != "" || a.Header.Get(api.HeaderTxID) != "" {
		t.Errorf("refused: %d %q", a.StatusCode, a.body)
	}
}

// heldApp sends a request whose answer the application holds, and returns it when it comes.
func heldApp(t *testing.T, s *service, path string) <-chan answer {
	t.Helper()
	before := s.node.Position().Head.Seqno
	out := make(chan answer, 1)
	c := s.client(t, nil)
	go func() { out <- s.do(t, c, "PUT", path, "") }()
	for s.node.Position().Head.Seqno == before {
		select {
		case a := <-out:
			t.Fatalf("the answer came before the commit: %d %s", a.StatusCode, a.body)
		default:
		}
	}
	return out
}

func TestOnCommitted(t *testing.T) {
	s := nativeService(t)
	s.node.auto = false
	out := heldApp(t, s, "/app/committed")
	select {
	case a := <-out:
		t.Fatalf("the answer came before the commit: %d %s", a.StatusCode, a.body)
	default:
	}
	s.node.sign()
	if a := <-out; a.StatusCode != 200 || a.body != "the handler's" || a.Header.Get(api.HeaderTxID) != "2.3" {
		t.Errorf("committed: %d %q at %s", a.StatusCode, a.body, a.Header.Get(api.HeaderTxID))
	}
	if !s.node.last.AwaitCommit {
		t.Error("the node does not know that somebody waits")
	}
	out = heldApp(t, s, "/app/receipt")
	s.node.sign()
	if a := <-out; a.StatusCode != 200 || a.body != "\xd2" || a.Header.Get("content-type") != api.TypeCOSE {
		t.Errorf("receipt: %d %q", a.StatusCode, a.body)
	}
	out = heldApp(t, s, "/app/failing")
	s.node.sign()
	if a := <-out; a.StatusCode != 500 || strings.Contains(a.body, "secret") || a.Header.Get(api.HeaderTxID) == "" {
		t.Errorf("failing: %d %q", a.StatusCode, a.body)
	}
	if a := s.do(t, s.client(t, nil), "GET", "/app/read", ""); !strings.HasSuffix(a.body, "Committed") {
		t.Errorf("a read: %q", a.body)
	}
	out = heldApp(t, s, "/app/committed")
	s.node.lose()
	a := <-out
	if code, message := errorOf(t, a); a.StatusCode != 500 || code != "TransactionInvalid" || !strings.Contains(message, "it was invalidated") {
		t.Errorf("rolled back: %d %s %q", a.StatusCode, code, message)
	}
}

func TestOwnPolicies(t *testing.T) {
	s := nativeService(t)
	c := s.client(t, nil)
	if a := s.do(t, c, "GET", "/app/own", "", "x-name", "ann"); a.body != "own ann" {
		t.Errorf("accepted: %d %q", a.StatusCode, a.body)
	}
	a := s.do(t, c, "GET", "/app/own", "")
	if a.StatusCode != 401 || a.Header.Get(api.HeaderAuthenticate) != "own realm" || !strings.Contains(a.body, `{"auth_policy":"own","code":"InvalidAuthenticationInfo","message":"who are you"}`) {
		t.Errorf("refused: %d %q %s", a.StatusCode, a.Header.Get(api.HeaderAuthenticate), a.body)
	}
	if a := s.do(t, c, "GET", "/app/either", ""); a.body != "no_auth <nil>" {
		t.Errorf("the next policy: %q", a.body)
	}
	if a := s.do(t, c, "GET", "/app/either", "", "x-name", "broken"); a.StatusCode != 418 {
		t.Errorf("a broken policy: %d %q", a.StatusCode, a.body)
	}
}

func TestPast(t *testing.T) {
	s := nativeService(t)
	c := s.client(t, nil)
	id := s.do(t, c, "PUT", "/app/executed?v=1", "").Header.Get(api.HeaderTxID)
	s.do(t, c, "PUT", "/app/executed?v=2", "")
	if a := s.do(t, c, "GET", "/app/past", "", api.HeaderTxID, id); a.body != id+" v=1 true false" {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	for _, bad := range []string{"", "x", "2.4000", "1.3"} {
		if a := s.do(t, c, "GET", "/app/past", "", api.HeaderTxID, bad); a.StatusCode != 404 {
			t.Errorf("about %q: %d %s", bad, a.StatusCode, a.body)
		}
	}
}

// TestIndexes: strategies are given every committed transaction in order, none that is
// not, from where they begin; and are shown.
func TestIndexes(t *testing.T) {
	app := nativeApp()
	early := NewSeqnosByKey("t")
	if err := app.Indexes.Install(early); err != nil {
		t.Fatal(err)
	}
	if err := app.Indexes.Install(NewSeqnosByKey("t")); err == nil {
		t.Error("installed twice")
	}
	s := testService(t, func(c *Config, _ *InterfaceOptions) { c.App = app })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Index(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	caughtUp := func(x *SeqnosByKey) {
		for x.Indexed().Seqno < s.node.Position().Committed.Seqno {
		}
	}
	c := s.client(t, nil)
	s.do(t, c, "PUT", "/app/executed?v=1", "") // 2.3, signed by 2.4
	s.do(t, c, "PUT", "/app/executed?v=2", "") // 2.5
	caughtUp(early)
	late := NewSeqnosByKey("u")
	if err := app.Indexes.Install(late); err != nil {
		t.Fatal(err)
	}
	caughtUp(late)
	s.node.auto = false
	s.do(t, c, "PUT", "/app/executed?v=3", "") // 2.7, pending
	if got, ok := early.Seqnos([]byte("k"), 1, 6); !ok || fmt.Sprint(got) != "[3 5]" {
		t.Errorf("indexed %v, %v", got, ok)
	}
	for _, r := range []struct {
		first, last uint64
		want        string
	}{{3, 3, "[3]"}, {4, 4, "[]"}, {4, 6, "[5]"}, {6, 3, "[]"}} {
		if got, ok := early.Seqnos([]byte("k"), r.first, r.last); !ok || fmt.Sprint(got) != r.want {
			t.Errorf("from %d to %d: %v, %v, want %s", r.first, r.last, got, ok, r.want)
		}
	}
	if _, ok := early.Seqnos([]byte("k"), 1, 7); ok {
		t.Error("what is not committed is indexed")
	}
	want := `[{"indexed_watermark":"2.6","name":"SeqnosByKey t","next_requested_seqno":7,"target_map":"t"},{"indexed_watermark":"2.6","name":"SeqnosByKey u","next_requested_seqno":7,"target_map":"u"}]`
	if a := s.do(t, c, "GET", "/node/index/strategies", ""); a.body != want {
		t.Errorf("shown as %s, want %s", a.body, want)
	}
	if !app.Indexes.Uninstall(late.Name()) || app.Indexes.Uninstall(late.Name()) {
		t.Error("not uninstalled once")
	}
}

// TestOnCommittedForwarded: an answer that another node waits for is held here, by the
// primary, and is what the application makes of it.
func TestOnCommittedForwarded(t *testing.T) {
	s := nativeService(t)
	s.node.auto = false
	done := make(chan *ForwardedAnswer, 1)
	go func() {
		a, err := s.ServeForwarded(t.Context(), &Forwarded{Method: "PUT", URL: "/app/receipt", Interface: "primary"})
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	for s.node.Position().Head.Seqno < 3 {
	}
	select {
	case a := <-done:
		t.Fatalf("the answer came before the commit: %+v", a)
	default:
	}
	s.node.sign()
	if a := <-done; a == nil || a.Status != 200 || string(a.Body) != "\xd2" || a.TxID != "2.3" {
		t.Errorf("got %+v", a)
	}
}

// FuzzMatches compares with the expression that CCF's parser is made of.
func FuzzMatches(f *testing.F) {
	for _, seed := range []string{`*`, `"tag"`, `"a", "tag"`, `"a" "tag"`, `"tag",`, `"tag`, `tag`, ``, `"",`, `W/"tag"`, `"a",,"b"`, "\"a\",\t\"b\""} {
		f.Add(seed)
	}
	one := regexp.MustCompile(`^"([^"]+)",?[ \t\n\v\f\r]*`)
	f.Fuzz(func(t *testing.T, field string) {
		want, valid := field == "*", field != ""
		for rest := field; field != "*" && rest != ""; {
			m := one.FindStringSubmatch(rest)
			if m == nil {
				valid = false
				break
			}
			want = want || m[1] == "tag"
			rest = rest[len(m[0]):]
		}
		got, err := matches(field, "tag")
		if (err == nil) != valid || valid && got != want {
			t.Errorf("%q: %v, %v; want %v, valid %v", field, got, err, want, valid)
		}
	})
}

// hungry is a strategy that has always more to read.
type hungry struct{}

func (hungry) Name() string                   { return "hungry" }
func (hungry) Next() uint64                   { return 1 }
func (hungry) Handle(TxID, writeset.WriteSet) {}

// TestIndexStops: a node that stops does not wait for an index that is far behind.
func TestIndexStops(t *testing.T) {
	app := nativeApp()
	if err := app.Indexes.Install(hungry{}); err != nil {
		t.Fatal(err)
	}
	s := testService(t, func(c *Config, _ *InterfaceOptions) { c.App = app })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() { done <- s.Index(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not stop")
	}
}
