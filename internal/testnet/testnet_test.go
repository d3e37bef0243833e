package testnet

import (
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestSeeds makes short runs from seeds, each in a bubble of its own time, and expects that
// none leaves a goroutine behind: the bubble would panic. CHANCERY_SEEDS says how many,
// CHANCERY_SEED which one alone.
func TestSeeds(t *testing.T) {
	count := uint64(8)
	if testing.Short() {
		count = 2
	}
	if n, err := strconv.ParseUint(os.Getenv("CHANCERY_SEEDS"), 10, 64); err == nil {
		count = n
	}
	first := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("CHANCERY_SEED"), 10, 64); err == nil {
		first, count = s, 1
	}
	began := time.Now()
	var sum Report
	var virtual time.Duration
	for seed := first; seed < first+count; seed++ {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			report, err := Run(t.Context(), seed, 15, dir)
			virtual += time.Since(begun)
			<-time.After(time.Minute) // Raft leaves a call behind that waits for an answer within seconds
			if err != nil {
				t.Errorf("CHANCERY_SEED=%d: %v\n%+v", seed, err, report)
				return
			}
			if report.Committed == 0 {
				t.Errorf("CHANCERY_SEED=%d: nothing was committed: %+v", seed, report)
			}
			sum.Writes += report.Writes
			sum.Committed += report.Committed
			sum.Views += report.Views
			sum.Nodes += report.Nodes
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d runs of %v in %v: %d writes, %d committed, %d views, %d nodes", count, (virtual / time.Duration(max(count, 1))).Round(time.Millisecond), time.Since(began).Round(time.Millisecond), sum.Writes, sum.Committed, sum.Views, sum.Nodes)
}
