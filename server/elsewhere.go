package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"chancery/gov/tables"
	"chancery/kv/writeset"
	"chancery/server/api"
)

// Redirections say where an interface sends requests that another node must execute.
type Redirections struct{ ToPrimary, ToBackup Resolver }

// Resolver finds the address of a redirect: Address where it is set, and else that of a
// node which has the role, on its interface of the same name.
type Resolver struct {
	Address string
	Backup  bool // a backup; otherwise the primary
}

// Forwarded is a request on its way from a backup to the primary.
type Forwarded struct {
	Method, URL, Host string
	Header            http.Header
	Body              []byte
	// Caller is the client's TLS certificate, DER; nil when it showed none. The backup
	// vouches that the client holds its key.
	Caller []byte
	// View is the view of the client's session, 0 before its first request.
	View uint64
	// Interface and Published are the interface that the client came by.
	Interface, Published string
	// AwaitCommit says that the client waits for the commit.
	AwaitCommit bool
}

// ForwardedAnswer is the primary's answer to a forwarded request.
type ForwardedAnswer struct {
	Status  int
	Header  map[string]string
	Body    []byte
	TxID    string // "" where the answer has none
	Closing bool   // the client's connection is to be closed
}

// elsewhere redirects or forwards a request that this node must not execute, and says
// whether out holds the answer.
func (s *Server) elsewhere(ctx context.Context, c *Call, out *outcome) (done bool, err error) {
	if c.Session.forwarded { // one hop only
		return false, nil
	}
	primary := s.node.Position().Primary
	if in := c.Session.in; in.opts.Redirections != nil {
		switch strategy := out.route.redirection(); {
		case strategy == RedirectToPrimary && !primary:
			return true, s.redirect(c, in.opts.Redirections.ToPrimary, out, true)
		case strategy == RedirectToBackup && primary:
			return true, s.redirect(c, in.opts.Redirections.ToBackup, out, false)
		}
		return false, nil
	}
	switch forwarding := out.route.forwarding(); {
	case primary, forwarding == ForwardNever:
		return false, nil
	case forwarding == ForwardSometimes && !c.Session.forwarding.Load() && !linearizes(c.Request):
		return false, nil
	}
	if err := s.checkView(c.Request, &out.res); err != nil {
		return false, err
	}
	return true, s.forward(ctx, c, out)
}

// redirect answers 307 with the place of a node that may execute the request.
func (s *Server) redirect(c *Call, to Resolver, out *outcome, toPrimary bool) error {
	address := to.Address
	if address == "" {
		var err error
		if address, err = s.resolve(c, to); err != nil {
			return err
		}
	}
	if address == "" && toPrimary {
		return api.Errorf(http.StatusServiceUnavailable, api.PrimaryNotFound, "Request should be redirected to primary, but receiving node does not know current primary address")
	}
	if address == "" {
		return api.Errorf(http.StatusServiceUnavailable, api.BackupNotFound, "Request should be redirected to backup, but receiving node does not know any current backup address")
	}
	out.res.Status = http.StatusTemporaryRedirect
	out.res.Set(api.HeaderLocation, "https://"+address+c.URL)
	return nil
}

// resolve returns the address of a trusted node with the role, any of several; "" for none.
func (s *Server) resolve(c *Call, to Resolver) (string, error) {
	nodes, err := tables.NodesInfo.All(c.Tx)
	if err != nil {
		return "", err
	}
	primary := s.node.Info().PrimaryID
	var found []string
	for _, n := range nodes {
		rpc, has := n.Value.RPC[c.Session.in.opts.Name]
		if has && n.Value.Status == tables.NodeTrusted && primary != "" && to.Backup == (n.Key != primary) {
			found = append(found, rpc.PublishedAddress)
		}
	}
	if len(found) == 0 {
		return "", nil
	}
	return found[rand.IntN(len(found))], nil
}

// forwardRetry is the pause after which a request that reached no primary is sent again.
const forwardRetry = 50 * time.Millisecond

