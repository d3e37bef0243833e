package node

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/raftfsm"
	"chancery/server/api"
)

// maxSnapshotHops bounds the nodes over which a joiner is led to a snapshot.
const maxSnapshotHops = 8

// findSnapshot looks for the newest snapshot to begin with among the files that are there.
func (j *joiner) findSnapshot() error {
	key, err := j.serviceKey()
	if err != nil {
		return err
	}
	return j.n.eachSnapshot(func(f ledger.SnapshotFile) error {
		if last := j.n.ledger.Last(); f.Seqno > last.Seqno && j.n.ledger.Occupied() {
			return fmt.Errorf("the ledger files in %s end at %v, before it", j.n.cfg.Ledger.Directory, last)
		}
		s, err := ledger.ReadSnapshot(j.n.fs, f)
		if err != nil {
			return err
		}
		if err := j.n.checkSnapshot(s, f, key); err != nil {
			return err
		}
		j.from = &f
		return nil
	})
}

func (j *joiner) serviceKey() (*ecdsa.PublicKey, error) {
	key, err := identity.CertificateKey(j.service)
	if err != nil {
		return nil, fmt.Errorf("command.service_certificate_file: the key is of another kind than a service's: %w", err)
	}
	return key, nil
}

// startup is the seqno of the snapshot to begin with, 0 without one.
func (j *joiner) startup() uint64 {
	if j.from == nil {
		return 0
	}
	return j.from.Seqno
}

// tooOld says that the service wants this node to begin with a newer snapshot.
func (e *refusedError) tooOld() bool {
	code, _ := e.code()
	return e.status == http.StatusBadRequest && code == api.StartupSeqnoIsOld
}

// renew fetches a snapshot that is newer than the one to begin with, from the node that
// refused it, or the one that it is led to from there.
func (j *joiner) renew(ctx context.Context, refused error) error {
	cfg := &j.n.cfg.Command.Join
	if !cfg.FetchRecentSnapshot {
		return fmt.Errorf("%w (command.join.fetch_recent_snapshot is off)", refused)
	}
	if j.n.ledger.Occupied() {
		return fmt.Errorf("%w; the ledger files in %s end at %v, before any such snapshot: empty the directory to begin behind one", refused, j.n.cfg.Ledger.Directory, j.n.ledger.Last())
	}
	for attempt := int64(1); ; attempt++ {
		j.n.log.Info(fmt.Sprintf("Fetching snapshot from %s (attempt %d/%d)", j.target, attempt, cfg.FetchSnapshotMaxAttempts))
		err := j.fetchSnapshot(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		j.n.log.Warn("no snapshot was fetched", "from", j.target, "err", err)
		if attempt >= cfg.FetchSnapshotMaxAttempts {
			j.n.log.Error(fmt.Sprintf("Exceeded maximum snapshot fetch retries (%d), giving up", cfg.FetchSnapshotMaxAttempts))
			return fmt.Errorf("%w; and no newer snapshot could be fetched: %w", refused, err)
		}
		if err := sleep(ctx, cfg.FetchSnapshotRetryInterval); err != nil {
			return err
		}
	}
}

// fetchSnapshot fetches, verifies and keeps the newest snapshot.
func (j *joiner) fetchSnapshot(ctx context.Context) error {
	key, err := j.serviceKey()
	if err != nil {
		return err
	}
	source := newSnapshotSource(j.tls(), j.n.cfg.ClientConnectionTimeout, int64(j.n.cfg.Command.Join.FetchSnapshotMaxSize), "command.join.fetch_snapshot_max_size")
	defer source.client.CloseIdleConnections()
	at := &url.URL{Scheme: "https", Host: j.target, Path: "/node/snapshot", RawQuery: fmt.Sprintf("since=%d", j.startup()+1)}
	var name ledger.SnapshotName
	for hop, ok := 0, false; !ok; hop++ {
		if hop == maxSnapshotHops {
			return fmt.Errorf("led on from node to node, last to %s", at)
		}
		if at, err = source.redirected(ctx, at); err != nil {
			return err
		}
		name, ok = ledger.ParseSnapshotName(path.Base(at.Path))
	}
	if !name.Committed || name.Seqno <= j.startup() {
		return fmt.Errorf("%s names %s, and a snapshot behind seqno %d is needed", at.Host, name, j.startup())
	}
	body, err := source.download(ctx, at)
	if err != nil {
		return err
	}
	s, err := ledger.ParseSnapshot(body)
	if err != nil {
		return err
	}
	f := ledger.SnapshotFile{Path: filepath.Join(j.n.cfg.Snapshots.Directory, name.String()), SnapshotName: name}
	if s.Seqno != name.Seqno {
		return fmt.Errorf("%w: it is of seqno %d, and its name is %s", ledger.ErrSnapshot, s.Seqno, name)
	}
	if err := j.n.checkSnapshot(s, f, key); err != nil {
		return err
	}
	if err := durable.WriteFileAtomic(j.n.fs, f.Path, body, 0o644); err != nil {
		return err
	}
	j.n.log.Info("snapshot to begin with", "file", name.String(), "bytes", len(body))
	j.from = &f
	return nil
}

// beginWithSnapshot builds the store of a node that was let in from its snapshot; nil
// without one. What the file holds is verified again: it lay on disk while the service decided.
func (j *joiner) beginWithSnapshot() (*raftfsm.Base, error) {
	if j.from == nil {
		return nil, nil
	}
	key, err := j.serviceKey()
	if err != nil {
		return nil, err
	}
	base, store, err := j.n.openSnapshot(*j.from, key)
	if err != nil {
		return nil, fmt.Errorf("the snapshot to begin with: %w", err)
	}
	if err := j.n.ledger.BeginBehind(base.ID); err != nil {
		return nil, err
	}
	j.n.store, j.n.startup = store, base.ID.Seqno
	j.n.log.Info("starting from a snapshot", "file", j.from.String(), "transaction", base.ID.String())
	return base, nil
}
