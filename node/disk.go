package node

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chancery/internal/durable"
)

// opRaftLog is a durable write to Raft's log, which does not go through the disk seam.
const opRaftLog = "raft_log"

// slowLogEvery bounds how often slow operations are logged: a slow disk must not fill
// the log, which may be on it.
const slowLogEvery = time.Second

// failsAfter is how many times the threshold makes a slow operation a failure (CCF's).
const failsAfter = 100

// disk measures what the node does on its disk, and logs what is slow
// (slow_io_logging_threshold).
type disk struct {
	took      *prometheus.HistogramVec
	observers map[string]prometheus.Observer // by operation; immutable

	slow   time.Duration
	log    *slog.Logger
	now    func() time.Time
	logged atomic.Int64 // when a slow operation was logged last, in Unix nanoseconds
	unsaid atomic.Int64 // slow operations since then
}

func newDisk(slow time.Duration, now func() time.Time, log *slog.Logger) *disk {
	d := &disk{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "chancery", Subsystem: "disk", Name: "operation_seconds",
			Help:    "Time of operations on the node's files; sync is fsync, raft_log a durable write to Raft's log.",
			Buckets: prometheus.ExponentialBuckets(20e-6, 2, 18),
		}, []string{"operation"}),
		observers: map[string]prometheus.Observer{}, slow: slow, log: log, now: now,
	}
	for _, op := range append(durable.Ops(), opRaftLog) {
		d.observers[op] = d.took.WithLabelValues(op)
	}
	return d
}

// done notes an operation that has ended.
func (d *disk) done(op, path string, took time.Duration) {
	d.observers[op].Observe(took.Seconds())
	if took < d.slow || d.slow == 0 {
		return
	}
	now, last := d.now().UnixNano(), d.logged.Load()
	if now-last < int64(slowLogEvery) || !d.logged.CompareAndSwap(last, now) {
		d.unsaid.Add(1)
		return
	}
	level := slog.LevelInfo
	if took > failsAfter*d.slow {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, fmt.Sprintf("Operation took too long (%v): %s %s", took, op, filepath.Base(path)), "others", d.unsaid.Swap(0))
}
