package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	client, err := f.client()
	if err != nil {
		return name, nil, err
	}
	defer client.CloseIdleConnections()
	place, err := f.place(ctx, client, address, evidence.Version)
	if err != nil {
		return name, nil, err
	}
	name, ok := ledger.ParseSnapshotName(path.Base(place))
	if !ok || !name.Committed || name.Seqno != evidence.Version {
		return name, nil, fmt.Errorf("the primary names %q, and the snapshot that the service committed to is of seqno %d", place, evidence.Version)
	}
	body, err := f.download(ctx, client, "https://"+address+place)
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

// client trusts the service, and follows nothing by itself.
func (f *snapshotFetcher) client() (*http.Client, error) {
	service, err := f.n.serviceCert()
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		TLSClientConfig: identity.ClientTLS(service, nil), TLSHandshakeTimeout: f.n.cfg.ClientConnectionTimeout,
		ResponseHeaderTimeout: f.n.cfg.ClientConnectionTimeout, DisableCompression: true,
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// place asks where the snapshot at or after a seqno is: a path at the same node.
func (f *snapshotFetcher) place(ctx context.Context, client *http.Client, address string, since uint64) (string, error) {
	resp, err := f.get(ctx, client, fmt.Sprintf("https://%s/node/snapshot?since=%d", address, since))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPermanentRedirect {
		return "", fmt.Errorf("the primary answers %d; its interface must have the operator feature SnapshotRead", resp.StatusCode)
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Host != address || to.RawQuery != "" {
		return "", fmt.Errorf("the primary sends this node to %q", resp.Header.Get("Location"))
	}
	return to.EscapedPath(), nil
}

func (f *snapshotFetcher) get(ctx context.Context, client *http.Client, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// stalled is how many connection timeouts may pass without a byte of a snapshot.
const stalled = 5

// download reads a snapshot within the configured size. A primary that sends nothing for
// long is given up.
func (f *snapshotFetcher) download(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := stalled * f.n.cfg.ClientConnectionTimeout
	watch := time.AfterFunc(patience, func() { cancel(errors.New("the primary stopped sending")) })
	defer watch.Stop()
	resp, err := f.get(ctx, client, address)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the primary answers %d", resp.StatusCode)
	}
	limit := int64(f.n.cfg.Snapshots.BackupFetch.MaxSize)
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("the snapshot has %d bytes, more than snapshots.backup_fetch.max_size (%d)", resp.ContentLength, limit)
	}
	body, err := io.ReadAll(io.LimitReader(progress{resp.Body, func() { watch.Reset(patience) }}, limit+1))
	switch {
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("reading the snapshot: %w", err)
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("the snapshot has more bytes than snapshots.backup_fetch.max_size (%d)", limit)
	}
	return body, nil
}

// progress tells of every read.
type progress struct {
	io.Reader
	read func()
}

// Read implements io.Reader.
func (p progress) Read(b []byte) (int, error) {
	p.read()
	return p.Reader.Read(b)
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
	return f.n.checkSnapshot(s, ledger.SnapshotFile{SnapshotName: name})
}
