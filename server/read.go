package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"chancery/server/api"
)

// read takes a request off its connection within the interface's limits. refusal is
// the answer to one that is beyond them; the connection is closed after it.
func (in *iface) read(r *http.Request, session *Session) (req *Request, refusal *api.Error) {
	if session.refused {
		return nil, api.Errorf(http.StatusServiceUnavailable, api.SessionCapExhausted, "Service is currently busy and unable to serve new connections")
	}
	if e := in.checkHeader(r); e != nil {
		in.header.Add(1)
		return nil, e
	}
	body, e := in.readBody(r)
	if e != nil {
		return nil, e
	}
	path, raw := splitURL(r.RequestURI)
	frontend, within := splitPath(path)
	return &Request{
		Method: r.Method, URL: r.RequestURI, Frontend: frontend, Path: within, FullPath: path,
		Query: Query(decodeQuery(raw)), Header: r.Header, Host: r.Host, Body: body, Session: session,
	}, nil
}

// splitPath chooses the frontend by the first segment. Any other first segment goes
// to the application's, with the whole path.
func splitPath(path string) (Frontend, string) {
	for _, f := range [...]Frontend{AppFrontend, NodeFrontend, GovFrontend} {
		if rest, ok := strings.CutPrefix(path, "/"+string(f)); ok && strings.HasPrefix(rest, "/") {
			return f, rest
		}
	}
	return AppFrontend, path
}

// checkHeader applies the bounds on header fields.
func (in *iface) checkHeader(r *http.Request) *api.Error {
	const tooLarge = http.StatusRequestHeaderFieldsTooLarge
	count := uint64(len(r.Header))
	if r.Host != "" {
		count++ // net/http keeps it apart
	}
	if count > in.opts.MaxHeadersCount {
		return api.Errorf(tooLarge, api.RequestHeaderTooLarge, "Too many headers (max number allowed: %d)", in.opts.MaxHeadersCount)
	}
	var names []string
	limit := int(in.opts.MaxHeaderSize)
	for name, values := range r.Header {
		if len(name) > limit || slices.ContainsFunc(values, func(v string) bool { return len(v) > limit }) {
			names = append(names, strings.ToLower(name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	name, what := slices.Min(names), "value"
	if len(name) > limit {
		what, name = "key", name[:limit+1]
	}
	return api.Errorf(tooLarge, api.RequestHeaderTooLarge, "Header %s for '%s' is too large (max size allowed: %s)", what, name, sizeString(in.opts.MaxHeaderSize))
}

// readBody reads the whole body within the bound.
func (in *iface) readBody(r *http.Request) ([]byte, *api.Error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	limit := int64(in.opts.MaxBodySize)
	if r.ContentLength > limit {
		return nil, in.bodyTooLarge()
	}
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := io.Copy(&buf, io.LimitReader(r.Body, limit+1))
	switch {
	case n > limit:
		return nil, in.bodyTooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, api.Errorf(http.StatusRequestTimeout, api.InvalidInput, "The request's body did not arrive within %v", in.opts.patience())
	case err != nil:
		in.parsing.Add(1)
		text := err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			text = "the body ends early"
		}
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidInput, "Unable to read the request's body: %s", text)
	}
	return buf.Bytes(), nil
}

func (in *iface) bodyTooLarge() *api.Error {
	in.tooBig.Add(1)
	return api.Errorf(http.StatusRequestEntityTooLarge, api.RequestBodyTooLarge, "HTTP request body is too large (max size allowed: %s)", sizeString(in.opts.MaxBodySize))
}

// sizeString writes a number of bytes as CCF's configuration does: in the largest
// unit that divides it.
func sizeString(n uint64) string {
	units := [...]string{"B", "KB", "MB", "GB", "TB"}
	i := 0
	for ; n >= 1024 && n%1024 == 0 && i+1 < len(units); i++ {
		n /= 1024
	}
	return uintString(n) + units[i]
}
