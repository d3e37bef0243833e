package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chancery/internal/nodelog"
	"chancery/js"
	"chancery/server/api"
)

// jsHost serves a JavaScript application that is deployed in the KV: by governance, or by
// an application in Go.
type jsHost struct {
	apps   js.Apps
	routes atomic.Pointer[jsRoutes]
	custom *CustomEndpoints // nil: by governance
}

// jsRoutes are the routes of the endpoints of one deployment, made when first asked for.
type jsRoutes struct {
	app    *js.App
	routes sync.Map // *js.Endpoint → *Route
}

// lookupJS finds the JavaScript endpoint of a call. Reading which application is
// deployed makes that part of what the transaction read. Without an endpoint, it
// returns the methods that the application has for the path.
func (s *Server) lookupJS(h *jsHost, c *Call, out *outcome) (Handler, []string, error) {
	app, err := h.apps.At(c.Tx)
	if err != nil {
		return nil, nil, err
	}
	m, err := app.Match(c.Method, c.Path)
	var ambiguous *js.AmbiguousError
	switch {
	case errors.As(err, &ambiguous):
		return nil, nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "Exception: %s", ambiguous)
	case err != nil:
		return nil, nil, jsFailure(app, err)
	case m.Endpoint == nil:
		return nil, m.Allowed, nil
	}
	r, err := s.jsRoute(h, app, m.Endpoint)
	if err != nil {
		return nil, nil, err
	}
	c.Request.Params = make(Params, len(m.Params))
	for i, p := range m.Params {
		c.Request.Params[i] = Param(p)
	}
	out.route, c.Request.Route = r, r.FullPath()
	return func(ctx context.Context, c *Call) error { return s.runJS(ctx, h, c, app, m) }, nil, nil
}

// jsRoute returns the route of an endpoint.
func (s *Server) jsRoute(h *jsHost, app *js.App, e *js.Endpoint) (*Route, error) {
	all := h.routes.Load()
	if all == nil || all.app != app {
		before := all
		all = &jsRoutes{app: app}
		if h.routes.Swap(all) == before && before != nil {
			s.forget(before, app)
		}
	}
	if r, ok := all.routes.Load(e); ok {
		return r.(*Route), nil
	}
	r := &Route{
		Frontend: AppFrontend, Method: e.Method, Path: e.Path,
		Forwarding: Forwarding(e.Forwarding), Redirection: Redirection(e.Redirection),
	}
	if e.Mode != js.ModeReadWrite {
		r.Mode = ReadOnly
	}
	for _, p := range e.Policies {
		policy, err := jsPolicy(p)
		if err != nil {
			return nil, err
		}
		r.Auth = append(r.Auth, policy)
	}
	r.metrics = s.metrics.route(r.Method, r.FullPath())
	all.routes.Store(e, r)
	return r, nil
}

// jsPolicy returns the policy that an endpoint names. A name that is none breaks the
// endpoint, not the deployment (CCF's way).
func jsPolicy(p js.Policy) (Policy, error) {
	names := p.AllOf
	if len(names) == 0 {
		names = []string{p.Name}
	}
	parts := make([]Policy, len(names))
	for i, name := range names {
		part, ok := PolicyByName(name)
		if !ok {
			return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "Exception: Unknown auth policy: %s", name)
		}
		parts[i] = part
	}
	if len(p.AllOf) == 0 {
		return parts[0], nil
	}
	return AllOf(parts...)
}

// runJS executes an endpoint and makes its answer the call's.
func (s *Server) runJS(ctx context.Context, h *jsHost, c *Call, app *js.App, m js.Match) error {
	req := &js.Request{
		Tx: c.Tx, Method: c.Method, Path: c.FullPath, Query: string(c.Query), Host: c.Host,
		Params: m.Params, Header: c.eachHeader, Body: c.Body, Caller: c.Caller.forJS(),
		Log:       func(level slog.Level, line string) { c.log(s.log).Log(ctx, level, line, nodelog.TagKey, "app") },
		Consensus: jsConsensus{s}, History: jsHistory{ctx, s},
	}
	if h.custom != nil {
		req.Restrict, req.Extend = h.custom.Restrict, h.custom.extend(c)
	}
	if m.Endpoint.Mode == js.ModeHistorical {
		past, err := s.past(ctx, c)
		if err != nil || past == nil {
			return err
		}
		req.Past = past
	}
	var record *js.Record
	if m.Endpoint.Record && h.custom == nil {
		var err error
		if record, err = req.Record(s.now()); err != nil {
			return err
		}
	}
	begun := time.Now()
	res, err := app.Execute(ctx, m.Endpoint, req)
	if err != nil {
		return jsFailure(app, err)
	}
	if !res.Quiet && s.log.Enabled(ctx, slog.LevelDebug) {
		// CCF's line, which it writes at level info.
		s.log.DebugContext(ctx, fmt.Sprintf("JS execution complete: Method=%s, Path=%s, Status=%d, ExecMilliseconds=%d",
			m.Endpoint.Method, "/app"+m.Endpoint.Path, res.Status, time.Since(begun).Milliseconds()), nodelog.TagKey, "js")
	}
	c.Response = Response{Status: res.Status, Header: res.Header, Body: res.Body}
	if res.ApplyWrites != nil {
		c.ApplyWrites(*res.ApplyWrites)
	}
	if res.Claims != nil {
		c.Claims = *res.Claims
	}
	return c.keep(record)
}

