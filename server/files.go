package server

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"chancery/gov/tables"
	"chancery/server/api"
)

// fileRoutes are the endpoints by which operators download ledger chunks and
// snapshots, and ask for a snapshot. Interfaces have them only where a feature is enabled.
func (s *Server) fileRoutes() []*Route {
	since := func(required bool) []QueryParam { return []QueryParam{{Name: "since", Required: required}} }
	var out []*Route
	for _, method := range []string{"GET", "HEAD"} {
		route := func(path, feature string, h Handler) *Route {
			return &Route{Frontend: NodeFrontend, Method: method, Path: path, Mode: ReadOnly, Handler: h, Feature: feature, Local: true}
		}
		chunkWith := route("/ledger_chunk", FeatureLedgerChunkRead, s.findChunk)
		chunkWith.Query, chunkWith.Success = since(true), http.StatusPermanentRedirect
		chunk := route("/ledger_chunk/{chunk_name}", FeatureLedgerChunkRead, s.getChunk)
		chunk.Type = api.TypeBinary
		newest := route("/snapshot", FeatureSnapshotRead, s.findSnapshot)
		newest.Query, newest.Success = since(false), http.StatusPermanentRedirect
		snapshot := route("/snapshot/{snapshot_name}", FeatureSnapshotRead, s.getSnapshot)
		snapshot.Type = api.TypeBinary
		out = append(out, chunkWith, chunk, newest, snapshot)
	}
	return append(out, &Route{
		Frontend: NodeFrontend, Method: "POST", Path: "/snapshot:create", Handler: s.createSnapshot,
		Feature: FeatureSnapshotCreate, Local: true, Success: http.StatusNoContent,
	})
}

// createSnapshot asks for a snapshot, as a transaction of its own.
func (s *Server) createSnapshot(_ context.Context, c *Call) error {
	c.Tx.Put(tables.NameSnapshotCreate, tables.SingletonKey, make([]byte, 8))
	c.snapshot = true
	c.Response.Status = http.StatusNoContent
	return nil
}

// findChunk redirects to the chunk that holds a seqno: here, or at a node that may have it.
func (s *Server) findChunk(_ context.Context, c *Call) error {
	seqno, ok := c.Query.Uint("since")
	if !ok {
		return api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Missing required query parameter 'since'")
	}
	if name, ok := s.node.Files().ChunkWith(seqno); ok {
		return redirectHere(c, "/node/ledger_chunk/"+name)
	}
	info, url := s.node.Info(), "/node/ledger_chunk?since="+uintString(seqno)
	if seqno < info.InitIndex {
		next, ok := nextNode(c, info.ID)
		if !ok {
			return api.Errorf(http.StatusInternalServerError, api.InternalError, "Cannot find node info to produce redirect response for node n[%s]", info.ID)
		}
		return s.redirectTo(c, next, url, "Node does not have ledger chunk; redirecting to next node")
	}
	if !s.node.Position().Primary && info.PrimaryID != "" {
		return s.redirectTo(c, info.PrimaryID, url, fmt.Sprintf("Ledger chunk including index %d not found locally; redirecting to primary", seqno))
	}
	return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "This node has no ledger chunk including index %d", seqno)
}

// nextNode returns the node after id in the order of ids, around the end.
func nextNode(c *Call, id string) (string, bool) {
	ids := slices.DeleteFunc(tables.NodesInfo.Keys(c.Tx), func(k string) bool { return k == id })
	if len(ids) == 0 {
		return "", false
	}
	i, _ := slices.BinarySearch(ids, id)
	return ids[i%len(ids)], true
}

// findSnapshot redirects to the newest snapshot; a backup sends the client to the primary.
func (s *Server) findSnapshot(_ context.Context, c *Call) error {
	since, bounded := c.Query.Uint("since")
	if info := s.node.Info(); !s.node.Position().Primary && info.PrimaryID != "" {
		url := "/node/snapshot"
		if bounded {
			url += "?since=" + uintString(since)
		}
		return s.redirectTo(c, info.PrimaryID, url, "Node is not primary; redirecting for preferable snapshot")
	}
	if name, ok := s.node.Files().SnapshotSince(since); ok {
		return redirectHere(c, "/node/snapshot/"+name)
	}
	message := "This node has no committed snapshots"
	if bounded {
		message += " since " + uintString(since)
	}
	return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "%s", message)
}

// redirectHere redirects to a path on this interface.
func redirectHere(c *Call, path string) error {
	address := c.Session.in.opts.PublishedAddress
	if address == "" {
		address = c.Host
	}
	c.Response.Status = http.StatusPermanentRedirect
	c.Response.Set(api.HeaderLocation, "https://"+address+path)
	return nil
}

// redirectTo redirects to another node's interface of the same name.
func (s *Server) redirectTo(c *Call, id, url, message string) error {
	address, err := s.publishedAddress(c, id)
	if err != nil {
		return err
	}
	c.Response.Set(api.HeaderLocation, "https://"+address+url)
	return &api.Error{Status: http.StatusPermanentRedirect, Code: api.NodeCannotHandleRequest, Message: message}
}

