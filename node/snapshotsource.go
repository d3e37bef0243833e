package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// snapshotSource reads snapshots from other nodes' interfaces.
type snapshotSource struct {
	client   *http.Client // follows nothing by itself
	patience time.Duration
	limit    int64  // bytes
	limitKey string // where that is configured
}

// stalled is how many connection timeouts may pass without a byte of a snapshot.
const stalled = 5

func newSnapshotSource(trust *tls.Config, timeout time.Duration, limit int64, limitKey string) *snapshotSource {
	t := &http.Transport{TLSClientConfig: trust, TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, DisableCompression: true}
	client := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &snapshotSource{client: client, patience: stalled * timeout, limit: limit, limitKey: limitKey}
}

// redirected asks where a snapshot is: that is where the answer redirects to.
func (s *snapshotSource) redirected(ctx context.Context, at *url.URL) (*url.URL, error) {
	resp, err := s.get(ctx, at)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPermanentRedirect {
		return nil, fmt.Errorf("%s answers %d; its interface must have the operator feature SnapshotRead, and there must be a snapshot", at.Host, resp.StatusCode)
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Host == "" || to.Scheme != "https" {
		return nil, fmt.Errorf("%s sends this node to %q", at.Host, resp.Header.Get("Location"))
	}
	return to, nil
}

func (s *snapshotSource) get(ctx context.Context, at *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	return s.client.Do(req)
}

// download reads a snapshot within the configured size. A node that sends nothing for long
// is given up.
func (s *snapshotSource) download(ctx context.Context, at *url.URL) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(s.patience, func() { cancel(fmt.Errorf("%s stopped sending", at.Host)) })
	defer watch.Stop()
	resp, err := s.get(ctx, at)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", at.Host, resp.StatusCode)
	}
	if resp.ContentLength > s.limit {
		return nil, fmt.Errorf("the snapshot has %d bytes, more than %s (%d)", resp.ContentLength, s.limitKey, s.limit)
	}
	body, err := io.ReadAll(io.LimitReader(progress{resp.Body, func() { watch.Reset(s.patience) }}, s.limit+1))
	switch {
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("reading the snapshot: %w", err)
	case int64(len(body)) > s.limit:
		return nil, errors.New("the snapshot has more bytes than " + s.limitKey + " allows")
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
