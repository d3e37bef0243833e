package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chancery/server/api"
)

// metrics are the server's figures for operators. Labels are templates, methods,
// statuses and interface names: never a path, an id or anything of a request.
type metrics struct {
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	conflicts prometheus.Counter
	waits     *prometheus.HistogramVec
	notFound  routeMetrics
}

// routeMetrics are the figures of one route, looked up once. The counters are by
// class of status, since a label per status would let a client make new series.
type routeMetrics struct {
	latency  prometheus.Observer
	statuses [6]prometheus.Counter // by status/100; 0 unused
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "chancery", Subsystem: "server", Name: "requests_total",
			Help: "Requests answered, by method, endpoint template and class of status.",
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
	m.notFound = m.route("", "")
	return m
}

// route returns the figures of an endpoint.
func (m *metrics) route(method, template string) routeMetrics {
	rm := routeMetrics{latency: m.latency.WithLabelValues(method, template)}
	for class := 1; class < len(rm.statuses); class++ {
		rm.statuses[class] = m.requests.WithLabelValues(method, template, strconv.Itoa(class)+"xx")
	}
	return rm
}

// observe counts an answered request.
func (s *Server) observe(_ *Request, out *outcome, took time.Duration) {
	rm := &s.metrics.notFound
	if out.route != nil {
		rm = &out.route.metrics
	}
	rm.latency.Observe(took.Seconds())
	if class := out.res.Status / 100; class > 0 && class < len(rm.statuses) {
		rm.statuses[class].Inc()
	}
}

// Collectors returns what a Prometheus registry needs to show the server's figures.
func (s *Server) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.requests, s.metrics.latency, s.metrics.conflicts, s.metrics.waits, sessionCollector{s}}
}

// sessionCollector shows the sessions of each interface.
type sessionCollector struct{ s *Server }

var (
	sessionsActive = prometheus.NewDesc("chancery_server_sessions", "Open sessions.", []string{"interface"}, nil)
	sessionsPeak   = prometheus.NewDesc("chancery_server_sessions_peak", "Most open sessions so far.", []string{"interface"}, nil)
	sessionsCap    = prometheus.NewDesc("chancery_server_sessions_cap", "Bound on open sessions.", []string{"interface", "kind"}, nil)
	requestErrors  = prometheus.NewDesc("chancery_server_refused_requests_total", "Requests refused before any endpoint.", []string{"interface", "reason"}, nil)
)

// Describe lists the figures.
func (c sessionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sessionsActive, sessionsPeak, sessionsCap, requestErrors} {
		ch <- d
	}
}

// Collect reads the figures.
func (c sessionCollector) Collect(ch chan<- prometheus.Metric) {
	for name, i := range c.s.sessionMetrics().Interfaces {
		gauge := func(d *prometheus.Desc, v uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), append([]string{name}, labels...)...)
		}
		counter := func(v uint64, reason string) {
			ch <- prometheus.MustNewConstMetric(requestErrors, prometheus.CounterValue, float64(v), name, reason)
		}
		gauge(sessionsActive, i.Active)
		gauge(sessionsPeak, i.Peak)
		gauge(sessionsCap, i.SoftCap, "soft")
		gauge(sessionsCap, i.HardCap, "hard")
		counter(i.Errors.Parsing, "parsing")
		counter(i.Errors.RequestHeaderTooLarge, "header")
		counter(i.Errors.RequestTooLarge, "body")
	}
}

// sessionMetrics returns the sessions part of /node/metrics.
func (s *Server) sessionMetrics() api.Sessions {
	out := api.Sessions{
		Active: s.sessions.active.Load(), Peak: s.sessions.peak.Load(),
		Interfaces: make(map[string]api.InterfaceSessions),
	}
	for _, in := range s.activeInterfaces() {
		i := api.InterfaceSessions{
			Active: in.sessions.active.Load(), Peak: in.sessions.peak.Load(), SoftCap: in.opts.MaxSessionsSoft, HardCap: in.opts.MaxSessionsHard,
			Errors: api.SessionErrors{Parsing: in.parsing.Load(), RequestHeaderTooLarge: in.header.Load(), RequestTooLarge: in.tooBig.Load()},
		}
		out.Interfaces[in.opts.Name] = i
	}
	return out
}
