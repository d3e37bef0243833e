package js

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"chancery/kv"
)

// The tables that hold a deployed application. Names are CCF's; gov writes them.
const (
	endpointsTable = "public:ccf.gov.endpoints"
	modulesTable   = "public:ccf.gov.modules"
	optionsTable   = "public:ccf.gov.js_runtime_options"
	flushTable     = "public:ccf.gov.interpreter.flush"
)

// Tables are the tables that hold a deployed application. The zero value stands for
// governance's.
type Tables struct{ Endpoints, Modules, Options, Flush string }

// TablesUnder are those that CCF's registry for endpoints that an application installs
// itself has under a prefix.
func TablesUnder(prefix string) Tables {
	return Tables{prefix + ".metadata", prefix + ".modules", prefix + ".runtime_options", prefix + ".interpreter_flush"}
}

// named are the tables, governance's for the zero value.
func (t Tables) named() Tables {
	if t == (Tables{}) {
		return Tables{endpointsTable, modulesTable, optionsTable, flushTable}
	}
	return t
}

// Check reads the application that the tables hold in the state behind r, and links all
// its modules. The error names the endpoint, or the module and the line.
func (t Tables) Check(r Reader) error {
	a, err := load(r, t.named())
	if err != nil {
		return err
	}
	for _, e := range a.endpoints {
		if e.broken != nil {
			return e.broken
		}
	}
	return checkModules(r, t.named().Modules)
}

// singleton is the key of a table with one row.
var singleton = make([]byte, 8)

// Options are the runtime options of the deployed application.
type Options struct {
	Limits
	LogExceptionDetails    bool
	ReturnExceptionDetails bool
	MaxCachedInterpreters  int
}

// App is a deployed application: its endpoints and modules at one state of the
// service. It is safe for concurrent use.
type App struct {
	Options Options

	tables    Tables
	endpoints []*Endpoint            // in the table's order
	exact     map[string]*Endpoint   // by "METHOD path", templates included
	templated map[string][]*Endpoint // endpoints with parameters, by method
	modules   map[string]module
	flush     []byte
	options   []byte

	mu    sync.Mutex
	links map[string]*link1 // linked bundles by entry module; guarded by mu
	pool  pool
}

// module is a row of the modules table. The slice is the table's own, which makes
// comparing it with the current one cheap as long as nothing changed.
type module struct{ text []byte }

// link1 is a bundle that is linked once, by whoever needs it first.
type link1 struct {
	once   sync.Once
	linked *linked
	err    error
}

// load reads the application that is deployed in the state behind r.
func load(r Reader, t Tables) (*App, error) {
	a := &App{
		tables: t,
		exact:  make(map[string]*Endpoint), templated: make(map[string][]*Endpoint),
		modules: make(map[string]module), links: make(map[string]*link1),
	}
	a.flush, _ = r.Get(t.Flush, singleton)
	a.options, _ = r.Get(t.Options, singleton)
	var err error
	if a.Options, err = parseOptions(a.options); err != nil {
		return nil, err
	}
	for k, v := range r.Range(t.Endpoints, kv.Bounds{}) {
		e := readEndpoint(string(k), v)
		a.endpoints = append(a.endpoints, e)
		a.exact[string(k)] = e
		if e.template != nil {
			a.templated[e.Method] = append(a.templated[e.Method], e)
		}
	}
	for k, v := range r.Range(t.Modules, kv.Bounds{}) {
		a.modules[string(k)] = module{text: v}
	}
	a.pool.limit = a.Options.MaxCachedInterpreters
	return a, nil
}

// parseOptions reads the row of public:ccf.gov.js_runtime_options; nil means no row.
func parseOptions(row []byte) (Options, error) {
	stored := struct {
		storedLimits
		Log    bool    `json:"log_exception_details"`
		Return bool    `json:"return_exception_details"`
		Cached *uint64 `json:"max_cached_interpreters"`
	}{}
	if row != nil {
		if err := json.Unmarshal(row, &stored); err != nil {
			return Options{}, fmt.Errorf("reading the runtime options: %w", err)
		}
	}
	o := Options{
		Limits:                 stored.limits().withDefaults(),
		LogExceptionDetails:    stored.Log,
		ReturnExceptionDetails: stored.Return,
		MaxCachedInterpreters:  DefaultMaxCachedInterpreter,
	}
	if stored.Cached != nil {
		o.MaxCachedInterpreters = int(min(*stored.Cached, 1000))
	}
	return o, nil
}

// Apps keeps the application that was used last, with its linked bundles and cached
// interpreters, and replaces it when another one is deployed. The zero value is ready;
// it is safe for concurrent use.
type Apps struct {
	// Tables say where the application is deployed.
	Tables Tables

	mu      sync.Mutex
	current *App
}

