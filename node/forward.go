package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"chancery/gov/tables"
	"chancery/raftfsm"
	"chancery/server"
)

// protocolForward carries requests that a backup forwards to the primary: HTTP/1.1 over
// the nodes' own connections, in which the request and its answer are JSON documents.
const protocolForward raftfsm.Protocol = "chancery-forward/1"

const (
	forwardPath = "/forward"
	// notPrimary is the status of a node that does not lead and has executed nothing.
	notPrimary = http.StatusMisdirectedRequest
	// maxForwarded bounds a forwarded request or answer, in bytes.
	maxForwarded = 256 << 20
	// forwardIdle closes a connection between nodes over which nothing is forwarded.
	forwardIdle = time.Minute
)

// forwarder is both ends of the forwarding between nodes.
type forwarder struct {
	n      *Node
	stream *raftfsm.Stream
	client *http.Transport
}

func newForwarder(n *Node, p *raftfsm.Peers) *forwarder {
	f := &forwarder{n: n, stream: p.Stream(protocolForward)}
	f.client = &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			c, err := f.stream.DialContext(ctx, address)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", server.ErrUnreachable, err)
			}
			return c, nil
		},
		MaxIdleConnsPerHost: 16, IdleConnTimeout: forwardIdle, DisableCompression: true,
	}
	return f
}

// Forward sends a request to the primary.
func (n *Node) Forward(ctx context.Context, primary string, f *server.Forwarded) (*server.ForwardedAnswer, error) {
	if n.forwarder == nil {
		return nil, server.ErrUnreachable
	}
	return n.forwarder.send(ctx, primary, f)
}

func (f *forwarder) send(ctx context.Context, primary string, r *server.Forwarded) (*server.ForwardedAnswer, error) {
	row, ok, err := tables.NodesInfo.Get(tables.View(f.n.store.Head()), primary)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: node %s is in no table", server.ErrUnreachable, primary)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a forwarded request: %w", err)
	}
	var req *http.Request
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if raftfsm.Worn(info.Conn) {
			req.Header.Set("Connection", "close") // this request is its last
		}
	}})
	req, err = http.NewRequestWithContext(ctx, http.MethodPost, "http://"+row.NodeToNode.PublishedAddress+forwardPath, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("forwarding a request: %w", err)
	}
	req.GetBody = nil // never sent twice by the library: the first may have been executed
	resp, err := f.client.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("forwarding a request: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxForwarded))
	if err != nil {
		return nil, fmt.Errorf("reading the primary's answer: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case notPrimary:
		return nil, server.ErrNotPrimary
	default:
		return nil, fmt.Errorf("the primary refuses a forwarded request with status %d", resp.StatusCode)
	}
	out := &server.ForwardedAnswer{}
	if err := json.Unmarshal(answer, out); err != nil {
		return nil, fmt.Errorf("decoding the primary's answer: %w", err)
	}
	return out, nil
}

// serve answers what other nodes forward, until ctx ends.
func (f *forwarder) serve(ctx context.Context, s *server.Server) error {
	defer f.client.CloseIdleConnections()
	return f.n.serveNodes(ctx, f.stream, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.answer(w, r, s) }))
}

// serveNodes answers other nodes' requests of one protocol until ctx ends.
func (n *Node) serveNodes(ctx context.Context, stream *raftfsm.Stream, h http.Handler) error {
	type connection struct{}
	hs := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connection{}, c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, ok := r.Context().Value(connection{}).(net.Conn); ok && raftfsm.Worn(c) {
				w.Header().Set("Connection", "close") // the other node takes a new one, and loses nothing
			}
			h.ServeHTTP(w, r)
		}),
		IdleTimeout: 2 * forwardIdle, ReadHeaderTimeout: n.cfg.ClientConnectionTimeout, ReadTimeout: 5 * n.cfg.ClientConnectionTimeout,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- hs.Serve(stream) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving other nodes: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.ClientConnectionTimeout)
	defer cancel()
	err := hs.Shutdown(drain)
	if err != nil {
		err = hs.Close()
	}
	if ended := <-done; !errors.Is(ended, http.ErrServerClosed) && !errors.Is(ended, net.ErrClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

func (f *forwarder) answer(w http.ResponseWriter, r *http.Request, s *server.Server) {
	if r.URL.Path != forwardPath || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var in server.Forwarded
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxForwarded)).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	// The client may be gone when its node stops waiting; the request is executed all the same.
	answer, err := s.ServeForwarded(context.WithoutCancel(r.Context()), &in)
	switch {
	case errors.Is(err, server.ErrNotPrimary):
		w.WriteHeader(notPrimary)
		return
	case err != nil:
		f.n.log.Info("a forwarded request cannot be executed", "err", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		f.n.log.Error("encoding the answer to a forwarded request", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // the node that asked may be gone; nobody is left to tell
}
