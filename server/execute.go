package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"chancery/js"
	"chancery/kv"
	"chancery/server/api"
)

// maxAttempts bounds how often a request is executed when it conflicts.
const maxAttempts = 30

// outcome is what executing a request came to.
type outcome struct {
	res   Response
	route *Route // nil where no endpoint was found
	id    TxID   // the TxID to report, zero: none

	committed func(context.Context, *Decided) error // OnCommitted
}

// execute runs a request from the choice of its endpoint to the position of its
// transaction, in CCF's order of checks (doc.go), again on each conflict.
func (s *Server) execute(ctx context.Context, req *Request) outcome {
	var out outcome
	for range maxAttempts {
		out = outcome{}
		again, err := s.attempt(ctx, req, &out)
		if err != nil && !again {
			out.id = TxID{}
			s.fail(ctx, req, &out.res, err)
			return out
		}
		if !again {
			return out
		}
		if err == nil {
			s.metrics.conflicts.Inc()
		}
	}
	s.fail(ctx, req, &out.res, errConflicts)
	return out
}

// attempt runs a request once. again says that its transaction conflicted or, with an
// error, that it has to run once more for a reason of its own.
func (s *Server) attempt(ctx context.Context, req *Request, out *outcome) (again bool, err error) {
	if req.Frontend != NodeFrontend && s.saturated() {
		return false, ErrTooManyPending
	}
	if !s.isOpen(req.Frontend) {
		return false, api.Errorf(http.StatusNotFound, api.FrontendNotOpen, "Frontend is not open.")
	}
	c := &Call{Request: req, Tx: s.node.Begin(), server: s}
	defer c.Tx.Discard()
	run, err := s.lookup(c, out)
	if err != nil || run == nil {
		out.res = c.Response
		return false, err
	}
	if done := s.gate(req, out.route, &out.res); done {
		return false, nil
	}
	if done, err := s.elsewhere(ctx, c, out); done || err != nil {
		return false, err
	}
	if err := s.authenticate(c, out.route.Auth); err != nil {
		out.res = c.Response
		return false, err
	}
	if err := run(ctx, c); err != nil {
		out.res = c.Response
		return errors.Is(err, js.ErrAgain), err
	}
	if c.Response.Status == 0 {
		c.Response.Status = http.StatusOK
	}
	out.res = c.Response
	if err := s.checkView(req, &out.res); err != nil {
		return false, err
	}
	if err := s.confirm(ctx, c); err != nil {
		return false, err
	}
	if !c.applies() {
		return false, nil
	}
	if again, err := s.conclude(ctx, c, out); again || err != nil {
		return again, err
	}
	s.after(ctx, c, out)
	return false, nil
}

// confirm makes sure of a read that wants the service's present state that it had it: on
// the primary, that this is still one.
func (s *Server) confirm(ctx context.Context, c *Call) error {
	if !linearizes(c.Request) || !c.Tx.Touched() || c.Tx.Dirty() || !s.node.Position().Primary {
		return nil
	}
	return s.node.Confirm(ctx)
}

// checkView ends a session whose view is over.
func (s *Server) checkView(req *Request, res *Response) error {
	err := req.Session.checkView(s.node.Position().View)
	if err != nil {
		res.closing = true
	}
	return err
}

// conclude commits the call's transaction where it wrote, and finds the TxID to report.
func (s *Server) conclude(ctx context.Context, c *Call, out *outcome) (again bool, err error) {
	switch {
	case !c.Tx.Touched():
		return false, nil
	case !c.Tx.Dirty():
		out.id = c.Tx.ReadTxID()
		return false, nil
	case out.route.Mode == ReadOnly:
		return false, fmt.Errorf("read-only endpoint %s %s wrote", c.Method, c.Route)
	}
	id, err := s.node.Submit(ctx, c.Tx, Submission{
		Claims: c.Claims, Effects: c.effects, Snapshot: c.snapshot, AwaitCommit: c.committed != nil,
	})
	if errors.Is(err, kv.ErrConflict) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	out.id = id
	return false, nil
}

