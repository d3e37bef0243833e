package tests

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"chancery/server/api"
)

// TestHistoryFlood asks for the past from many sides at once, for what there is, what there
// is not and what is still to come: the answers are CCF's, the cache keeps its bound, and
// the node serves on.
func TestHistoryFlood(t *testing.T) {
	w := newNetwork(t, 1, func(c map[string]any) { c["historical_cache_soft_limit"] = "64KB" })
	n := w.nodes[0]
	const written = 60
	for i := range written {
		if status, body, err := n.put(i, "flood"); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	var last, view uint64
	w.until("everything is committed", func() error {
		_, err := fmt.Sscanf(n.committed(), "%d.%d", &view, &last)
		if err == nil && last < written {
			err = fmt.Errorf("committed through %d", last)
		}
		return err
	})
	// There, of another view, in the future, and far in it.
	ask := func(r *rand.Rand) (id string, want int) {
		switch seqno := 1 + r.Uint64N(last); r.IntN(4) {
		case 0:
			return fmt.Sprint(view+7, ".", seqno), http.StatusNotFound
		case 1:
			return fmt.Sprint(view, ".", last+1000+r.Uint64N(1000)), http.StatusNotFound
		case 2:
			return fmt.Sprint(view, ".", uint64(1)<<62+r.Uint64N(1000)), http.StatusNotFound
		default:
			return fmt.Sprint(view, ".", seqno), http.StatusOK
		}
	}
	var clients sync.WaitGroup
	for client := range uint64(4) {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(client, 0))
			for range 60 {
				id, want := ask(r)
				code, body, err := n.get(rpc, "/app/receipt?transaction_id="+id)
				if err != nil || code != want {
					t.Errorf("receipt of %s: %d %s %v, want %d", id, code, body, err, want)
					return
				}
			}
		})
	}
	clients.Wait()
	var cache struct {
		EstimatedSize uint64 `json:"estimated_size"`
	}
	must(t, n.getJSON("/node/historical_cache", &cache))
	if cache.EstimatedSize == 0 || cache.EstimatedSize > 64<<10 {
		t.Errorf("the cache holds %d bytes", cache.EstimatedSize)
	}
	var state api.State
	must(t, n.getJSON("/node/state", &state))
	if status, body, err := n.put(1, "after"); err != nil || status != http.StatusOK {
		t.Errorf("a write afterwards: %d %s %v", status, body, err)
	}
}
