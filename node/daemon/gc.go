package daemon

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Requests leave much short-lived garbage (interpreters above all) over a small live heap,
// so that Go's default collects without pause under load. A small heap may therefore grow
// to four times what is live before it is collected. A large one, of a service with many
// records, grows by maxGarbage, and at least to twice what is live, as by default.
const (
	mostGrowth  = 300 // percent of what is live
	leastGrowth = 100
	maxGarbage  = 512 << 20
)

// growth is by how many percent a heap of so many live bytes may grow.
func growth(live uint64) int {
	if live <= maxGarbage*100/mostGrowth {
		return mostGrowth
	}
	return int(max(maxGarbage*100/live, leastGrowth))
}

// paceEvery is how often the live heap is looked at.
const paceEvery = time.Second

// paceCollector keeps the collector's pace to the live heap until ctx ends.
func paceCollector(ctx context.Context) {
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // as the last collection found it
	set := 0
	for {
		metrics.Read(live)
		if next := growth(live[0].Value.Uint64()); next != set {
			debug.SetGCPercent(next)
			set = next
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
