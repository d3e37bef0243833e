package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
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
	certificates := certificatesIn([]byte(bundle))
	if len(certificates) == 0 {
		return nil, errors.New("the CA bundle holds no certificate in PEM")
	}
	ctx, cancel := context.WithTimeout(ctx, limits.Timeout)
	defer cancel()
	transport := &http.Transport{
		DialTLSContext:         dialer(certificates),
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

// dialer connects to servers whose certificates chain to one of the bundle's, and are for
// the host's name or in the bundle themselves: CCF does not look at the name at all, and
// self-signed certificates that members agreed on often have another.
func dialer(bundle []*x509.Certificate) func(ctx context.Context, network, address string) (net.Conn, error) {
	roots := x509.NewCertPool()
	for _, c := range bundle {
		roots.AddCert(c)
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		raw, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, &tls.Config{
			ServerName: host, MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true, // checked here
			VerifyConnection:   func(s tls.ConnectionState) error { return checkServer(s.PeerCertificates, bundle, roots, host) },
		})
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		return conn, nil
	}
}

// certificatesIn returns the certificates that can be read; others are passed over, as by
// x509.CertPool.
func certificatesIn(bundle []byte) (found []*x509.Certificate) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			found = append(found, c)
		}
	}
	return found
}

func checkServer(chain, bundle []*x509.Certificate, roots *x509.CertPool, host string) error {
	if len(chain) == 0 {
		return errors.New("the server shows no certificate")
	}
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		return err
	}
	if slices.ContainsFunc(bundle, leaf.Equal) {
		return nil
	}
	return leaf.VerifyHostname(host)
}
