package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chancery/js"
	"chancery/server/api"
)

// metrics are the server's figures for operators. Labels are templates, methods,
// statuses and interface names: never a path, an id or anything of a request.
type metrics struct {
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	conflicts prometheus.Counter
	waits     *prometheus.HistogramVec
	forwards  *prometheus.HistogramVec
	notFound  routeMetrics
}

// routeMetrics are the figures of one route, looked up once.
type routeMetrics struct {
	latency  prometheus.Observer
	requests *prometheus.CounterVec // of the route, by status
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "chancery", Subsystem: "server", Name: "requests_total",
			Help: "Requests answered, by method, endpoint template and status; both are empty where there is no such endpoint.",
		}, []string{"method", "route", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "chancery", Subsystem: "server", Name: "execution_seconds",
			Help:    "Time from a request's arrival to its answer being ready, without waiting for the commit.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
		}, []string{"method", "route"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "chancery", Subsystem: "server", Name: "conflicts_total",
			Help: "Executions that were repeated because their transaction conflicted.",
		}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "chancery", Subsystem: "server", Name: "commit_wait_seconds",
			Help:    "Time that answers were held until their transaction was final, by what it came to.",
			Buckets: prometheus.ExponentialBuckets(500e-6, 2, 16),
		}, []string{"status"}),
	}
	m.forwards = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "chancery", Subsystem: "server", Name: "forward_seconds",
		Help:    "Time until a request that was forwarded to the primary was answered, by outcome: answered, timeout or no_primary.",
		Buckets: prometheus.ExponentialBuckets(500e-6, 2, 16),
	}, []string{"outcome"})
	m.notFound = m.route("", "")
	return m
}

// route returns the figures of an endpoint.
func (m *metrics) route(method, template string) routeMetrics {
	labels := prometheus.Labels{"method": method, "route": template}
	return routeMetrics{latency: m.latency.With(labels), requests: m.requests.MustCurryWith(labels)}
}

// forget drops the figures of endpoints that the new application does not have, so that
// a service to which applications are deployed again and again does not collect series.
func (s *Server) forget(before *jsRoutes, app *js.App) {
	kept := make(map[string]bool)
	for _, r := range s.tables[AppFrontend].routes {
		kept[r.Method+" "+r.Path] = true
	}
	for _, e := range app.Endpoints() {
		kept[e.Method+" "+e.Path] = true
	}
	before.routes.Range(func(_, route any) bool {
		if r := route.(*Route); !kept[r.Method+" "+r.Path] {
			labels := prometheus.Labels{"method": r.Method, "route": r.FullPath()}
			s.metrics.latency.DeletePartialMatch(labels)
			s.metrics.requests.DeletePartialMatch(labels)
		}
		return true
	})
}

// statusLabel is the status, or its class where HTTP has no such status: the number of
// series must not be for an application, or its clients, to choose.
func statusLabel(status int) string {
	if http.StatusText(status) == "" {
		return strconv.Itoa(status/100) + "xx"
	}
	return strconv.Itoa(status)
}

// observe counts an answered request.
func (s *Server) observe(_ *Request, out *outcome, took time.Duration) {
	rm := &s.metrics.notFound
	if out.route != nil {
		rm = &out.route.metrics
	}
	rm.latency.Observe(took.Seconds())
	rm.requests.WithLabelValues(statusLabel(out.res.Status)).Inc()
}

// Collectors returns what a Prometheus registry needs to show the server's figures.
func (s *Server) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.requests, s.metrics.latency, s.metrics.conflicts, s.metrics.waits, s.metrics.forwards, sessionCollector{s}, poolCollector{&s.js[0].apps}}
}

// sessionCollector shows the sessions of each interface.
type sessionCollector struct{ s *Server }

