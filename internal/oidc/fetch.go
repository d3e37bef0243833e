package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// wellKnown is where an issuer publishes its metadata (OpenID Connect Discovery 1.0, 4.1).
const wellKnown = "/.well-known/openid-configuration"

// Limits bound what one fetch may take.
type Limits struct {
	// Timeout is the time for both requests together, more than 0.
	Timeout time.Duration
	// Bytes is the size of the largest response body.
	Bytes int64
}

// Keys returns the JWK set that an issuer publishes, as the JSON text that it sent.
// bundle holds the certificates (PEM) to one of which the servers of metadata and keys
// must chain; the system's own are not consulted.
func Keys(ctx context.Context, issuer, bundle string, limits Limits) (json.RawMessage, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(bundle)) {
		return nil, errors.New("the CA bundle holds no certificate in PEM")
	}
	ctx, cancel := context.WithTimeout(ctx, limits.Timeout)
	defer cancel()
	transport := &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	defer transport.CloseIdleConnections()
	f := fetcher{limits: limits, client: &http.Client{Transport: transport, CheckRedirect: noRedirect}}

	var metadata struct {
		JWKSURI string `json:"jwks_uri"`
	}
	at := strings.TrimSuffix(issuer, "/") + wellKnown
	if err := f.get(ctx, at, &metadata); err != nil {
		return nil, err
	}
	if metadata.JWKSURI == "" {
		return nil, fmt.Errorf("%s names no jwks_uri", at)
	}
	var keys json.RawMessage
	if err := f.get(ctx, metadata.JWKSURI, &keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// noRedirect makes a redirect an answer like any other, which is then refused for its status.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

type fetcher struct {
	client *http.Client
	limits Limits
}

// get reads the JSON value at an address into v.
func (f fetcher) get(ctx context.Context, at string, v any) (err error) {
	u, err := url.Parse(at)
	if err != nil {
		return fmt.Errorf("the address of the keys: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("%s: not an https address", u.Redacted())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", u, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return err // names method and address
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: answered with status %d", u, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, f.limits.Bytes+1))
	if err != nil {
		return fmt.Errorf("%s: %w", u, err)
	}
	if int64(len(body)) > f.limits.Bytes {
		return fmt.Errorf("%s: the response is larger than %d bytes", u, f.limits.Bytes)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s: not the JSON expected: %w", u, err)
	}
	return nil
}
