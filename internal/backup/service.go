package backup

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chancery/client"
	"chancery/ledger"
	"chancery/server/api"
)

// Running is a service that runs, whose nodes let their files be downloaded.
type Running struct {
	Client *client.Client
	URL    string // for messages
}

// pieceSize is how much one request asks for.
const pieceSize = 4 << 20

const newestSnapshot = "/node/snapshot"

func chunkAt(seqno uint64) string { return "/node/ledger_chunk?since=" + strconv.FormatUint(seqno, 10) }

// String implements Source.
func (r *Running) String() string { return r.URL }

// Reaches implements Source.
func (r *Running) Reaches(ctx context.Context) (uint64, error) {
	var commit api.Commit
	if err := r.Client.Get(ctx, "/node/commit", nil, &commit); err != nil {
		return 0, err
	}
	id, err := ledger.ParseTxID(commit.TransactionID)
	if err != nil {
		return 0, fmt.Errorf("/node/commit: %w", err)
	}
	return id.Seqno, nil
}

// Chunk implements Source.
func (r *Running) Chunk(ctx context.Context, seqno uint64) (Offer, bool, error) {
	return r.ask(ctx, chunkAt(seqno), api.HeaderChunkName, "LedgerChunkRead")
}

// Snapshot implements Source. It knows of the newest alone.
func (r *Running) Snapshot(ctx context.Context, through uint64) (Offer, bool, error) {
	o, ok, err := r.ask(ctx, newestSnapshot, api.HeaderSnapshotName, "SnapshotRead")
	if err != nil || !ok {
		return o, false, err
	}
	name, ok := ledger.ParseSnapshotName(o.Name)
	return o, ok && name.Committed && name.Evidence <= through, nil
}

// ask finds out which file a path leads to. Where the service has none, ok is false.
func (r *Running) ask(ctx context.Context, path, header, feature string) (o Offer, ok bool, err error) {
	resp, err := r.Client.Do(ctx, client.Request{Method: http.MethodHead, Path: path, Header: http.Header{"Want-Repr-Digest": {"sha-256=1"}}})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return o, false, r.explain(ctx, path, feature)
	}
	if err != nil {
		return o, false, err
	}
	o.Name = resp.Header.Get(header)
	if o.Size, err = strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err != nil || o.Size <= 0 {
		return o, false, fmt.Errorf("the service does not say how long %s is", o.Name)
	}
	if text, ok := strings.CutPrefix(resp.Header.Get(api.HeaderReprDigest), "sha-256=:"); ok {
		sum, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, ":"))
		if err != nil {
			return o, false, fmt.Errorf("the service states a digest of %s that is none: %w", o.Name, err)
		}
		o.SHA256 = hexOf(sum)
	}
	return o, true, nil
}

// explain tells a service without such a file, which is no error, from one that does not
// let its files be read. The answer to HEAD has no body that would tell.
func (r *Running) explain(ctx context.Context, path, feature string) error {
	// One byte is enough, where there is a file meanwhile: the next call has it.
	_, err := r.Client.Do(ctx, client.Request{Path: path, Header: http.Header{"Range": {"bytes=0-0"}}})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		if refused.Code == api.ResourceNotFound {
			return nil
		}
		return fmt.Errorf("the service does not let its files be read: enabled_operator_features of the interface must have %s", feature)
	}
	return err
}

// Copy implements Source.
func (r *Running) Copy(ctx context.Context, o Offer, at int64, w io.Writer) error {
	path, elsewhere, header := "/node/ledger_chunk/"+o.Name, "", api.HeaderChunkName
	if first, _, ok := ledger.IsCommittedChunk(o.Name); ok {
		elsewhere = chunkAt(first)
	} else {
		path, elsewhere, header = "/node/snapshot/"+o.Name, newestSnapshot, api.HeaderSnapshotName
	}
	for at < o.Size {
		last := min(at+pieceSize, o.Size) - 1
		piece := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", at, last)}}
		resp, err := r.Client.Do(ctx, client.Request{Path: path, Header: piece})
		var refused *client.Error
		if errors.As(err, &refused) && refused.Status == http.StatusNotFound { // another node has it, and is led to
			resp, err = r.Client.Do(ctx, client.Request{Path: elsewhere, Header: piece})
		}
		if err != nil {
			return err
		}
		if int64(len(resp.Body)) != last-at+1 || resp.Header.Get(header) != o.Name {
			return fmt.Errorf("the service answered with %d bytes of %q instead of bytes %d to %d of %s", len(resp.Body), resp.Header.Get(header), at, last, o.Name)
		}
		if _, err := w.Write(resp.Body); err != nil {
			return err
		}
		at = last + 1
	}
	return nil
}

const (
	// snapshotPoll is how often Snapshotted asks, and snapshotWithin for how long.
	snapshotPoll   = 200 * time.Millisecond
	snapshotWithin = 2 * time.Minute
)

var errNoSnapshot = fmt.Errorf("the service has taken no snapshot within %v; look at its log, or make the backup without one: it then ends with the last closed chunk", snapshotWithin)

// Snapshotted asks the service for a snapshot, with which a chunk ends, so that a backup
// reaches what was committed when it was called. It returns when the snapshot is there.
func (r *Running) Snapshotted(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, snapshotWithin, errNoSnapshot)
	defer cancel()
	at, err := r.Reaches(ctx)
	if err != nil {
		return err
	}
	_, err = r.Client.Do(ctx, client.Request{Method: http.MethodPost, Path: "/node/snapshot:create"})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return errors.New("the service takes no snapshot on demand: enabled_operator_features of the interface must have SnapshotCreate")
	}
	if err != nil {
		return fmt.Errorf("asking for a snapshot: %w", err)
	}
	tick := time.NewTicker(snapshotPoll)
	defer tick.Stop()
	for {
		if _, ok, err := r.Chunk(ctx, at); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