var (
	sessionsActive  = prometheus.NewDesc("chancery_server_sessions", "Open sessions.", []string{"interface"}, nil)
	sessionsPeak    = prometheus.NewDesc("chancery_server_sessions_peak", "Most open sessions so far.", []string{"interface"}, nil)
	sessionsCap     = prometheus.NewDesc("chancery_server_sessions_cap", "Bound on open sessions.", []string{"interface", "kind"}, nil)
	sessionsRefused = prometheus.NewDesc("chancery_server_refused_sessions_total", "Sessions opened beyond a cap: answered 503 beyond the soft one, closed beyond the hard one.", []string{"interface", "kind"}, nil)
	requestErrors   = prometheus.NewDesc("chancery_server_refused_requests_total", "Requests refused before any endpoint.", []string{"interface", "reason"}, nil)
)

// Describe lists the figures.
func (c sessionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sessionsActive, sessionsPeak, sessionsCap, sessionsRefused, requestErrors} {
		ch <- d
	}
}

// Collect reads the figures.
func (c sessionCollector) Collect(ch chan<- prometheus.Metric) {
	for _, in := range c.s.activeInterfaces() {
		name, i := in.opts.Name, in.sessionMetrics()
		gauge := func(d *prometheus.Desc, v uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), append([]string{name}, labels...)...)
		}
		counter := func(d *prometheus.Desc, v uint64, reason string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), name, reason)
		}
		gauge(sessionsActive, i.Active)
		gauge(sessionsPeak, i.Peak)
		gauge(sessionsCap, i.SoftCap, "soft")
		gauge(sessionsCap, i.HardCap, "hard")
		counter(sessionsRefused, in.beyondSoft.Load(), "soft")
		counter(sessionsRefused, in.beyondHard.Load(), "hard")
		counter(requestErrors, i.Errors.Parsing, "parsing")
		counter(requestErrors, i.Errors.RequestHeaderTooLarge, "header")
		counter(requestErrors, i.Errors.RequestTooLarge, "body")
	}
}

// sessionMetrics returns the sessions part of /node/metrics.
func (s *Server) sessionMetrics() api.Sessions {
	out := api.Sessions{
		Active: s.sessions.active.Load(), Peak: s.sessions.peak.Load(),
		Interfaces: make(map[string]api.InterfaceSessions),
	}
	for _, in := range s.activeInterfaces() {
		out.Interfaces[in.opts.Name] = in.sessionMetrics()
	}
	return out
}

// sessionMetrics returns the interface's part of it.
func (in *iface) sessionMetrics() api.InterfaceSessions {
	return api.InterfaceSessions{
		Active: in.sessions.active.Load(), Peak: in.sessions.peak.Load(), SoftCap: in.opts.MaxSessionsSoft, HardCap: in.opts.MaxSessionsHard,
		Errors: api.SessionErrors{Parsing: in.parsing.Load(), RequestHeaderTooLarge: in.header.Load(), RequestTooLarge: in.tooBig.Load()},
	}
}

// poolCollector shows how JavaScript interpreters are used.
type poolCollector struct{ apps *js.Apps }

var (
	poolUse   = prometheus.NewDesc("chancery_js_interpreters", "JavaScript interpreters by use: running an endpoint, idle, or kept for a reuse key.", []string{"use"}, nil)
	poolBound = prometheus.NewDesc("chancery_js_interpreters_bound", "Bound on chancery_js_interpreters; endpoints beyond that of running ones wait.", []string{"use"}, nil)
)

// Describe lists the figures.
func (c poolCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- poolUse
	ch <- poolBound
}

// Collect reads the figures.
func (c poolCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.apps.PoolStats()
	for _, use := range []struct {
		name   string
		n, max int
	}{{"running", s.Running, s.MaxRunning}, {"idle", s.Idle, s.MaxIdle}, {"kept", s.Kept, s.MaxKept}} {
		ch <- prometheus.MustNewConstMetric(poolUse, prometheus.GaugeValue, float64(use.n), use.name)
		ch <- prometheus.MustNewConstMetric(poolBound, prometheus.GaugeValue, float64(use.max), use.name)
	}
}
