package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Change is what a running `up` is asked to do with its nodes.
type Change struct {
	// Do is "add", "remove" or "replace".
	Do string `json:"do"`
	// Node is the node to go: its id, the beginning of it, or its address.
	Node string `json:"node,omitempty"`
	// Zone is that of the node to come; "" leaves it to the supervisor.
	Zone string `json:"zone,omitempty"`
}

// changed is the answer to a Change.
type changed struct {
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

// control takes requests for changes at a socket in the workspace, and gives them to the
// supervisor one by one.
type control struct {
	server   *http.Server
	requests chan controlRequest
	closed   chan struct{}
	serving  sync.WaitGroup
}

type controlRequest struct {
	Change
	answer chan changed // capacity 1
}

// controlFile is the name of the socket. Who may open it may do what member0 may.
const controlFile = "control"

func (w Workspace) control() string { return filepath.Join(string(w), controlFile) }

// listen begins to take requests.
func (w Workspace) listen() (*control, error) {
	if err := os.Remove(w.control()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the socket of an earlier up: %w", err)
	}
	ln, err := net.Listen("unix", w.control())
	if err != nil {
		return nil, fmt.Errorf("listening for commands (a shorter --workspace may help): %w", err)
	}
	if err := os.Chmod(w.control(), 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	c := &control{requests: make(chan controlRequest), closed: make(chan struct{})}
	c.server = &http.Server{Handler: http.HandlerFunc(c.serve), ReadTimeout: 5 * time.Second}
	c.serving.Go(func() { _ = c.server.Serve(ln) }) // always ErrServerClosed
	return c, nil
}

func (c *control) serve(w http.ResponseWriter, r *http.Request) {
	request := controlRequest{answer: make(chan changed, 1)}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&request.Change); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var out changed
	select {
	case c.requests <- request:
		select {
		case out = <-request.answer:
		case <-c.closed:
			out.Error = errStopping
		}
	case <-c.closed:
		out.Error = errStopping
	case <-r.Context().Done():
		return
	}
	_ = json.NewEncoder(w).Encode(out) // who asked may be gone
}

const errStopping = "the service is being stopped"

// close ends it, and removes the socket.
func (c *control) close() error {
	close(c.closed)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := c.server.Shutdown(ctx)
	c.serving.Wait()
	return err
}

// ErrNotUp says that no `up` runs in a workspace.
var ErrNotUp = errors.New("no chancery up runs in this workspace")

// Ask has the `up` that runs in the workspace do something, and returns what it did.
func (w Workspace) Ask(ctx context.Context, what Change) (said string, err error) {
	text, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://up/", bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", w.control())
		if err != nil {
			err = fmt.Errorf("%w (%w)", ErrNotUp, err)
		}
		return conn, err
	}}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var out changed
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the answer of chancery up: status %d: %w", resp.StatusCode, err)
	}
	if out.Error != "" {
		return "", errors.New(out.Error)
	}
	return out.Said, nil
}
