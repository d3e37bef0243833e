package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Config says which service to talk to and as whom.
type Config struct {
	// URLs are those of the service's nodes, "https://host:port" without a path;
	// at least one. Requests go to the first, and on to the next when a node
	// cannot be reached.
	URLs []string
	// Service is the service's certificate. Required.
	Service *x509.Certificate
	// Certificate is the user's or member's own, shown to nodes when they ask.
	Certificate *tls.Certificate
	// Bearer returns a JWT for each request that sets no authorization header of
	// its own. Optional.
	Bearer func(context.Context) (string, error)
	// ServerName, if set, is expected in node certificates in place of the host
	// that was dialled: for nodes behind a forwarded port.
	ServerName string
	// Attest, where not nil, has each node prove on what it runs before anything is
	// sent to it. Requests to one that does not end with ErrNotAttested.
	Attest *Attestation
	// Retry bounds repetition; the zero value stands for its defaults.
	Retry Retry
	// AnswerTimeout bounds the time in which one node answers; 0 stands for 60 s, which is
	// longer than a node holds an answer for a commit. After it the next node is asked,
	// where sending the request twice does no harm.
	AnswerTimeout time.Duration
	// MaxAnswer bounds the body of an answer, in bytes; 0 stands for 64 MiB.
	MaxAnswer int64
	// Now tells the time, for signed messages; nil stands for the system's clock.
	Now func() time.Time
}

const (
	defaultMaxAnswer = 64 << 20
	answerTimeout    = time.Minute
	dialTimeout      = 10 * time.Second
	idleTimeout      = 90 * time.Second
	idlePerNode      = 64
)

// Client talks to a service. It is safe for concurrent use.
type Client struct {
	cfg     Config
	nodes   []*url.URL
	current atomic.Uint32 // index of the node last reached
	http    *http.Client
	session bool
	sleep   func(context.Context, time.Duration) error
}

// New makes a client. It connects to nothing yet.
func New(cfg Config) (*Client, error) {
	if cfg.Service == nil {
		return nil, errors.New("new client: no service certificate")
	}
	if len(cfg.URLs) == 0 {
		return nil, errors.New("new client: no node URL")
	}
	if cfg.MaxAnswer == 0 {
		cfg.MaxAnswer = defaultMaxAnswer
	}
	if cfg.AnswerTimeout == 0 {
		cfg.AnswerTimeout = answerTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Retry = cfg.Retry.withDefaults()
	c := &Client{cfg: cfg, sleep: sleep}
	for _, text := range cfg.URLs {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("new client: %w", err)
		}
		if u.Scheme != "https" || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
			return nil, fmt.Errorf("new client: %q is not of the form https://host:port", text)
		}
		c.nodes = append(c.nodes, u)
	}
	c.http = httpClient(c.transport())
	return c, nil
}

// Session returns a client for the same service that sends everything to one node
// over one connection of its own. Close it after use.
func (c *Client) Session() *Client {
	s := &Client{cfg: c.cfg, sleep: c.sleep, session: true}
	s.nodes = c.nodes[int(c.current.Load())%len(c.nodes):][:1]
	t := s.transport()
	t.MaxConnsPerHost = 1
	t.IdleConnTimeout = 0
	t.DialContext = dialOnce(t.DialContext)
	s.http = httpClient(t)
	return s
}

// Close closes idle connections. The client can still be used, unless it is a
// Session.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Service returns the service's certificate.
func (c *Client) Service() *x509.Certificate { return c.cfg.Service }

func httpClient(t *http.Transport) *http.Client {
	return &http.Client{
		Transport: t,
		// Redirects are followed by this package, which checks where they lead.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (c *Client) transport() *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(c.cfg.Service)
	conf := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, ServerName: c.cfg.ServerName}
	if own := c.cfg.Certificate; own != nil {
		// Shown whatever authorities the node names: it names none.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	t := &http.Transport{
		TLSClientConfig:     conf,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1 only
		MaxIdleConnsPerHost: idlePerNode,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
	}
	if c.cfg.Attest != nil {
		t.DialTLSContext = c.attestedDial(t)
	}
	return t
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialOnce lets one connection be made to each address: a second one would be
// another session.
func dialOnce(dial dialFunc) dialFunc {
	var mu sync.Mutex
	dialled := map[string]bool{}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		before := dialled[address]
		mu.Unlock()
		if before {
			return nil, ErrSessionLost
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		dialled[address] = true
		return conn, nil
	}
}

// ParseCertificate reads one PEM certificate, as service_cert.pem holds it.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("more than one PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	return cert, nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
