package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/raftfsm"
)

// snapshotter takes the primary's snapshots. A snapshot is made of a committed state,
// which never changes, so that no writer waits for it:
//
//	seal   the state as of signature S, in memory
//	submit the evidence, transaction E: the hash, and the roots over the maps
//	write  snapshot_S_E, durably
//	wait   until E is committed
//	append the receipt of E, durably, and rename to snapshot_S_E.committed
//
// A crash in between leaves a file without receipt, which the next start removes.
type snapshotter struct {
	n   *Node
	due chan raftfsm.Capture // capacity 1

	busy   atomic.Bool  // one is being made
	since  atomic.Int64 // when the last one was taken, nanoseconds; 0: see lastTaken
	taken  atomic.Uint64
	failed atomic.Uint64
}

func newSnapshotter(n *Node) *snapshotter {
	s := &snapshotter{n: n, due: make(chan raftfsm.Capture, 1)}
	s.since.Store(n.opts.Now().UnixNano())
	return s
}

// isDue says whether a snapshot falls due at the signature at seqno, by the number of
// transactions or by time since the one at last. It is asked under the replica's lock.
func (s *snapshotter) isDue(seqno, last uint64) bool {
	c := &s.n.cfg.Snapshots
	if s.busy.Load() || s.n.publicOnly() {
		return false // of a part of the state there is no snapshot
	}
	if seqno-last >= uint64(c.TxCount) {
		return true
	}
	return c.TimeInterval > 0 && seqno-last > uint64(c.MinTxCount) && s.n.opts.Now().Sub(s.lastTaken()) >= c.TimeInterval
}

// lastTaken is when the service's last snapshot was taken, by this node or by another
// primary; before the first one, when the node started.
func (s *snapshotter) lastTaken() time.Time {
	at := s.since.Load()
	if status, ok, err := tables.SnapshotStatus.Get(tables.View(s.n.store.Committed())); err == nil && ok {
		at = max(at, int64(status.Timestamp))
	}
	return time.Unix(0, at)
}

// take notes a state of which a snapshot is due. It never blocks. Of a service that is
// being recovered none is taken before its private state is there.
func (s *snapshotter) take(c raftfsm.Capture) {
	if s.n.publicOnly() {
		s.n.log.Warn("no snapshot is taken: the private state is not recovered yet", "seqno", c.State.TxID().Seqno)
		return
	}
	// Read again: the private state may have come to stand beside it just now.
	c.State = s.n.store.Committed()
	s.busy.Store(true)
	select {
	case s.due <- c:
	default:
		s.n.log.Warn("no snapshot is taken: two others are being made", "seqno", c.State.TxID().Seqno)
	}
}

// run makes the snapshots that fall due, one at a time, until ctx ends.
func (s *snapshotter) run(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	var idle <-chan time.Time // asked often enough that intervals are not much longer than said
	if every := s.n.cfg.Snapshots.TimeInterval; every > 0 {
		tick := time.NewTicker(min(max(every/10, 10*time.Millisecond), time.Second))
		defer tick.Stop()
		idle = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-idle:
			s.n.replica().SignForSnapshot()
		case c := <-s.due:
			name, err := s.produce(ctx, c)
			s.busy.Store(len(s.due) > 0)
			switch {
			case err == nil:
				s.taken.Add(1)
				s.n.log.Info("snapshot", "file", name)
			case ctx.Err() == nil:
				s.failed.Add(1)
				s.n.log.Warn("a snapshot was not taken", "seqno", c.State.TxID().Seqno, "err", err)
			}
		}
	}
}

// prepare makes the directory, and removes what a crash left of a snapshot.
func (s *snapshotter) prepare() error {
	dir := s.n.cfg.Snapshots.Directory
	if err := s.n.fs.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("snapshots.directory: %w", err)
	}
	entries, err := s.n.fs.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("snapshots.directory: %w", err)
	}
	for _, e := range entries {
		if n, ok := ledger.ParseSnapshotName(e.Name()); ok && !n.Committed {
			if err := s.n.fs.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("removing a snapshot without receipt: %w", err)
			}
		}
	}
	return nil
}

