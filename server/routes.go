package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"chancery/server/api"
)

// Frontend is one of the three faces of a node: which endpoints there are, and from
// when on they answer.
type Frontend string

// The frontends, named by the first segment of the path.
const (
	AppFrontend  Frontend = "app"
	GovFrontend  Frontend = "gov"
	NodeFrontend Frontend = "node"
)

// Mode says what an endpoint may do with its transaction.
type Mode uint8

// The modes. A ReadOnly endpoint that writes is refused with 500, and nothing is written.
const (
	ReadWrite Mode = iota
	ReadOnly
)

// Forwarding says which node executes a request that reaches a backup.
type Forwarding string

// CCF's words: the primary, it once the session has been forwarded, the node asked.
const (
	ForwardAlways    Forwarding = "always"
	ForwardSometimes Forwarding = "sometimes"
	ForwardNever     Forwarding = "never"
)

// Redirection says where an interface that redirects sends a request.
type Redirection string

// CCF's words.
const (
	RedirectNone      Redirection = "none"
	RedirectToPrimary Redirection = "to_primary"
	RedirectToBackup  Redirection = "to_backup"
)

// Handler is the code of an endpoint. It may run several times for one request, each
// time over a fresh transaction and a fresh response; what it does outside the
// transaction must bear that. An error becomes an error answer (see failures); an
// *api.Error says all of it itself.
type Handler func(ctx context.Context, c *Call) error

// Route is one endpoint.
type Route struct {
	Frontend Frontend
	// Method is the HTTP method; Path the template within the frontend, e.g. "/tx".
	Method, Path string
	Mode         Mode
	// Auth lists the policies of which one must accept the caller; empty: nobody is asked.
	Auth []Policy
	// Feature names the operator feature that an interface must have enabled, if any.
	Feature string
	// Hidden keeps the route out of the generated API document.
	Hidden bool
	// Local says that the receiving node answers, whatever its role.
	Local bool
	// Forwarding says which node executes the endpoint, where that does not follow from
	// Local and Mode. Redirection says the same of interfaces that redirect.
	Forwarding  Forwarding
	Redirection Redirection
	// Success is the status of a successful answer in the API document; 0 means 200.
	Success int
	// Query lists the query parameters in the API document.
	Query []QueryParam
	// Type is the content type of a successful answer; "" means JSON. NoBody says that
	// such an answer has no body.
	Type    string
	NoBody  bool
	Handler Handler

	versions []string // api-versions that the route answers to; empty: unversioned
	template *template
	metrics  routeMetrics
}

// QueryParam describes a query parameter.
type QueryParam struct {
	Name     string
	Required bool
}

// FullPath is the route's template with the frontend's prefix.
func (r *Route) FullPath() string { return "/" + string(r.Frontend) + r.Path }

// routeTable finds the route of a path. It is built once and never changed.
type routeTable struct {
	routes    []*Route
	exact     map[string][]*Route
	templated []*Route
}

// verbOrder is the order in which methods are listed in an allow header.
var verbOrder = []string{"DELETE", "GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// newRouteTable checks the templates and the uniqueness of method and path.
func newRouteTable(routes []*Route) (*routeTable, error) {
	t := &routeTable{exact: make(map[string][]*Route)}
	seen := make(map[string]bool)
	for _, r := range routes {
		tpl, err := parseTemplate(r.Path)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(r.Path, "/") || r.Handler == nil || r.Method == "" {
			return nil, fmt.Errorf("route %s %q is incomplete", r.Method, r.Path)
		}
		key := r.Method + " " + r.Path
		if seen[key] {
			return nil, fmt.Errorf("route %s is there twice", key)
		}
		seen[key] = true
		r.template = tpl
		t.routes = append(t.routes, r)
		if tpl.exact() {
			t.exact[r.Path] = append(t.exact[r.Path], r)
		} else {
			t.templated = append(t.templated, r)
		}
	}
	return t, nil
}

// find returns the route of method and path. An exact path wins over templates.
// allowed lists the methods that the path has when none of them is the one asked
// for. Two templates that match are an error, as in CCF.
func (t *routeTable) find(method, path string) (r *Route, params Params, allowed []string, err error) {
	for _, r := range t.exact[path] {
		if r.Method == method {
			return r, nil, nil, nil
		}
		allowed = append(allowed, r.Method)
	}
	var matches []*Route
	for _, r := range t.templated {
		p, ok := r.template.match(path)
		switch {
		case !ok:
		case r.Method != method:
			allowed = append(allowed, r.Method)
		default:
			matches, params = append(matches, r), p
		}
	}
	switch len(matches) {
	case 0:
		return nil, nil, allowed, nil
	case 1:
		return matches[0], params, nil, nil
	}
	paths := make([]string, len(matches))
	for i, m := range matches {
		paths[i] = m.Path
	}
	slices.Sort(paths)
	return nil, nil, nil, api.Errorf(500, api.InternalError, "Exception: Multiple potential matches for path: %s\n  %s", path, strings.Join(paths, "\n  "))
}

// allowHeader lists methods as CCF does: OPTIONS first, then the path's own in their
// fixed order.
func allowHeader(methods []string) string {
	rank := func(m string) int {
		if i := slices.Index(verbOrder, m); i >= 0 {
			return i
		}
		return len(verbOrder)
	}
	ms := slices.Clone(methods)
	slices.SortFunc(ms, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return strings.Join(append([]string{"OPTIONS"}, slices.Compact(ms)...), ", ")
}