// keep has the transaction keep the request that it comes of, if it writes anything.
func (c *Call) keep(record *js.Record) error {
	if record == nil || !c.Tx.Dirty() || !c.applies() {
		return nil
	}
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("recording the request: %w", err)
	}
	c.Tx.Put(js.RecordTable, js.RecordKey, text)
	return nil
}

// log is the logger of the call, whose records say at which transaction it reads.
func (c *Call) log(l *slog.Logger) *slog.Logger {
	return nodelog.Context(l, func() []slog.Attr { return []slog.Attr{slog.String("txid", c.Tx.ReadTxID().String())} })
}

// jsFailure is the answer for an endpoint that gave none. What was thrown is shown
// only where the service is configured to.
func jsFailure(app *js.App, err error) error {
	var failed *js.EndpointError
	if !errors.As(err, &failed) {
		return err
	}
	e := api.Errorf(http.StatusInternalServerError, api.InternalError, "%s", failed.Message)
	if x := failed.Exception; x != nil && app.Options.ReturnExceptionDetails {
		e.Details = []any{api.JSDetail{Code: api.JSException, Message: x.Reason, Trace: x.Trace}}
	}
	return e
}

// eachHeader yields the header fields by lower-case name, in the order of names.
func (r *Request) eachHeader(yield func(name, value string) bool) {
	names := make([]string, 0, len(r.Header)+1)
	for name := range r.Header {
		names = append(names, name)
	}
	if r.Host != "" {
		names = append(names, "Host")
	}
	slices.Sort(names)
	for _, name := range names {
		value := r.Host
		if v, ok := r.Header[name]; ok {
			value = v[0]
		}
		if !yield(strings.ToLower(name), value) {
			return
		}
	}
}

// forJS is the caller as applications see it (request.caller): nil, or a *js.Caller.
func (c *Caller) forJS() any {
	if c == nil {
		return nil
	}
	return c.shown()
}

func (c *Caller) shown() *js.Caller {
	out := &js.Caller{Policy: c.Policy, ID: c.ID, Data: c.Data, Cert: c.Cert}
	if c.COSE != nil {
		out.COSE = &js.COSEContent{Content: c.COSE.Payload}
	}
	if c.JWT != nil {
		out.JWT = &js.Token{Issuer: c.JWT.Issuer, Header: c.JWT.Header, Payload: c.JWT.Payload}
	}
	if c.All != nil {
		out.All = make(map[string]*js.Caller, len(c.All))
		for name, part := range c.All {
			out.All[name] = part.shown()
		}
	}
	return out
}

// jsConsensus stands behind ccf.consensus.
type jsConsensus struct{ s *Server }

func (j jsConsensus) LastCommitted() (view, seqno uint64) {
	id := j.s.node.Position().Committed
	return id.View, id.Seqno
}

func (j jsConsensus) Status(view, seqno uint64) string {
	return string(j.s.node.Position().Status(TxID{View: view, Seqno: seqno}))
}

func (j jsConsensus) ViewOf(seqno uint64) (uint64, bool) {
	view := j.s.node.Position().ViewOf(seqno)
	return view, view != 0
}

// describeAllJS adds the JavaScript endpoints to an API document: those of governance
// last, since they win.
func (s *Server) describeAllJS(c *Call, paths jsonObject) error {
	for _, h := range slices.Backward(s.js) {
		if err := s.describeJS(h, c, paths); err != nil {
			return err
		}
	}
	return nil
}

// describeJS adds the endpoints of the deployed application to an API document. What
// the application says of an endpoint is shown as it is.
func (s *Server) describeJS(h *jsHost, c *Call, paths jsonObject) error {
	app, err := h.apps.At(c.Tx)
	if err != nil {
		return err
	}
	for _, e := range app.Endpoints() {
		if e.Hidden {
			continue
		}
		op := jsonObject{}
		if json.Unmarshal(e.OpenAPI, &op) != nil || op == nil { // shown without what it said
			op = jsonObject{}
		}
		op["x-ccf-forwarding"] = jsonObject{"$ref": "#/components/x-ccf-forwarding/" + e.Forwarding}
		if r, err := s.jsRoute(h, app, e); err == nil && len(r.Auth) > 0 {
			op["security"] = security(r.Auth)
		}
		addOperation(paths, "/app"+e.Path, e.Method, op)
	}
	return nil
}