// produce makes one snapshot and returns its file name.
func (s *snapshotter) produce(ctx context.Context, c raftfsm.Capture) (string, error) {
	n, state := s.n, stateOf(c)
	secret, err := n.secrets.At(state.Seqno)
	if err != nil {
		return "", err
	}
	body, err := ledger.SealSnapshot(secret, state)
	if err != nil {
		return "", err
	}
	snapshot, err := ledger.ParseSnapshot(body)
	if err != nil {
		return "", err
	}
	roots, err := ledger.RootsOf(secret, state)
	if err != nil {
		return "", err
	}
	id, err := s.submitEvidence(ctx, snapshot.Digest(), roots)
	if err != nil {
		return "", fmt.Errorf("submitting the evidence: %w", err)
	}
	name := ledger.SnapshotName{Seqno: state.Seqno, Evidence: id.Seqno}
	if err := s.write(ctx, name, id, body); err != nil {
		path := filepath.Join(n.cfg.Snapshots.Directory, name.String())
		if left := n.fs.Remove(path); left != nil && !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		return "", err
	}
	name.Committed = true
	return name.String(), nil
}

// stateOf brings a committed state into the form of a snapshot. It copies no key.
func stateOf(c raftfsm.Capture) *ledger.SnapshotState {
	out := &ledger.SnapshotState{Seqno: c.State.TxID().Seqno, Leaf: c.Leaf, Views: c.Views}
	for name := range c.State.Tables() {
		m := ledger.SnapshotMap{Name: name, Entries: make([]ledger.SnapshotEntry, 0, c.State.Len(name))}
		for key, item := range c.State.Range(name, kv.Bounds{}) {
			m.Entries = append(m.Entries, ledger.SnapshotEntry{Key: key, Value: item.Value, Version: item.Version})
			m.Version = max(m.Version, item.Version)
		}
		if writeset.IsPublic(name) {
			out.Public = append(out.Public, m)
		} else {
			out.Private = append(out.Private, m)
		}
	}
	return out
}

// submitEvidence commits the service to a snapshot.
func (s *snapshotter) submitEvidence(ctx context.Context, digest ledger.Digest, roots ledger.SnapshotRoots) (raftfsm.TxID, error) {
	commitment, err := tables.Marshal(roots)
	if err != nil {
		return raftfsm.TxID{}, err
	}
	for {
		tx, now := s.n.store.Begin(), s.n.opts.Now()
		err := errors.Join(
			tables.SnapshotEvidence.Put(tx, tables.SnapshotHash{Hash: hex.EncodeToString(digest[:]), Version: roots.Version}),
			tables.SnapshotStatus.Put(tx, tables.SnapshotState{Version: roots.Version, Timestamp: uint64(now.UnixNano())}))
		if err != nil {
			return raftfsm.TxID{}, err
		}
		tx.Put(ledger.SnapshotRootsMap, tables.SingletonKey, commitment)
		id, err := s.n.replica().Submit(ctx, tx, raftfsm.Submission{Claims: digest, AwaitCommit: true})
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		if err == nil {
			s.since.Store(now.UnixNano())
		}
		return id, err
	}
}

// write brings the snapshot to disk, and its receipt once the evidence, id, is committed.
func (s *snapshotter) write(ctx context.Context, name ledger.SnapshotName, id raftfsm.TxID, body []byte) (err error) {
	n, dir := s.n, s.n.cfg.Snapshots.Directory
	path := filepath.Join(dir, name.String())
	f, err := n.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("creating a snapshot: %w", err)
	}
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if _, err := f.WriteAt(body, 0); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if status, err := n.replica().Wait(ctx, id); err != nil || status != ledger.StatusCommitted {
		return errors.Join(fmt.Errorf("the evidence %v is %s", id, status), err)
	}
	p, err := n.replica().Proof(id)
	if err != nil {
		return err
	}
	receipt, err := n.coseReceipt(p)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(receipt, int64(len(body))); err != nil {
		return fmt.Errorf("writing the receipt of %s: %w", name, err)
	}
	err = errors.Join(f.Sync(), f.Close())
	f = nil
	if err != nil {
		return fmt.Errorf("syncing %s: %w", name, err)
	}
	committed := name
	committed.Committed = true
	if err := n.fs.Rename(path, filepath.Join(dir, committed.String())); err != nil {
		return fmt.Errorf("renaming %s: %w", name, err)
	}
	if err := n.fs.SyncDir(dir); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}
