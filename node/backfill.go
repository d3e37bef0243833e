package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"chancery/gov/tables"
	"chancery/ledger"
	"chancery/raftfsm"
)

// backfillRetry is the pause before the chunk before the ledger's first entry is looked for
// again.
const backfillRetry = time.Second

// backfiller brings the chunks that come before the ledger of a node that began with a
// snapshot, one after the other and as far back as something asks for: from the read-only
// directories, whatever was put there since the node started, or from other nodes. What it
// takes in leads to the tree that the node holds.
type backfiller struct {
	n    *Node
	wake chan struct{} // capacity 1

	mu   sync.Mutex
	want uint64 // the earliest seqno that was asked for; 0: none
}

func newBackfiller(n *Node) *backfiller { return &backfiller{n: n, wake: make(chan struct{}, 1)} }

// missing notes that a seqno before the ledger's first entry was asked for.
func (b *backfiller) missing(seqno uint64) {
	b.mu.Lock()
	if b.want == 0 || seqno < b.want {
		b.want = max(seqno, 1)
	}
	b.mu.Unlock()
	poke(b.wake)
}

// wanted says whether more is to be brought.
func (b *backfiller) wanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.want == 0 || b.n.ledger.First() <= b.want {
		b.want = 0
		return false
	}
	return true
}

// run brings what is asked for until ctx ends. What cannot be had is looked for again.
func (b *backfiller) run(ctx context.Context) error {
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		}
		for b.wanted() {
			err := b.step(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				continue
			}
			if now := err.Error(); now != said {
				b.n.log.Warn("ledger entries before the snapshot with which this node began are asked for, and not to be had; they are looked for again", "before", b.n.ledger.First(), "err", err)
				said = now
			}
			if sleep(ctx, backfillRetry) != nil {
				return nil
			}
		}
	}
}

// step brings one chunk.
func (b *backfiller) step(ctx context.Context) error {
	n, r := b.n, b.n.replica()
	found, first, last, err := n.ledger.Earlier(n.ledgerDirs())
	if err != nil {
		return err
	}
	if found != "" {
		err := r.Extend(ctx, found, first, last, func() (string, error) { return found, nil })
		if err == nil {
			n.log.Info("earlier ledger chunk", "file", found)
			return nil
		}
		n.log.Warn("a ledger chunk is not used", "file", found, "err", err)
	}
	return n.eachPeer(func(id, address string) error {
		path, err := b.fetch(ctx, r, id, address)
		if err == nil {
			n.log.Info("earlier ledger chunk", "file", path, "node", id)
		}
		return err
	})
}

// fetch brings the chunk from one node.
func (b *backfiller) fetch(ctx context.Context, r *raftfsm.Replica, id, address string) (path string, err error) {
	n, before := b.n, b.n.ledger.First()-1
	dir := n.cfg.Ledger.Directory
	part := filepath.Join(dir, fmt.Sprintf(".before-%d.part", before+1))
	name, err := n.fetchPeerChunk(ctx, id, address, before, part)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(n.fs.Remove(part)))
		}
	}()
	first, last, ok := ledger.IsCommittedChunk(name)
	if !ok || last != before {
		return "", fmt.Errorf("node %s gives %q, which does not end at seqno %d", id, name, before)
	}
	path = filepath.Join(dir, name)
	return path, r.Extend(ctx, part, first, last, func() (string, error) {
		if err := n.fs.Rename(part, path); err != nil {
			return "", err
		}
		return path, n.fs.SyncDir(dir)
	})
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// errNobody says that no other node has what is looked for.
var errNobody = errors.New("no other node has it")

// eachPeer asks the other trusted nodes, one after the other, until one gives no error.
func (n *Node) eachPeer(ask func(id, address string) error) error {
	nodes, err := tables.NodesInfo.All(tables.View(n.store.Committed()))
	if err != nil {
		return err
	}
	var failures []error
	for _, e := range nodes {
		if e.Key == n.keys.id || e.Value.Status != tables.NodeTrusted {
			continue
		}
		err := ask(e.Key, e.Value.NodeToNode.PublishedAddress)
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	return errors.Join(append(failures, errNobody)...)
}
