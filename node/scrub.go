package node

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"chancery/ledger"
	"chancery/raftfsm"
	"chancery/server/api"
)

// scrubber reads the node's closed ledger chunks again and again, at a bounded rate, and
// compares each entry with the tree: what is damaged is known before somebody needs it.
type scrubber struct {
	n *Node

	mu    sync.Mutex
	state scrubbed
	bad   map[string]bool // chunks found damaged at their last reading
}

// scrubbed is what the scrubber has found since the node started.
type scrubbed struct {
	bytes, rounds uint64
	damaged       int
}

func newScrubber(n *Node) *scrubber { return &scrubber{n: n, bad: map[string]bool{}} }

func (s *scrubber) result() scrubbed {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.state
	out.damaged = len(s.bad)
	return out
}

// report is the result for /node/metrics.
func (s *scrubber) report() *api.LedgerScrub {
	if s.n.cfg.Chancery.ScrubRate == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	damaged := slices.Sorted(maps.Keys(s.bad))
	if damaged == nil {
		damaged = []string{}
	}
	return &api.LedgerScrub{Bytes: s.state.bytes, Rounds: s.state.rounds, Damaged: damaged}
}

// scrubPause is the time between two rounds, and how often rate is kept.
const (
	scrubPause = 2 * time.Second
	scrubStep  = 100 * time.Millisecond
)

// run scrubs until ctx ends, chancery.scrub_rate bytes a second.
func (s *scrubber) run(ctx context.Context) error {
	rate := int64(s.n.cfg.Chancery.ScrubRate)
	if rate == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.n.opened:
	}
	r := s.n.replica()
	for {
		for _, c := range s.n.ledger.Chunks() {
			if !c.Committed {
				continue
			}
			if err := s.chunk(ctx, r, c, rate); err != nil {
				return nil // ctx has ended
			}
		}
		s.mu.Lock()
		s.state.rounds++
		s.mu.Unlock()
		if sleep(ctx, scrubPause) != nil {
			return nil
		}
	}
}

// chunk reads one chunk and notes what it found. The error is ctx's.
func (s *scrubber) chunk(ctx context.Context, r *raftfsm.Replica, c ledger.ChunkInfo, rate int64) error {
	budget := max(rate*int64(scrubStep)/int64(time.Second), 1)
	left := budget
	err := r.CheckSpan(ctx, c.First, c.Last, func(bytes int) error {
		s.mu.Lock()
		s.state.bytes += uint64(bytes)
		s.mu.Unlock()
		for left -= int64(bytes); left <= 0; left += budget {
			if err := sleep(ctx, scrubStep); err != nil {
				return err
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, raftfsm.ErrIndexing) {
		return nil // the next round will tell
	}
	name := filepath.Base(c.Path)
	if err != nil {
		news := s.note(name, true)
		if news {
			s.n.log.Error("a ledger chunk is damaged; a good copy is looked for on other nodes", "file", name, "err", err)
		}
		healed := s.n.heal(ctx, r, c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if healed != nil && news {
			s.n.log.Warn("a damaged ledger chunk stays; put a good copy in its place (chancery ledger fetch gets one)", "file", name, "err", healed)
		}
		if healed != nil {
			return nil
		}
		s.n.log.Info("a damaged ledger chunk is replaced by another node's copy", "file", name)
	}
	s.note(name, false)
	return nil
}

// note says whether a chunk is damaged, and returns whether that is news.
func (s *scrubber) note(name string, bad bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.bad[name] != bad
	if bad {
		s.bad[name] = true
	} else {
		delete(s.bad, name)
	}
	return news
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
