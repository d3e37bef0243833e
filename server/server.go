package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"chancery/attest"
	"chancery/gov"
	"chancery/server/api"
)

// Config is what a Server is made of.
type Config struct {
	// Node is the node that is served. Required.
	Node Node
	// App is an application written in Go, compiled into the node; nil: none. It
	// answers beside a JavaScript application, which wins on the same method and path.
	App *App
	// Log receives what an operator must know; required.
	Log *slog.Logger
	// Version is the release shown by /node/version beside CCF's.
	Version string
	// Platform is what the node runs on, shown by /node/version: "virtual" or "snp".
	Platform string
	// MaxUncommitted is CCF's consensus.max_uncommitted_tx_count; 0: no bound.
	MaxUncommitted uint64
	// RespondCommitted makes a committed answer the default ("respond": "committed");
	// otherwise an answer is given on execution, as in CCF.
	RespondCommitted bool
	// MaxWait bounds how long an answer is held for a commit (30 s).
	MaxWait time.Duration
	// Verifier checks the evidence of nodes that ask to join; nil lets none in.
	Verifier attest.Verifier
	// Decision is the protocol by which nodes of a lost service find where it goes on; nil
	// where this node takes no part.
	Decision *gov.Decision
	// SignMode is the kind of signatures that this node's ledger carries: Dual,
	// CoseAllowDualJoin or CoseOnly.
	SignMode string
	// PendingTimeout is CCF's pending_node_timeout; 0: Pending nodes wait for ever.
	PendingTimeout time.Duration
	// NodeInterfaces returns the interfaces of this node as nodes.info will show them,
	// for as long as the node is not in the KV; nil: none.
	NodeInterfaces []byte
	// Now is the clock that certificates and tokens are judged by; nil: time.Now.
	Now func() time.Time
}

// Server answers requests on the interfaces of a node.
type Server struct {
	cfg    Config
	node   Node
	log    *slog.Logger
	now    func() time.Time
	tables map[Frontend]*routeTable
	engine *gin.Engine

	indexes  *Indexes // of the application
	openness struct{ app, gov openness }
	js       []*jsHost // of governance first
	handles  handles
	keys     keyCache
	metrics  *metrics
	sessions sessionSeries

	mu         sync.Mutex
	interfaces map[string]*iface // by name; guarded by mu
}

// New builds a Server. It starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Node == nil || cfg.Log == nil {
		return nil, errors.New("a server needs a node and a log")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = 30 * time.Second
	}
	s := &Server{
		cfg: cfg, node: cfg.Node, log: cfg.Log, now: cfg.Now,
		tables:     make(map[Frontend]*routeTable),
		interfaces: make(map[string]*iface),
		metrics:    newMetrics(),
	}
	if s.indexes = new(Indexes); cfg.App != nil {
		s.indexes = &cfg.App.Indexes
	}
	s.js = []*jsHost{new(jsHost)}
	if cfg.App != nil && cfg.App.Custom != nil {
		s.js = append(s.js, cfg.App.Custom.host())
	}
	builtin := map[Frontend][]*Route{
		AppFrontend:  cfg.App.routes(),
		GovFrontend:  s.govRoutes(),
		NodeFrontend: s.nodeRoutes(),
	}
	for f, routes := range builtin {
		table, err := newRouteTable(append(routes, s.commonRoutes(f)...))
		if err != nil {
			return nil, fmt.Errorf("routes of /%s: %w", f, err)
		}
		s.tables[f] = table
		for _, r := range table.routes {
			r.metrics = s.metrics.route(r.Method, r.FullPath())
		}
	}
	gin.SetMode(gin.ReleaseMode)
	s.engine = gin.New()
	s.engine.RedirectTrailingSlash = false
	s.engine.NoRoute(func(g *gin.Context) { s.serve(g) })
	return s, nil
}

// Routes returns the endpoints that every server has, without an application's, for
// documents and the tests of documents. They cannot be called.
func Routes() []*Route {
	s := new(Server)
	all := append(s.govRoutes(), s.nodeRoutes()...)
	for _, f := range []Frontend{AppFrontend, GovFrontend, NodeFrontend} {
		all = append(all, s.commonRoutes(f)...)
	}
	return all
}

// sessionKey is the context key of a connection's *Session.
type sessionKey struct{}