// forward has the primary execute a request. As long as it is certain that no node has
// executed it, it is sent again, to the primary of the moment, within the interface's
// time for forwarding.
func (s *Server) forward(ctx context.Context, c *Call, out *outcome) error {
	in, session := c.Session.in, c.Session
	f := &Forwarded{
		Method: c.Method, URL: c.URL, Host: c.Host, Header: c.Header, Body: c.Body, View: session.view.Load(),
		Interface: in.opts.Name, Published: in.opts.PublishedAddress, AwaitCommit: s.waits(c.Request),
	}
	if peer := session.Peer(); peer != nil {
		f.Caller = peer.Cert.Raw
	}
	limit, cancel := context.WithTimeout(ctx, in.opts.ForwardingTimeout)
	defer cancel()
	start, outcome := time.Now(), "timeout"
	defer func() { s.metrics.forwards.WithLabelValues(outcome).Observe(time.Since(start).Seconds()) }()
	primary := s.node.Info().PrimaryID
	if primary == "" {
		outcome = "no_primary"
		return api.Errorf(http.StatusServiceUnavailable, api.InternalError, "RPC could not be forwarded to unknown primary.")
	}
	session.forwarding.Store(true)
	for {
		answer, err := s.node.Forward(limit, primary, f)
		switch {
		case err == nil:
			outcome = "answered"
			return out.take(answer)
		case limit.Err() != nil:
		case errors.Is(err, ErrNotPrimary), errors.Is(err, ErrUnreachable):
			select {
			case <-limit.Done():
			case <-time.After(forwardRetry):
				if id := s.node.Info().PrimaryID; id != "" {
					primary = id
				}
				continue
			}
		default:
			s.log.InfoContext(ctx, "a forwarded request has no answer", "primary", primary, "err", err)
		}
		out.res.Status = http.StatusGatewayTimeout
		out.res.Raw(api.TypeText, fmt.Appendf(nil, "Request was forwarded to node n[%s], but no response was received after %dms", primary, in.opts.ForwardingTimeout.Milliseconds()))
		return nil
	}
}

// take makes the primary's answer this node's.
func (out *outcome) take(a *ForwardedAnswer) error {
	out.res = Response{Status: a.Status, Header: a.Header, Body: a.Body, closing: a.Closing}
	if a.TxID == "" {
		return nil
	}
	var err error
	if out.id, err = writeset.ParseTxID(a.TxID); err != nil {
		return fmt.Errorf("the primary's answer: %w", err)
	}
	return nil
}

// ServeForwarded executes a request that another node of the service forwards.
// ErrNotPrimary says that this node does not lead and has executed nothing.
func (s *Server) ServeForwarded(ctx context.Context, f *Forwarded) (*ForwardedAnswer, error) {
	if !s.node.Position().Primary {
		return nil, ErrNotPrimary
	}
	o := DefaultInterface() // its limits were applied where the request came in
	o.Name, o.PublishedAddress = f.Interface, f.Published
	in, err := newInterface(o)
	if err != nil {
		return nil, err
	}
	session := &Session{id: s.sessions.last.Add(1), in: in, forwarded: true}
	session.view.Store(f.View)
	if f.Caller != nil {
		cert, err := x509.ParseCertificate(f.Caller)
		if err != nil {
			return nil, fmt.Errorf("the certificate of a forwarded client: %w", err)
		}
		session.peer = newPeer(cert)
	}
	path, raw := splitURL(f.URL)
	frontend, within := splitPath(path)
	if f.Header == nil {
		f.Header = http.Header{}
	}
	req := &Request{
		Method: f.Method, URL: f.URL, Frontend: frontend, Path: within, FullPath: path,
		Query: Query(decodeQuery(raw)), Header: f.Header, Host: f.Host, Body: f.Body, Session: session,
	}
	start := time.Now()
	out := s.execute(ctx, req)
	s.observe(req, &out, time.Since(start))
	s.finish(ctx, req, &out) // an answer that the application holds is held here
	answer := &ForwardedAnswer{Status: out.res.Status, Header: out.res.Header, Body: out.res.Body, Closing: out.res.closing}
	if out.id != (TxID{}) {
		answer.TxID = out.id.String()
		if f.AwaitCommit {
			s.node.RequestSignature()
		}
	}
	return answer, nil
}
