package js

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Mode is how an endpoint uses the maps.
type Mode string

// The modes of an endpoint.
const (
	ModeReadWrite  Mode = "readwrite"
	ModeReadOnly   Mode = "readonly"
	ModeHistorical Mode = "historical"
)

// Endpoint is one entry of the endpoints table. It is immutable.
type Endpoint struct {
	// Method is the HTTP method in upper case; Path the template, relative to /app.
	Method, Path string
	// Module is the key of the module in the modules table, Function its export.
	Module, Function string
	Mode             Mode
	// Forwarding is "always", "sometimes" or "never"; Redirection "none", "to_primary"
	// or "to_backup". Both have CCF's defaults filled in.
	Forwarding, Redirection string
	// Policies are the authentication policies, tried in order; none: nobody is asked.
	Policies []Policy
	// OpenAPI is the operation object for the API document; nil: none given.
	OpenAPI json.RawMessage
	Hidden  bool
	// ReuseKey asks for an interpreter that is kept between requests of this key; ""
	// for a fresh one each time.
	ReuseKey string
	// Limits override those of the application, field by field; 0: the application's.
	Limits Limits
	// Record asks that each transaction keep its request (RecordTable).
	Record bool
	// Raw is the entry as it is stored.
	Raw json.RawMessage

	template *template // nil: the path has no parameters
	broken   error     // why the entry is none; the endpoint is there and fails
}

// Policy is one authentication policy: a name, or several that must all accept.
type Policy struct {
	Name  string
	AllOf []string // sorted; when set, Name is them joined by "+"
}

// UnmarshalJSON reads "name" or {"all_of": ["a", "b"]}.
func (p *Policy) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &p.Name); err == nil {
		return nil
	}
	var o struct {
		AllOf []string `json:"all_of"`
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return fmt.Errorf("authentication policy: %w", err)
	}
	if len(o.AllOf) == 0 {
		return fmt.Errorf("authentication policy %s names no policy", b)
	}
	slices.Sort(o.AllOf)
	if len(slices.Compact(slices.Clone(o.AllOf))) != len(o.AllOf) {
		return fmt.Errorf("authentication policy %s names a policy twice", b)
	}
	p.AllOf, p.Name = o.AllOf, strings.Join(o.AllOf, "+")
	return nil
}

// readEndpoint reads an entry of the endpoints table. One that is none is an endpoint that
// fails, and leaves the others alone.
func readEndpoint(tableKey string, value []byte) *Endpoint {
	e, err := parseEndpoint(tableKey, value)
	if err == nil {
		return e
	}
	e = &Endpoint{Hidden: true, Mode: ModeReadOnly, Raw: slices.Clone(value), broken: &EndpointError{Message: err.Error()}}
	e.Method, e.Path, _ = strings.Cut(tableKey, " ")
	if strings.Contains(e.Path, "{") {
		e.template, _ = parseTemplate(e.Path) // nil for a path that is no template
	}
	return e
}

// parseEndpoint reads an entry of the endpoints table.
func parseEndpoint(tableKey string, value []byte) (*Endpoint, error) {
	method, path, ok := strings.Cut(tableKey, " ")
	if !ok {
		return nil, fmt.Errorf("endpoint %q: the key is not a method and a path", tableKey)
	}
	stored := struct {
		Module      string          `json:"js_module"`
		Function    string          `json:"js_function"`
		Mode        Mode            `json:"mode"`
		Forwarding  string          `json:"forwarding_required"`
		Redirection string          `json:"redirection_strategy"`
		Policies    []Policy        `json:"authn_policies"`
		OpenAPI     json.RawMessage `json:"openapi"`
		Hidden      bool            `json:"openapi_hidden"`
		Reuse       *struct {
			Key string `json:"key"`
		} `json:"interpreter_reuse"`
		// What CCF does not have is under one key of our own.
		Chancery struct {
			Limits storedLimits `json:"limits"`
			Record bool         `json:"record"`
		} `json:"chancery"`
	}{Mode: ModeReadWrite, Forwarding: "always", Redirection: "to_primary"}
	if err := json.Unmarshal(value, &stored); err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", tableKey, err)
	}
	switch stored.Mode {
	case ModeReadWrite, ModeReadOnly, ModeHistorical:
	default:
		return nil, fmt.Errorf("endpoint %q: unknown mode %q", tableKey, stored.Mode)
	}
	e := &Endpoint{
		Method: method, Path: path, Module: key(stored.Module), Function: stored.Function, Mode: stored.Mode,
		Forwarding: stored.Forwarding, Redirection: stored.Redirection, Policies: stored.Policies,
		OpenAPI: stored.OpenAPI, Hidden: stored.Hidden, Raw: slices.Clone(value),
		Limits: stored.Chancery.Limits.limits(), Record: stored.Chancery.Record,
	}
	if stored.Reuse != nil {
		e.ReuseKey = stored.Reuse.Key
	}
	if strings.Contains(path, "{") {
		t, err := parseTemplate(path)
		if err != nil {
			return nil, fmt.Errorf("endpoint %q: %w", tableKey, err)
		}
		e.template = t
	}
	return e, nil
}

// limits are those of the endpoint's function in an application with these.
func (e *Endpoint) limits(of Limits) Limits {
	return Limits{
		MaxHeapBytes:     cmp.Or(e.Limits.MaxHeapBytes, of.MaxHeapBytes),
		MaxStackBytes:    cmp.Or(e.Limits.MaxStackBytes, of.MaxStackBytes),
		MaxExecutionTime: cmp.Or(e.Limits.MaxExecutionTime, of.MaxExecutionTime),
	}
}

// access is the execution context of the endpoint's function.
func (e *Endpoint) access() Access {
	if e.Mode == ModeReadWrite {
		return AppReadWrite
	}
	return AppReadOnly
}