func (s *Server) getChunk(_ context.Context, c *Call) error {
	name := c.Params.Get("chunk_name")
	f, err := s.node.Files().OpenChunk(name)
	return serveFile(c, f, err, api.HeaderChunkName, "ledger chunk", name)
}

func (s *Server) getSnapshot(_ context.Context, c *Call) error {
	name := c.Params.Get("snapshot_name")
	f, err := s.node.Files().OpenSnapshot(name)
	return serveFile(c, f, err, api.HeaderSnapshotName, "snapshot", name)
}

// fileBody is a part of a file as the body of an answer.
type fileBody struct {
	File
	offset, length int64
}

func (b *fileBody) reader() io.Reader { return io.NewSectionReader(b.File, b.offset, b.length) }

// serveFile answers with a file or the part of it that a Range header asks for.
func serveFile(c *Call, f File, err error, nameHeader, kind, name string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "This node does not have a %s named %s", kind, name)
	case err != nil:
		return fmt.Errorf("opening %s: %w", kind, err)
	}
	body := &fileBody{File: f, length: f.Size()}
	if err := describeFile(c, body, nameHeader, name); err != nil || c.Response.Status == http.StatusNotModified {
		f.Close()
		return err
	}
	c.Response.file = body
	return nil
}

// describeFile sets status and header fields for a file, and bounds body to the range asked for.
func describeFile(c *Call, body *fileBody, nameHeader, name string) error {
	size := body.Size()
	if size == 0 {
		return api.Errorf(http.StatusInternalServerError, api.EmptyFile, "Found empty file")
	}
	res := &c.Response
	res.Set(nameHeader, name)
	res.Set(api.HeaderAcceptRanges, "bytes")
	if values, ok := c.Header["Range"]; ok {
		from, to, err := parseRange(values[0], size)
		if err != nil {
			return err
		}
		body.offset, body.length = from, to-from
		res.Status = http.StatusPartialContent
	}
	if values, ok := c.Header["Want-Repr-Digest"]; ok {
		alg := wantedDigest(values[0])
		d, err := digest(alg, io.NewSectionReader(body.File, 0, size))
		if err != nil {
			return fmt.Errorf("hashing a file: %w", err)
		}
		res.Set(api.HeaderReprDigest, alg+"="+d)
	}
	if err := matchETag(c, body); err != nil || res.Status == http.StatusNotModified {
		return err
	}
	res.Set(api.HeaderContentType, api.TypeBinary)
	if res.Status == http.StatusPartialContent {
		res.Set(api.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", body.offset, body.offset+body.length-1, size))
	}
	return nil
}

// matchETag sets the entity tag of the bytes that are sent, and answers 304 where the
// client has them.
func matchETag(c *Call, body *fileBody) error {
	d, err := digest("sha-256", body.reader())
	if err != nil {
		return fmt.Errorf("hashing a file: %w", err)
	}
	c.Response.Set(api.HeaderETag, `"sha-256=`+d+`"`)
	values, ok := c.Header["If-None-Match"]
	if !ok {
		return nil
	}
	any, tags, ok := parseETags(values[0])
	if !ok {
		return api.Errorf(http.StatusBadRequest, api.InvalidHeaderValue, "Invalid If-Match header")
	}
	for _, tag := range tags {
		alg, value, _ := strings.Cut(tag, "=")
		if newHash(alg) == nil {
			continue
		}
		own, err := digest(alg, body.reader())
		if err != nil {
			return fmt.Errorf("hashing a file: %w", err)
		}
		any = any || own == value
	}
	if any {
		c.Response.Status = http.StatusNotModified
	}
	return nil
}

// parseETags parses a list of quoted entity tags, or "*".
func parseETags(v string) (any bool, tags []string, ok bool) {
	if strings.TrimSpace(v) == "*" {
		return true, nil, true
	}
	for _, item := range strings.Split(v, ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if len(item) < 2 || item[0] != '"' || item[len(item)-1] != '"' || strings.Contains(item[1:len(item)-1], `"`) {
			return false, nil, false
		}
		tags = append(tags, item[1:len(item)-1])
	}
	return false, tags, true
}

// newHash returns the hash of a digest algorithm by its HTTP name, nil when unknown.
func newHash(alg string) hash.Hash {
	switch alg {
	case "sha-256":
		return sha256.New()
	case "sha-384":
		return sha512.New384()
	case "sha-512":
		return sha512.New()
	}
	return nil
}

// digest returns the digest of what r holds, in the form of a structured field.
func digest(alg string, r io.Reader) (string, error) {
	h := newHash(alg)
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return ":" + base64.StdEncoding.EncodeToString(h.Sum(nil)) + ":", nil
}

// wantedDigest returns the known algorithm of highest preference, sha-256 when the
// client wants none that is known.
func wantedDigest(v string) string {
	best, weight := "sha-256", 0
	for _, item := range strings.Split(v, ",") {
		alg, pref, ok := strings.Cut(strings.TrimSpace(item), "=")
		n, err := strconv.Atoi(strings.TrimSpace(pref))
		if !ok || err != nil || n < 1 || n <= weight || newHash(strings.TrimSpace(alg)) == nil {
			continue
		}
		best, weight = strings.TrimSpace(alg), n
	}
	return best
}
