package server

import (
	"crypto/tls"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"
	"time"
)

// InterfaceOptions says how one RPC interface behaves; DefaultInterface has CCF's values.
type InterfaceOptions struct {
	// Name is the interface's name in the configuration; it must be unique.
	Name string
	// TLS holds certificates, versions and suites; nil serves in the clear (an
	// Unsecured interface). Client certificates must be requested and not verified.
	TLS *tls.Config
	// HTTP2 serves HTTP/2 alone; otherwise HTTP/1.1 alone is served.
	HTTP2 bool
	// PublishedAddress is the host:port by which clients reach the interface.
	PublishedAddress string
	// MaxSessionsSoft is the number of sessions beyond which one is answered 503 and
	// closed (1000), MaxSessionsHard the one beyond which it is closed at once (1010).
	MaxSessionsSoft, MaxSessionsHard uint64
	// MaxBodySize bounds a request's body in bytes (1 MB), MaxHeaderSize each header
	// field's name and value (16 KB), MaxHeadersCount their number (256).
	MaxBodySize, MaxHeaderSize, MaxHeadersCount uint64
	// MaxConcurrentStreams (100), InitialWindowSize (64 KB) and MaxFrameSize (16 KB)
	// are HTTP/2's.
	MaxConcurrentStreams, InitialWindowSize, MaxFrameSize uint64
	// AcceptedEndpoints are regular expressions of which one must match the whole
	// template of an endpoint, e.g. "/node/.*". nil accepts all, but none on an
	// interface in the clear.
	AcceptedEndpoints []string
	// OperatorFeatures are the enabled features: SnapshotRead, LedgerChunkRead, SnapshotCreate.
	OperatorFeatures []string
	// ForwardingTimeout bounds the wait for the primary's answer to a forwarded request (3 s).
	ForwardingTimeout time.Duration
	// Redirections make the interface redirect instead of forwarding; nil forwards.
	Redirections *Redirections
	// IdleTimeout closes a connection on which nothing happens (60 s), and bounds the
	// reading of one request; negative: a session stays open between requests.
	// HandshakeTimeout bounds the TLS handshake (10 s).
	IdleTimeout, HandshakeTimeout time.Duration
}

// The operator features that an interface may enable.
const (
	FeatureSnapshotRead    = "SnapshotRead"
	FeatureLedgerChunkRead = "LedgerChunkRead"
	FeatureSnapshotCreate  = "SnapshotCreate"
)

// iface is an interface in service.
type iface struct {
	opts     InterfaceOptions // defaults filled in
	accept   []*regexp.Regexp
	features map[string]bool

	sessions                tally
	all                     *sessionSeries // of the server
	parsing, header, tooBig atomic.Uint64  // requests refused, as in /node/metrics
	beyondSoft, beyondHard  atomic.Uint64  // sessions refused
}

// tally counts what is open, now and at most.
type tally struct{ active, peak atomic.Uint64 }

func (t *tally) enter() uint64 {
	n := t.active.Add(1)
	for {
		if p := t.peak.Load(); n <= p || t.peak.CompareAndSwap(p, n) {
			return n
		}
	}
}

func (t *tally) leave() { t.active.Add(^uint64(0)) }

// sessionSeries counts the sessions of all interfaces and numbers them.
type sessionSeries struct {
	tally
	last atomic.Uint64
}

// neverIdle bounds the reading and the writing of a request where idle sessions are not
// closed.
const neverIdle = 5 * time.Minute

// DefaultInterface returns CCF's defaults. A value of 0 means 0: nothing is allowed.
func DefaultInterface() InterfaceOptions {
	return InterfaceOptions{
		MaxSessionsSoft: 1000, MaxSessionsHard: 1010,
		MaxBodySize: 1 << 20, MaxHeaderSize: 16 << 10, MaxHeadersCount: 256,
		MaxConcurrentStreams: 100, InitialWindowSize: 64 << 10, MaxFrameSize: 16 << 10,
		IdleTimeout: time.Minute, HandshakeTimeout: 10 * time.Second, ForwardingTimeout: 3 * time.Second,
	}
}

// patience is how long a client may take to send a request, or to take a piece of an
// answer.
func (o *InterfaceOptions) patience() time.Duration {
	if o.IdleTimeout < 0 {
		return neverIdle
	}
	return o.IdleTimeout
}

// newInterface checks the options.
func newInterface(o InterfaceOptions) (*iface, error) {
	in := &iface{opts: o, features: make(map[string]bool)}
	for _, expr := range o.AcceptedEndpoints {
		re, err := regexp.Compile(`^(?:` + expr + `)$`)
		if err != nil {
			return nil, fmt.Errorf("interface %q: accepted_endpoints: %w", o.Name, err)
		}
		in.accept = append(in.accept, re)
	}
	known := []string{FeatureSnapshotRead, FeatureLedgerChunkRead, FeatureSnapshotCreate}
	for _, f := range o.OperatorFeatures {
		if !slices.Contains(known, f) {
			return nil, fmt.Errorf("interface %q: unknown operator feature %q", o.Name, f)
		}
		in.features[f] = true
	}
	return in, nil
}

// accepts says whether the endpoint with this template may be asked here.
func (in *iface) accepts(template string) bool {
	if in.opts.AcceptedEndpoints == nil {
		return in.opts.TLS != nil
	}
	for _, re := range in.accept {
		if re.MatchString(template) {
			return true
		}
	}
	return false
}

// open admits a connection: it counts it and returns its session, or false beyond the
// hard cap.
func (in *iface) open() (*Session, bool) {
	if in.sessions.active.Load() >= in.opts.MaxSessionsHard { // one goroutine accepts
		in.beyondHard.Add(1)
		return nil, false
	}
	n := in.sessions.enter()
	in.all.enter()
	refused := n > in.opts.MaxSessionsSoft
	if refused {
		in.beyondSoft.Add(1)
	}
	return &Session{id: in.all.last.Add(1), in: in, refused: refused}, true
}

// closed takes a connection off the count.
func (in *iface) closed() {
	in.sessions.leave()
	in.all.leave()
}