// lookup finds the endpoint of a call: a JavaScript endpoint of the deployed
// application first, then the route table. Without an endpoint it writes the answer
// (404, 405, or 204 to OPTIONS) and returns nil.
func (s *Server) lookup(c *Call, out *outcome) (Handler, error) {
	var allowed []string
	if c.Frontend == AppFrontend {
		for _, h := range s.js {
			run, methods, err := s.lookupJS(h, c, out)
			if err != nil || run != nil {
				return run, err
			}
			allowed = append(allowed, methods...)
		}
	}
	r, params, more, err := s.tables[c.Frontend].find(c.Method, c.Path)
	if err != nil {
		return nil, err
	}
	if r != nil {
		out.route, c.Request.Params, c.Request.Route = r, params, r.FullPath()
		return r.Handler, nil
	}
	allowed = append(allowed, more...)
	switch {
	case len(allowed) == 0:
		return nil, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Unknown path: %s.", c.Path)
	case c.Method == http.MethodOptions:
		c.Response.Status = http.StatusNoContent
		c.Response.Set(api.HeaderAllow, allowHeader(allowed))
		return nil, nil
	}
	allow := allowHeader(allowed)
	c.Response.Set(api.HeaderAllow, allow)
	return nil, api.Errorf(http.StatusMethodNotAllowed, api.UnsupportedHTTPVerb, "Allowed methods for '%s' are: %s.", c.Path, allow)
}

// gate applies what the interface allows: operator features (404 without a body) and
// accepted endpoints (503 without a body).
func (s *Server) gate(req *Request, r *Route, res *Response) (done bool) {
	in := req.Session.in
	switch {
	case req.Session.forwarded: // the node that the client asked has let it pass
		return false
	case r.Feature != "" && !in.features[r.Feature]:
		res.Status = http.StatusNotFound
	case !in.accepts(r.FullPath()):
		res.Status = http.StatusServiceUnavailable
	default:
		return false
	}
	return true
}

// saturated says that too many transactions wait for their commit.
func (s *Server) saturated() bool {
	if s.cfg.MaxUncommitted == 0 {
		return false
	}
	p := s.node.Position()
	return p.Head.Seqno-p.Committed.Seqno >= s.cfg.MaxUncommitted
}

// isOpen says whether a frontend answers. A frontend that was open stays so.
func (s *Server) isOpen(f Frontend) bool {
	switch f {
	case NodeFrontend:
		return true
	case GovFrontend:
		return s.openness.gov.check(s.govOpen)
	}
	return s.openness.app.check(s.appOpen)
}

// respond executes a request, waits where the client prefers so, and writes the answer.
func (s *Server) respond(ctx context.Context, w http.ResponseWriter, req *Request) {
	start := time.Now()
	out := s.execute(ctx, req)
	s.observe(req, &out, time.Since(start))
	if out.id != (TxID{}) {
		out.res.Set(api.HeaderTxID, out.id.String())
		s.finish(ctx, req, &out)
		if out.res.Status/100 == 2 {
			s.prefer(ctx, req, &out)
		}
	}
	write(w, req, &out.res)
}

// write sends an answer.
func write(w http.ResponseWriter, req *Request, res *Response) {
	h := w.Header()
	for k, v := range res.Header {
		if k == "transfer-encoding" {
			continue // how the answer is framed is not an application's to say
		}
		h.Set(k, v)
	}
	if res.Header[api.HeaderContentType] == "" {
		h["Content-Type"] = nil // net/http must not guess
	}
	if res.closing {
		h.Set("Connection", "close")
	}
	length := int64(len(res.Body))
	if res.file != nil {
		defer res.file.Close()
		length = res.file.length
	}
	allowed := bodyAllowed(res.Status)
	if allowed {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	w.WriteHeader(res.Status)
	if !allowed || req.Method == http.MethodHead {
		return
	}
	// A failing write means that the client is gone; nobody is left to tell.
	if res.file != nil {
		_, _ = io.Copy(w, res.file.reader())
		return
	}
	_, _ = w.Write(res.Body)
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
