package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"chancery/internal/nodelog"
	"chancery/kv/writeset"
	"chancery/raftfsm"
	"chancery/server"
)

// metricsPath is where the figures are, on chancery.metrics.bind_address.
const metricsPath = "/metrics"

// Bounds of the metrics listener. Its clients are few and known, and must not cost the
// node anything when they are not.
const (
	metricsTimeout     = 10 * time.Second
	metricsHeaderBytes = 16 << 10
	metricsSessions    = 32
)

// serveMetrics answers Prometheus' scrapes until ctx ends. s is the server whose
// figures are shown beside the node's.
func (n *Node) serveMetrics(ctx context.Context, ln net.Listener, s *server.Server) error {
	registry := prometheus.NewRegistry()
	all := append(s.Collectors(), n.disk.took, nodeCollector{n},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("registering figures: %w", err)
		}
	}
	hs := &http.Server{
		Handler:     &exposition{figures: registry, log: n.log},
		ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: metricsHeaderBytes, ErrorLog: nodelog.Std(n.log, slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- hs.Serve(&cappedListener{Listener: ln, slots: make(chan struct{}, metricsSessions)}) }()
	n.log.Info("Prometheus metrics on http://" + ln.Addr().String() + metricsPath)
	select {
	case err := <-ended:
		return fmt.Errorf("serving metrics: %w", err)
	case <-ctx.Done():
		return ignoreClosed(errors.Join(hs.Close(), <-ended))
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// exposition writes what a registry gathers, one client at a time.
type exposition struct {
	figures prometheus.Gatherer
	log     *slog.Logger
	busy    sync.Mutex
}

// ServeHTTP implements http.Handler.
func (e *exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != metricsPath:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET only", http.StatusMethodNotAllowed)
		return
	case !e.busy.TryLock():
		w.Header().Set("Retry-After", "1")
		http.Error(w, "another scrape is running", http.StatusServiceUnavailable)
		return
	}
	defer e.busy.Unlock()
	families, err := e.figures.Gather()
	if err != nil {
		e.log.Info("figures cannot be gathered", "err", err)
		http.Error(w, "figures cannot be gathered; the node's log says why", http.StatusInternalServerError)
		return
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return // the client is gone
		}
	}
}

// cappedListener closes connections beyond the capacity of slots at once.
type cappedListener struct {
	net.Listener
	slots chan struct{}
}

// Accept implements net.Listener.
func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &cappedConn{Conn: c, slots: l.slots}, nil
		default:
			_ = c.Close() // nothing was said yet that could be lost
		}
	}
}

type cappedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

// Close implements net.Conn.
func (c *cappedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}

// nodeCollector shows where the node stands. No label holds a name from the tables.
type nodeCollector struct{ n *Node }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("chancery_"+name, help, labels, nil)
}

var (
	descState      = describe("raft_state", "1 for the state that Raft is in, 0 for the others.", "state")
	descTerm       = describe("raft_term", "Raft's term, which is the view.")
	descIndex      = describe("raft_index", "Positions in Raft's own log.", "of")
	descContact    = describe("raft_last_contact_seconds", "Time since this node heard of the primary; 0 on the primary.")
	descSeqno      = describe("seqno", "Last position given out (head) and last committed one.", "of")
	descLag        = describe("commit_lag_transactions", "Transactions that have a position and are not committed.")
	descSubmitted  = describe("transactions_total", "Transactions given a position by this node since it started.")
	descCommitted  = describe("committed_transactions_total", "Ledger entries committed on this node since it started, signatures included.")
	descSignatures = describe("signatures_total", "Signature transactions made by this node since it started.")
	descBatches    = describe("raft_batches_total", "Batches of transactions given to Raft by this node since it started.")
	descQueue      = describe("queue_length", "What waits now: batches in Raft, transactions without commit, requests that wait for a commit.", "queue")
	descQueueBound = describe("queue_bound", "Bound on chancery_queue_length; a queue without one is bounded by the sessions.", "queue")
	descTables     = describe("kv_tables", "Tables in the key-value store, at the head.", "access")
	descKeys       = describe("kv_keys", "Keys in the key-value store, at the head.", "access")
	descStates     = describe("kv_states", "States of the key-value store that are kept, from the committed one to the head.")
	descChunks     = describe("ledger_chunks", "Ledger chunks, complete (committed) and being written (open).", "state")
	descBytes      = describe("ledger_bytes", "Bytes of the ledger's chunks; of the open one, through its last signature.", "state")
	descBackup     = describe("backup_acknowledged_seqno", "On the primary: the last seqno that a backup has acknowledged.", "node")
	descHeard      = describe("backup_last_heard_seconds", "On the primary: time since a backup was heard of.", "node")
	descSnapshots  = describe("snapshots_total", "Snapshots taken by this node since it started, by outcome.", "outcome")
	descPast       = describe("historical_cache_bytes", "Memory taken by looked-up transactions of the past, within historical_cache_soft_limit.")
	descLookups    = describe("historical_lookups_total", "Look-ups of past transactions and their proofs, answered from the cache (hit) or the ledger (miss).", "from")
	descScrubbed   = describe("scrubbed_bytes_total", "Bytes of closed ledger chunks that were read again and compared with the tree since the node started.")
	descScrubs     = describe("scrub_rounds_total", "How often all closed ledger chunks were read again since the node started.")
	descDamaged    = describe("damaged_ledger_chunks", "Closed ledger chunks that the last reading found damaged; the log names them.")
	descRefreshes  = describe("jwt_key_refreshes_total", "Refreshes of token issuers' keys, by outcome.", "outcome")
)