// serve answers one request. The engine has no routes of its own: CCF's templates,
// raw paths and order of checks need this package's table.
func (s *Server) serve(g *gin.Context) {
	ctx := g.Request.Context()
	session, ok := ctx.Value(sessionKey{}).(*Session)
	if !ok { // not one of this server's connections
		g.AbortWithStatus(http.StatusServiceUnavailable)
		return
	}
	defer g.Writer.WriteHeaderNow()
	var req *Request
	defer func() {
		if p := recover(); p != nil {
			s.panicked(g, req, p)
		}
	}()
	req, refusal := session.in.read(g.Request, session)
	if refusal != nil {
		res := Response{closing: true}
		res.setError(refusal)
		write(session.writer(g), &Request{Method: g.Request.Method}, &res)
		return
	}
	s.respond(ctx, session.writer(g), req)
}

// panicked answers a request whose endpoint panicked: a fault of this program, which
// must not take the node with it.
func (s *Server) panicked(g *gin.Context, req *Request, p any) {
	if p == http.ErrAbortHandler {
		panic(p)
	}
	route := ""
	if req != nil {
		route = req.Route
	}
	s.log.Error("panic in an endpoint", "route", route, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	if g.Writer.Written() {
		return
	}
	var res Response
	res.setError(&api.Error{Status: http.StatusInternalServerError, Code: api.InternalError, Message: "internal error"})
	write(g.Writer, &Request{Method: g.Request.Method}, &res)
}

// Serve answers requests on ln until ctx is done or ln fails, then lets running
// requests finish (for at most the drain time), closes what is left, and returns. ln
// is closed. Each interface has its own call.
func (s *Server) Serve(ctx context.Context, ln net.Listener, o InterfaceOptions) error {
	in, err := newInterface(o)
	if err != nil {
		return err
	}
	in.all = &s.sessions
	if err := s.addInterface(in); err != nil {
		return err
	}
	defer s.removeInterface(in)

	l := &listener{Listener: ln, in: in, conns: newConnSet()}
	proto := "http/1.1"
	if o.HTTP2 {
		proto = "h2"
	}
	if o.TLS != nil {
		l.config = alpn(o.TLS, proto)
	}
	hs := &http.Server{
		Handler: s.engine, ReadTimeout: in.opts.patience(), IdleTimeout: in.opts.IdleTimeout,
		MaxHeaderBytes:               in.headerBytes(),
		DisableGeneralOptionsHandler: true,
		Protocols:                    new(http.Protocols),
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState: func(c net.Conn, state http.ConnState) {
			if c, ok := c.(*conn); ok && state == http.StateActive {
				c.begun.Store(true)
			}
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, sessionKey{}, c.(*conn).session)
		},
	}
	if o.HTTP2 {
		// The listener's connections are TLS already; to net/http they are plain.
		hs.Protocols.SetUnencryptedHTTP2(true)
		hs.HTTP2 = &http.HTTP2Config{
			MaxConcurrentStreams: int(in.opts.MaxConcurrentStreams), MaxReadFrameSize: int(in.opts.MaxFrameSize),
			MaxReceiveBufferPerStream: int(in.opts.InitialWindowSize),
		}
	} else {
		hs.Protocols.SetHTTP1(true)
	}
	return s.run(ctx, hs, l)
}

// drainTime is how long running requests may take to finish when a server stops.
const drainTime = 5 * time.Second

// run serves until ctx is done, then shuts down in order.
func (s *Server) run(ctx context.Context, hs *http.Server, l *listener) error {
	done := make(chan error, 1)
	go func() { done <- hs.Serve(l) }()
	select {
	case err := <-done:
		l.conns.closeAll()
		return fmt.Errorf("serving %s: %w", l.in.opts.Name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	l.conns.closeFresh()
	if err := hs.Shutdown(drain); err != nil {
		s.log.Warn("requests were cut off at the end of the drain time", "interface", l.in.opts.Name)
	}
	l.conns.closeAll()
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serving %s: %w", l.in.opts.Name, err)
	}
	return nil
}

// addInterface registers an interface for /node/metrics.
func (s *Server) addInterface(in *iface) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.interfaces[in.opts.Name]; ok {
		return fmt.Errorf("interface %q is served already", in.opts.Name)
	}
	s.interfaces[in.opts.Name] = in
	return nil
}

func (s *Server) removeInterface(in *iface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.interfaces, in.opts.Name)
}

// activeInterfaces returns the interfaces in service.
func (s *Server) activeInterfaces() []*iface {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*iface, 0, len(s.interfaces))
	for _, in := range s.interfaces {
		all = append(all, in)
	}
	return all
}
