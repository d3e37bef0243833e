package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"chancery/ledger"
)

// cleaner removes old files of this node (CCF's files_cleanup): snapshots beyond a
// number, and ledger chunks beyond a number of which a read-only directory has the same
// bytes. A chunk that reaches the newest snapshot stays: with the two, the service can
// be recovered from this directory alone.
type cleaner struct {
	n    *Node
	told map[string]bool // chunks without a copy of which the log has been told
}

func newCleaner(n *Node) *cleaner { return &cleaner{n: n, told: map[string]bool{}} }

// run looks at every interval until ctx ends. A disk that does not do what it should is
// told of and tried again: nothing but room is lost.
func (c *cleaner) run(ctx context.Context) error {
	cfg := &c.n.cfg.FilesCleanup
	if cfg.MaxSnapshots == nil && cfg.MaxCommittedLedgerChunks == nil {
		return nil
	}
	return every(ctx, cfg.Interval, func() error {
		if err := c.clean(); err != nil {
			c.n.log.Warn("removing old files", "err", err)
		}
		return nil
	})
}

// clean looks once.
func (c *cleaner) clean() error {
	n := c.n
	snapshots, err := ledger.ListSnapshots(n.fs, n.cfg.Snapshots.Directory)
	if err != nil {
		return err
	}
	var newest uint64
	if len(snapshots) > 0 {
		newest = snapshots[0].Seqno
	}
	if keep := n.cfg.FilesCleanup.MaxSnapshots; keep != nil {
		err = c.snapshots(snapshots, int(*keep))
	}
	if keep := n.cfg.FilesCleanup.MaxCommittedLedgerChunks; keep != nil {
		err = errors.Join(err, c.chunks(int(*keep), newest))
	}
	return err
}

// snapshots removes all but the newest.
func (c *cleaner) snapshots(all []ledger.SnapshotFile, keep int) error {
	var errs []error
	for _, s := range all[min(keep, len(all)):] {
		c.n.log.Info(fmt.Sprintf("Deleting old snapshot %s (retaining %d)", s, keep))
		errs = append(errs, c.n.fs.Remove(s.Path))
	}
	return errors.Join(errs...)
}

// chunks gives up the oldest chunks beyond the number to keep that end before the
// newest snapshot.
func (c *cleaner) chunks(keep int, newest uint64) error {
	n := c.n
	dir := filepath.Clean(n.cfg.Ledger.Directory)
	var own []ledger.ChunkInfo
	for _, chunk := range n.ledger.Chunks() {
		if chunk.Committed && filepath.Dir(chunk.Path) == dir {
			own = append(own, chunk)
		}
	}
	var errs []error
	for _, chunk := range own[:max(0, len(own)-keep)] {
		name := filepath.Base(chunk.Path)
		if newest != 0 && chunk.Last >= newest {
			continue
		}
		err := n.ledger.Release(name, n.cfg.Ledger.ReadOnlyDirectories)
		switch {
		case err == nil:
			n.log.Info(fmt.Sprintf("Deleting old committed ledger chunk %s (retaining %d)", name, keep))
		case !errors.Is(err, ledger.ErrNoCopy):
			errs = append(errs, err)
		case !c.told[name]:
			c.told[name] = true
			n.log.Warn(fmt.Sprintf("Keeping ledger chunk %s because no matching copy was found in any read-only ledger directory", name))
		}
	}
	return errors.Join(errs...)
}
