package raftfsm_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"chancery/ledger"
	"chancery/raftfsm"
)

// written is what a writer was told of one transaction.
type written struct {
	id     raftfsm.TxID
	key    string
	status ledger.Status // what its node said of it, Unknown where it said nothing final
}

// TestChaos cuts and heals links between four nodes, one way and both, hands the
// primary's role over, compacts Raft's logs down to nothing, and takes a node in and out,
// all at random under writers. No two transactions share a position; what a node called
// Committed or Invalid stays so on all of them; all end with the same state and files.
func TestChaos(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("CHANCERY_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("CHANCERY_SEED=%d", seed)
	lasts := 8 * time.Second
	if testing.Short() {
		lasts = 2 * time.Second
	}
	c := newCluster(t, 3)
	c.add("n3", false)
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var work sync.WaitGroup
	var mu sync.Mutex
	var all []written
	for w := range 4 {
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if got, ok := c.writeSomewhere(ctx, fmt.Sprintf("%d-%d", w, i), w%2 == 0); ok {
					mu.Lock()
					all = append(all, got)
					mu.Unlock()
				}
			}
		})
	}
	work.Go(func() { c.disturb(ctx, rand.New(rand.NewPCG(seed, 0))) })
	work.Go(func() { c.reconfigure(ctx) })
	work.Wait()
	for id := range c.nodes {
		c.heal(id)
	}
	c.reconcile(c.wanted())
	c.agree()
	c.judge(all)
}

// leading returns a node that thinks that it leads, nil when none does.
func (c *cluster) leading() *replica {
	for _, n := range c.nodes {
		if n.Position().View != 0 {
			return n
		}
	}
	return nil
}

// writeSomewhere writes a key by a node that thinks that it leads, and where it is to
// wait, waits a while for what becomes of it.
func (c *cluster) writeSomewhere(ctx context.Context, key string, wait bool) (written, bool) {
	n := c.leading()
	if n == nil {
		pause(ctx, 5*time.Millisecond)
		return written{}, false
	}
	id, err := n.try(key, key)
	if err != nil {
		pause(ctx, time.Millisecond)
		return written{}, false
	}
	if !wait {
		pause(ctx, time.Millisecond)
		return written{id, key, ledger.StatusUnknown}, true
	}
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	status, err := n.Wait(limited, id)
	if err != nil {
		status = ledger.StatusUnknown
	}
	return written{id, key, status}, true
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// disturb breaks something every now and then.
func (c *cluster) disturb(ctx context.Context, chance *rand.Rand) {
	ids := []string{"n0", "n1", "n2", "n3"}
	for ctx.Err() == nil {
		pause(ctx, time.Duration(20+chance.IntN(250))*time.Millisecond)
		a, b := ids[chance.IntN(4)], ids[chance.IntN(4)]
		switch chance.IntN(8) {
		case 0:
			c.cut(a)
		case 1: // one way
			c.nodes[a].transport.Disconnect(raft.ServerAddress(b))
		case 2:
			if n := c.leading(); n != nil {
				limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				_ = n.Transfer(limited) // where there is a successor
				cancel()
			}
		case 3: // joiners and stragglers are sent the ledger from now on
			_ = c.nodes[a].KeepNoLog()
			_ = c.nodes[a].CompactNow() // where there is something to compact
		default:
			for _, id := range ids {
				c.heal(id)
			}
		}
	}
}

// reconfigure takes n3 in and out.
func (c *cluster) reconfigure(ctx context.Context) {
	all := c.wanted()
	for turn := 0; ctx.Err() == nil; turn++ {
		wanted := all
		if turn/20%2 == 1 {
			wanted = c.wanted("n3")
		}
		if n := c.leading(); n != nil && (n.id != "n3" || len(wanted) == len(all)) {
			limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			_, _ = n.Reconcile(limited, wanted) // the next turn goes on from there
			cancel()
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// judge compares what writers were told with what all nodes say in the end.
func (c *cluster) judge(all []written) {
	c.t.Helper()
	seen := map[raftfsm.TxID]string{}
	counts := map[ledger.Status]int{}
	for _, w := range all {
		if other, twice := seen[w.id]; twice {
			c.t.Errorf("%s and %s are both %v", other, w.key, w.id)
		}
		seen[w.id] = w.key
		var finals []ledger.Status
		for _, n := range c.nodes {
			s := n.Status(w.id)
			if !s.Final() || w.status.Final() && s != w.status {
				c.t.Errorf("%v was %s and is %s at %s", w.id, w.status, s, n.id)
			}
			_, _, there := n.store.Committed().Get("private", []byte(w.key))
			if there != (s == ledger.StatusCommitted) {
				c.t.Errorf("%v is %s at %s, and its write is there: %t", w.id, s, n.id, there)
			}
			finals = append(finals, s)
		}
		if len(slices.Compact(finals)) != 1 {
			c.t.Errorf("%v: nodes say %v", w.id, finals)
		}
		counts[w.status]++
	}
	c.t.Logf("%d transactions; their writers heard %v", len(all), counts)
	if counts[ledger.StatusCommitted] == 0 {
		c.t.Error("nothing was committed")
	}
}
