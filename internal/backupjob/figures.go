package backupjob

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chancery/ledger"
)

// figures are shown to Prometheus at an address.
type figures struct {
	address string
	server  *http.Server
	ended   chan error
}

const (
	figuresTimeout     = 10 * time.Second
	figuresHeaderBytes = 16 << 10
)

// at shows a keeper's figures at an address, in place of the one before; "" shows none.
func (f *figures) at(address string, k *Keeper) error {
	if address == f.address {
		return nil
	}
	f.close()
	f.address = address // tried once
	if address == "" {
		return nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(collector{k}); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	f.server = &http.Server{Handler: mux, ReadTimeout: figuresTimeout, WriteTimeout: figuresTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: figuresHeaderBytes}
	f.ended = make(chan error, 1)
	go func(s *http.Server, ended chan<- error) { ended <- s.Serve(ln) }(f.server, f.ended)
	k.Say(fmt.Sprintf("Figures of backups and drills: http://%s/metrics", ln.Addr()))
	return nil
}

// close ends the showing.
func (f *figures) close() {
	if f.server == nil {
		return
	}
	_ = f.server.Close() // of connections to a reader of figures: nothing is lost
	<-f.ended
	f.server = nil
}

// collector reads the state at each scrape.
type collector struct{ k *Keeper }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("chancery_ledger_backup_"+name, help, labels, nil)
}

var (
	descAge     = desc("age_seconds", "How long ago the last good one was: what = backup or drill; absent before the first.", "what")
	descGood    = desc("good", "1 where the last one that was tried went well, else 0: what = backup or drill; absent before the first.", "what")
	descRuns    = desc("runs_total", "How many were tried: what = backup or drill, outcome = good or failed.", "what", "outcome")
	descThrough = desc("through_seqno", "The last transaction in the newest backup.")
	descBytes   = desc("bytes", "Size of the newest backup.")
	descPrivate = desc("drill_private", "1 where the last drill recovered the private state too, with members' shares.")
)

// Describe implements prometheus.Collector.
func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAge, descGood, descRuns, descThrough, descBytes, descPrivate} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s, now := c.k.get(), c.k.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(what, outcome string, n uint64) {
		out <- prometheus.MustNewConstMetric(descRuns, prometheus.CounterValue, float64(n), what, outcome)
	}
	good := func(ok bool) float64 {
		if ok {
			return 1
		}
		return 0
	}
	count("backup", "good", s.Backups)
	count("backup", "failed", s.Failures)
	count("drill", "good", s.Drills-s.FailedDrills)
	count("drill", "failed", s.FailedDrills)
	if !s.Tried.IsZero() {
		gauge(descGood, good(s.Error == ""), "backup")
	}
	if !s.Done.IsZero() {
		gauge(descAge, now.Sub(s.Done).Seconds(), "backup")
		gauge(descBytes, float64(s.Bytes))
	}
	if id, err := ledger.ParseTxID(s.Through); err == nil {
		gauge(descThrough, float64(id.Seqno))
	}
	if s.Drill != nil {
		gauge(descGood, good(s.Drill.OK), "drill")
		gauge(descPrivate, good(s.Drill.Private))
	}
	if !s.Drilled.IsZero() {
		gauge(descAge, now.Sub(s.Drilled).Seconds(), "drill")
	}
}
