package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"time"

	"chancery/gov/tables"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/ledger"
)

// snapshotFetcher copies the primary's snapshots to a backup (CCF's
// snapshots.backup_fetch), so that they are not lost with the primary's disk. What it
// fetches must be the snapshot that the service has committed to, byte for byte.
type snapshotFetcher struct {
	n    *Node
	wake chan struct{} // capacity 1: raised by every commit

	done uint64 // the snapshot that is here, or was given up
}

func newSnapshotFetcher(n *Node) *snapshotFetcher {
	return &snapshotFetcher{n: n, wake: make(chan struct{}, 1)}
}

// run fetches each snapshot that the service commits to, until ctx ends. What cannot be
// fetched is logged and given up: the next one makes it superfluous.
func (f *snapshotFetcher) run(ctx context.Context) error {
	if !f.n.cfg.Snapshots.BackupFetch.Enabled {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		evidence, ok, err := tables.SnapshotEvidence.Get(tables.View(f.n.store.Committed()))
		if err != nil {
			return err
		}
		if !ok || evidence.Version <= f.done || f.n.Position().Primary {
			continue
		}
		if err := f.fetch(ctx, evidence); err != nil && ctx.Err() == nil {
			f.n.log.Info("a snapshot of the primary was not fetched", "seqno", evidence.Version, "err", err)
		}
		f.done = evidence.Version
	}
}

// fetch tries as often as is configured.
func (f *snapshotFetcher) fetch(ctx context.Context, evidence tables.SnapshotHash) error {
	cfg, dir := &f.n.cfg.Snapshots.BackupFetch, f.n.cfg.Snapshots.Directory
	found, err := ledger.ListSnapshots(f.n.fs, dir)
	if err != nil {
		return err
	}
	if len(found) > 0 && found[0].Seqno >= evidence.Version {
		return nil
	}
	for attempt := int64(1); ; attempt++ {
		name, body, err := f.attempt(ctx, evidence, attempt)
		if err == nil {
			if err := durable.WriteFileAtomic(f.n.fs, filepath.Join(dir, name.String()), body, 0o644); err != nil {
				return err
			}
			f.n.log.Info("snapshot of the primary", "file", name.String())
			return nil
		}
		if attempt >= cfg.MaxAttempts {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(cfg.RetryInterval):
		}
	}
}

// attempt asks the primary of the moment once.
func (f *snapshotFetcher) attempt(ctx context.Context, evidence tables.SnapshotHash, number int64) (ledger.SnapshotName, []byte, error) {
	var name ledger.SnapshotName
	address, err := f.primary()
	if err != nil {
		return name, nil, err
	}
	f.n.log.Info(fmt.Sprintf("Fetching snapshot from %s (attempt %d/%d)", address, number, f.n.cfg.Snapshots.BackupFetch.MaxAttempts))
	source, err := f.source()
	if err != nil {
		return name, nil, err
	}
	defer source.client.CloseIdleConnections()
	at, err := source.redirected(ctx, &url.URL{Scheme: "https", Host: address, Path: "/node/snapshot", RawQuery: fmt.Sprintf("since=%d", evidence.Version)})
	if err != nil {
		return name, nil, err
	}
	name, ok := ledger.ParseSnapshotName(path.Base(at.Path))
	if !ok || !name.Committed || name.Seqno != evidence.Version || at.Host != address {
		return name, nil, fmt.Errorf("the primary names %q, and the snapshot that the service committed to is of seqno %d", at, evidence.Version)
	}
	body, err := source.download(ctx, at)
	if err != nil {
		return name, nil, err
	}
	return name, body, f.check(name, evidence, body)
}

// primary is the address of the primary's interface that is to be asked.
func (f *snapshotFetcher) primary() (string, error) {
	id := f.n.primaryID()
	row, ok, err := tables.NodesInfo.Get(tables.View(f.n.store.Committed()), id)
	if err != nil {
		return "", err
	}
	in, has := row.RPC[f.n.cfg.Snapshots.BackupFetch.TargetRPCInterface]
	if !ok || !has {
		return "", fmt.Errorf("the primary %q has no interface named %q (snapshots.backup_fetch.target_rpc_interface)", id, f.n.cfg.Snapshots.BackupFetch.TargetRPCInterface)
	}
	return in.PublishedAddress, nil
}

// source trusts the service.
func (f *snapshotFetcher) source() (*snapshotSource, error) {
	service, err := f.n.serviceCert()
	if err != nil {
		return nil, err
	}
	return newSnapshotSource(identity.ClientTLS(service, nil), f.n.cfg.ClientConnectionTimeout, int64(f.n.cfg.Snapshots.BackupFetch.MaxSize), "snapshots.backup_fetch.max_size"), nil
}

// check compares a snapshot with what the service committed to.
func (f *snapshotFetcher) check(name ledger.SnapshotName, evidence tables.SnapshotHash, body []byte) error {
	s, err := ledger.ParseSnapshot(body)
	if err != nil {
		return fmt.Errorf("the primary's snapshot: %w", err)
	}
	if digest := s.Digest(); hex.EncodeToString(digest[:]) != evidence.Hash {
		return fmt.Errorf("the primary's snapshot is not the one that the service committed to (%s)", evidence.Hash)
	}
	return f.n.checkSnapshot(s, ledger.SnapshotFile{SnapshotName: name}, &f.n.keys.service.PublicKey)
}