// Describe implements prometheus.Collector.
func (c nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descState, descTerm, descIndex, descContact, descSeqno, descLag, descSubmitted, descCommitted, descSignatures,
		descBatches, descQueue, descQueueBound, descTables, descKeys, descStates, descChunks, descBytes,
		descBackup, descHeard, descSnapshots, descPast, descLookups,
		descScrubbed, descScrubs, descDamaged, descRefreshes,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	c.replica(gauge, counter)
	c.sizes(gauge)
	counter(descSnapshots, c.n.snapshots.taken.Load(), "success")
	counter(descSnapshots, c.n.snapshots.failed.Load(), "failure")
	gauge(descPast, float64(c.n.history.bytes()))
	counter(descLookups, c.n.history.hits.Load(), "hit")
	counter(descLookups, c.n.history.misses.Load(), "miss")
	scrubbed := c.n.scrubber.result()
	counter(descScrubbed, scrubbed.bytes)
	counter(descScrubs, scrubbed.rounds)
	gauge(descDamaged, float64(scrubbed.damaged))
	attempts, successes, failures := c.n.refresher.attempts.Load(), c.n.refresher.successes.Load(), c.n.refresher.failures.Load()
	counter(descRefreshes, successes, "success")
	counter(descRefreshes, failures, "failure")
	counter(descRefreshes, attempts-min(attempts, successes+failures), "running")
}

func (c nodeCollector) replica(gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, uint64, ...string)) {
	r := c.n.replica()
	if r == nil { // nothing is replicated before the node has joined
		return
	}
	raft, m, p := r.RaftFigures(), r.Metrics(), r.Position()
	for _, state := range raftfsm.RaftStates() {
		gauge(descState, oneIf(state == raft.State), state)
	}
	gauge(descTerm, float64(raft.Term))
	gauge(descIndex, float64(raft.LastIndex), "last")
	gauge(descIndex, float64(raft.CommitIndex), "committed")
	gauge(descIndex, float64(raft.AppliedIndex), "applied")
	gauge(descContact, raft.Contact.Seconds())
	gauge(descSeqno, float64(p.Head.Seqno), "head")
	gauge(descSeqno, float64(p.Committed.Seqno), "committed")
	gauge(descLag, float64(m.Unsigned))
	counter(descSubmitted, m.Submitted)
	counter(descCommitted, m.Committed)
	counter(descSignatures, m.Signatures)
	counter(descBatches, m.Batches)
	gauge(descQueue, float64(m.InFlight), "raft_batches")
	gauge(descQueueBound, float64(raft.MaxInFlight), "raft_batches")
	gauge(descQueue, float64(m.Unsigned), "uncommitted_transactions")
	if limit := c.n.cfg.Consensus.MaxUncommittedTxCount; limit > 0 {
		gauge(descQueueBound, float64(limit), "uncommitted_transactions")
	}
	gauge(descQueue, float64(m.Waiting), "commit_waiters")
	if consensus, ok := c.n.Consensus(); ok {
		for id, ack := range consensus.Acks {
			gauge(descBackup, float64(ack.Seqno), id)
			gauge(descHeard, float64(ack.LastReceivedMS)/1000, id)
		}
	}
}

func (c nodeCollector) sizes(gauge func(*prometheus.Desc, float64, ...string)) {
	tables, keys := map[string]int{}, map[string]int{}
	head := c.n.store.Head()
	for name := range head.Tables() {
		access := "private"
		if writeset.IsPublic(name) {
			access = "public"
		}
		tables[access]++
		keys[access] += head.Len(name)
	}
	for _, access := range []string{"public", "private"} {
		gauge(descTables, float64(tables[access]), access)
		gauge(descKeys, float64(keys[access]), access)
	}
	gauge(descStates, float64(c.n.store.Held()))
	chunks, bytes := map[bool]int{}, map[bool]int64{}
	for _, chunk := range c.n.ledger.Chunks() {
		chunks[chunk.Committed]++
		bytes[chunk.Committed] += chunk.Size
	}
	for committed, state := range map[bool]string{true: "committed", false: "open"} {
		gauge(descChunks, float64(chunks[committed]), state)
		gauge(descBytes, float64(bytes[committed]), state)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
