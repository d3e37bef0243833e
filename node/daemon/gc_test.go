package daemon

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	for live, want := range map[uint64]int{0: 300, 10 << 20: 300, 170 << 20: 300, 256 << 20: 200, 512 << 20: 100, 8 << 30: 100} {
		if got := growth(live); got != want {
			t.Errorf("a heap of %d MB may grow by %d %%, want %d", live>>20, got, want)
		}
	}
}

// TestPaceCollector: the pace is set, and the goroutine ends.
func TestPaceCollector(t *testing.T) {
	before := debug.SetGCPercent(50)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		paceCollector(ctx)
		close(ended)
	}()
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if set := debug.SetGCPercent(50); set != mostGrowth {
		t.Errorf("the heap of a test may grow by %d %%", set)
	}
}