// At returns the application that is deployed in the state behind r: the kept one if
// r shows the same, else a newly read one. Through a transaction, the rows that decide
// this become reads of it.
func (c *Apps) At(r Reader) (*App, error) {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	if current != nil && current.unchanged(r) {
		return current, nil
	}
	a, err := load(r, c.Tables.named())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.current = a
	c.mu.Unlock()
	return a, nil
}

// unchanged compares what a deployment always changes (set_js_app writes the flush
// marker) and the sizes of the tables. What an endpoint runs is compared once more
// when it is run.
func (a *App) unchanged(r Reader) bool {
	flush, _ := r.Get(a.tables.Flush, singleton)
	options, _ := r.Get(a.tables.Options, singleton)
	return same(flush, a.flush) && same(options, a.options) &&
		r.Len(a.tables.Endpoints) == len(a.endpoints) && r.Len(a.tables.Modules) == len(a.modules)
}

// same compares two values of a table: at once where they are the same slice, which
// they are as long as the row was not written again.
func same(a, b []byte) bool {
	if len(a) != len(b) || (a == nil) != (b == nil) {
		return false
	}
	return len(a) == 0 || &a[0] == &b[0]
}

// Endpoints returns the endpoints in the order of their keys. The slice is not to be
// changed.
func (a *App) Endpoints() []*Endpoint { return a.endpoints }

// Match is what a path leads to.
type Match struct {
	// Endpoint is the endpoint; nil: the application has none for method and path.
	Endpoint *Endpoint
	// Params are the named parts of the path, in the template's order, not decoded.
	Params []Param
	// Allowed are the methods that the path has, sorted; empty: the path is unknown.
	Allowed []string
}

// Param is a named part of a path.
type Param struct{ Name, Value string }

// AmbiguousError says that several templates match a path.
type AmbiguousError struct {
	Path      string
	Templates []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("Multiple potential matches for path: %s\n  %s", e.Path, strings.Join(e.Templates, "\n  "))
}

// Match finds the endpoint of a path relative to /app. An exact path wins over
// templates; several matching templates are an *AmbiguousError.
func (a *App) Match(method, path string) (Match, error) {
	if e := a.exact[method+" "+path]; e != nil && e.template == nil {
		return Match{Endpoint: e}, e.broken
	}
	var m Match
	var hits []string
	for _, e := range a.templated[method] {
		if values, ok := e.template.match(path); ok {
			hits = append(hits, e.Path)
			m.Endpoint = e
			m.Params = m.Params[:0]
			for i, v := range values {
				m.Params = append(m.Params, Param{e.template.names[i], v})
			}
		}
	}
	if len(hits) == 1 {
		return m, m.Endpoint.broken
	}
	if len(hits) > 1 {
		slices.SortFunc(hits, func(a, b string) int { // the most general first
			return cmp.Or(strings.Count(b, "{")-strings.Count(a, "{"), strings.Compare(a, b))
		})
		return Match{}, &AmbiguousError{Path: path, Templates: hits}
	}
	m.Allowed = a.allowed(path)
	return m, nil
}

// allowed returns the methods under which a path is known.
func (a *App) allowed(path string) []string {
	var out []string
	for _, e := range a.endpoints {
		ok := e.Path == path && e.template == nil
		if e.template != nil {
			_, ok = e.template.match(path)
		}
		if ok && !slices.Contains(out, e.Method) {
			out = append(out, e.Method)
		}
	}
	slices.Sort(out)
	return out
}

// bundle returns the linked module of an endpoint.
func (a *App) bundle(e *Endpoint) (*linked, error) {
	a.mu.Lock()
	l := a.links[e.Module]
	if l == nil {
		l = new(link1)
		a.links[e.Module] = l
	}
	a.mu.Unlock()
	l.once.Do(func() {
		l.linked, l.err = link(e.Module, func(k string) (string, bool) {
			m, ok := a.modules[k]
			return string(m.text), ok
		})
	})
	return l.linked, l.err
}

// CheckModules links every module of the modules table that r shows, and returns the
// first error: an *Exception that names the module and the line.
func CheckModules(r Reader) error { return checkModules(r, modulesTable) }

func checkModules(r Reader, table string) error {
	texts := make(map[string]string)
	var names []string
	for k, v := range r.Range(table, kv.Bounds{}) {
		texts[string(k)] = string(v)
		names = append(names, string(k))
	}
	for _, name := range names {
		if _, err := link(name, func(k string) (string, bool) { text, ok := texts[k]; return text, ok }); err != nil {
			return err
		}
	}
	return nil
}
