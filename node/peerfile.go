package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"chancery/raftfsm"
	"chancery/server"
)

// protocolFiles carries closed ledger chunks between the nodes of a service, over their own
// connections: HTTP/1.1, GET of
//
//	/chunk?with=S   the chunk that holds seqno S; chancery-chunk says its name. 404 without one
//	/reached        how far the node's committed history reaches, a seqno in decimal
const protocolFiles raftfsm.Protocol = "chancery-files/1"

const (
	chunkPath, reachedPath = "/chunk", "/reached"
	chunkNameHeader        = "Chancery-Chunk"
	// peerFileTimeout bounds the download of one file from another node.
	peerFileTimeout = 10 * time.Minute
	// maxChunkFile bounds a chunk that is fetched: positions in it are 32 bits wide.
	maxChunkFile = 1 << 32
)

// serveFiles gives other nodes what they ask for, from when this one takes part.
func (n *Node) serveFiles(ctx context.Context) error {
	select {
	case <-n.opened:
		return n.serveNodes(ctx, n.files, http.HandlerFunc(n.answerNode))
	case <-ctx.Done():
		return nil
	}
}

func (n *Node) answerNode(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.URL.Path == reachedPath:
		fmt.Fprint(w, n.replica().Position().Committed.Seqno)
	case r.URL.Path == chunkPath:
		n.answerChunk(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (n *Node) answerChunk(w http.ResponseWriter, r *http.Request) {
	seqno, err := strconv.ParseUint(r.URL.Query().Get("with"), 10, 64)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	files := n.Files()
	name, ok := files.ChunkWith(seqno)
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	f, err := files.OpenChunk(name)
	if err != nil {
		n.log.Warn("a ledger chunk cannot be given to another node", "file", name, "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer closeFile(f, n.log)
	w.Header().Set(chunkNameHeader, name)
	w.Header().Set("Content-Length", strconv.FormatInt(f.Size(), 10))
	_, _ = io.Copy(w, io.NewSectionReader(f, 0, f.Size())) // the node that asked may be gone; nobody is left to tell
}

func closeFile(f server.File, log *slog.Logger) {
	if err := f.Close(); err != nil {
		log.Warn("closing a file", "err", err)
	}
}

// askNode asks another node over the nodes' own connections. The caller closes the body.
func (n *Node) askNode(ctx context.Context, id, address, path string, query url.Values) (*http.Response, error) {
	at := url.URL{Scheme: "http", Host: address, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking node %s: %w", id, err)
	}
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return n.files.Dial(raft.ServerAddress(id+"@"+address), n.cfg.ClientConnectionTimeout)
		},
		DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: 5 * n.cfg.ClientConnectionTimeout,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("asking node %s: %w", id, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("node %s answers with status %d", id, resp.StatusCode), resp.Body.Close())
	}
	return resp, nil
}

// reachedBy asks a node how far its committed history reaches.
func (n *Node) reachedBy(id, address string) (seqno uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*n.cfg.ClientConnectionTimeout)
	defer cancel()
	resp, err := n.askNode(ctx, id, address, reachedPath, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	const digits = 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, digits+1))
	if err != nil {
		return 0, fmt.Errorf("asking node %s: %w", id, err)
	}
	if seqno, err = strconv.ParseUint(string(text), 10, 64); err != nil {
		return 0, fmt.Errorf("node %s answers %q: %w", id, text, err)
	}
	return seqno, nil
}

// fetchPeerChunk copies the chunk of another node that holds a seqno to the file part, and
// returns its name there. What arrives is to be checked by the caller, who has the file where
// there is no error.
func (n *Node) fetchPeerChunk(ctx context.Context, id, address string, seqno uint64, part string) (name string, err error) {
	ctx, cancel := context.WithTimeout(ctx, peerFileTimeout)
	defer cancel()
	resp, err := n.askNode(ctx, id, address, chunkPath, url.Values{"with": {strconv.FormatUint(seqno, 10)}})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	f, err := n.fs.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.fs.Remove(part))
		}
	}()
	size, err := io.Copy(f, io.LimitReader(resp.Body, maxChunkFile+1))
	if err == nil && size > maxChunkFile {
		err = fmt.Errorf("it sends more than %d bytes", int64(maxChunkFile))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("reading a chunk of node %s: %w", id, err)
	}
	return filepath.Base(resp.Header.Get(chunkNameHeader)), nil
}
