package js

import (
	"log/slog"
	"time"

	"github.com/dop251/goja"

	"chancery/kv"
)

// Request is one request to an endpoint of an application.
type Request struct {
	// Tx is the transaction of this execution.
	Tx *kv.Tx
	// Method is the HTTP method in upper case; Path the full path ("/app/..."), as it
	// was sent; Query the query, decoded, without the question mark.
	Method, Path, Query string
	// Host is the Host header; "" gives null.
	Host string
	// Params are the named parts of the path, as Match returned them.
	Params []Param
	// Header calls yield for each header field, names in lower case.
	Header func(yield func(name, value string) bool)
	Body   []byte
	// Caller is request.caller: nil, a *Caller, or JSON.
	Caller any
	// Now and Random stand behind Date and Math.random; nil: the host's clock and entropy.
	Now    func() time.Time
	Random func() float64
	// Restrict narrows what the endpoint may do with maps; nil does not.
	Restrict Restriction
	// Extend adds globals of the caller to those of the endpoint; nil adds none. It runs
	// inside the limits. A host function refuses by panicking with what Throw returns.
	Extend func(vm *goja.Runtime, global *goja.Object)
	// Log takes the application's log lines; nil drops them.
	Log func(level slog.Level, line string)
	// Consensus and History stand behind ccf.consensus and ccf.historical. A nil one
	// makes its functions throw.
	Consensus Consensus
	History   History
	// Past is ccf.historicalState, for endpoints of mode historical; nil elsewhere.
	Past *HistoricalState
}

// Consensus answers what an application asks about positions.
type Consensus interface {
	// LastCommitted is the last committed position.
	LastCommitted() (view, seqno uint64)
	// Status is "Committed", "Invalid", "Pending" or "Unknown" for a position whose
	// seqno is not 0.
	Status(view, seqno uint64) string
	// ViewOf is the view of a seqno; ok is false where it is not known.
	ViewOf(seqno uint64) (view uint64, ok bool)
}

// requestState is what the host functions of one request share.
type requestState struct {
	*Request
	endpoint *Endpoint
	apply    *bool     // setApplyWrites
	claims   *[32]byte // setClaimsDigest
}

// requestMembers are the properties of an endpoint's argument. They are made when they
// are first used.
var requestMembers = []member{
	{name: "headers", value: func(s *sandbox, r *requestState) goja.Value {
		headers := s.vm.NewObject()
		if r.Header != nil {
			for name, value := range r.Header {
				_ = headers.Set(name, value)
			}
		}
		return headers
	}},
	{name: "query", value: func(s *sandbox, r *requestState) goja.Value { return s.vm.ToValue(r.Query) }},
	{name: "path", value: func(s *sandbox, r *requestState) goja.Value { return s.vm.ToValue(r.Path) }},
	{name: "method", value: func(s *sandbox, r *requestState) goja.Value { return s.vm.ToValue(r.Method) }},
	{name: "hostname", value: func(s *sandbox, r *requestState) goja.Value {
		if r.Host == "" {
			return goja.Null()
		}
		return s.vm.ToValue(r.Host)
	}},
	{name: "route", value: func(s *sandbox, r *requestState) goja.Value { return s.vm.ToValue("/app" + r.endpoint.Path) }},
	{name: "url", value: func(s *sandbox, r *requestState) goja.Value {
		url := r.Path
		if r.Query != "" {
			url += "?" + r.Query
		}
		return s.vm.ToValue(url)
	}},
	{name: "params", value: func(s *sandbox, r *requestState) goja.Value {
		params := s.vm.NewObject()
		for _, p := range r.Params {
			_ = params.Set(p.Name, p.Value)
		}
		return params
	}},
	{name: "body", value: func(s *sandbox, _ *requestState) goja.Value { return s.hostObject(bodyTable) }},
	{name: "caller", value: func(s *sandbox, r *requestState) goja.Value { return s.value(r.Caller) }},
}

// requestObject is the argument of an endpoint's function.
func (s *sandbox) requestObject() goja.Value {
	return s.vm.NewDynamicObject(&hostObject{s: s, table: requestTable, request: s.request})
}

// requestBody returns the body, for a function of request.body that takes no arguments.
func (s *sandbox) requestBody(c goja.FunctionCall) []byte {
	s.arity(c, 0)
	return s.current().Body
}

func (s *sandbox) bodyText(c goja.FunctionCall) goja.Value {
	return s.vm.ToValue(utf8Text(s.requestBody(c)))
}

func (s *sandbox) bodyJSON(c goja.FunctionCall) goja.Value {
	return s.parseJSON(utf8Text(s.requestBody(c)))
}

func (s *sandbox) bodyBuffer(c goja.FunctionCall) goja.Value {
	return s.copied(s.requestBody(c))
}

// current returns the request that is being executed.
func (s *sandbox) current() *requestState {
	if s.request == nil {
		s.throwType("There is no request")
	}
	return s.request
}
