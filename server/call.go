package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"chancery/gov"
	"chancery/kv"
	"chancery/ledger"
	"chancery/server/api"
)

// Call is one execution of an endpoint: the request, the caller, a transaction and
// the answer in the making. It is for one goroutine, and lives as long as the handler.
type Call struct {
	*Request
	// Tx is the transaction. It is committed after the handler when the answer's status
	// is 2xx, unless ApplyWrites says otherwise.
	Tx *kv.Tx
	// Caller is who the authentication policies found, nil where none was asked.
	Caller *Caller
	// Response is the answer in the making.
	Response Response
	// Claims is the application's claims digest for the ledger entry; zero: none.
	Claims ledger.Digest

	server   *Server
	effects  gov.Effects // set by effects()
	snapshot bool
	apply    applyWrites

	executed  func(TxID, *Response) error           // OnExecuted
	committed func(context.Context, *Decided) error // OnCommitted
}

type applyWrites uint8

const (
	applyBySuccess applyWrites = iota
	applyAlways
	applyNever
)

// ApplyWrites decides whether the transaction is committed, whatever the status.
func (c *Call) ApplyWrites(yes bool) {
	c.apply = applyNever
	if yes {
		c.apply = applyAlways
	}
}

// applies says whether the writes of the call are to be committed.
func (c *Call) applies() bool {
	switch c.apply {
	case applyAlways:
		return true
	case applyNever:
		return false
	}
	return c.Response.Status >= 200 && c.Response.Status < 300
}

// Request is what a client asks.
type Request struct {
	// Method is the HTTP method in upper case, URL the raw request target.
	Method, URL string
	// Frontend is the face that the path selects, Path the raw path within it,
	// FullPath the raw path as it was sent.
	Frontend       Frontend
	Path, FullPath string
	// Query is the decoded query.
	Query Query
	// Params are the named parts of the path.
	Params Params
	// Route is the template that the path matched, with the frontend's prefix.
	Route string
	// Header holds the header fields; names in net/http's canonical form. Where a
	// field is repeated only its first value counts.
	Header http.Header
	// Host is the Host header.
	Host string
	// Body is the whole body.
	Body []byte
	// Session is the connection that the request came on.
	Session *Session
}

// Get returns the first value of a header field, "" when it is absent.
func (r *Request) Get(name string) string { return r.Header.Get(name) }

// DecodeJSON decodes the body into v. Errors are answered with 400 InvalidInput: a body
// that is not JSON, nests more than 64 levels, or does not fit v.
func (r *Request) DecodeJSON(v any) error { return decodeJSON(r.Body, v) }

// Response is an answer in the making. Its zero value is "200, no body".
type Response struct {
	// Status is the HTTP status; 0 counts as 200.
	Status int
	// Header holds header fields by lower-case name; nil until something is set.
	Header map[string]string
	// Body is the whole body.
	Body []byte

	file    *fileBody // in place of Body
	closing bool      // close the connection after the answer
}

// Set sets a header field.
func (r *Response) Set(name, value string) {
	if r.Header == nil {
		r.Header = make(map[string]string, 4)
	}
	r.Header[name] = value
}

// JSON makes v the body.
func (r *Response) JSON(v any) error {
	b, err := encodeJSON(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	r.Raw(api.TypeJSON, b)
	return nil
}

// Raw makes b the body, of the given content type ("" sends none).
func (r *Response) Raw(contentType string, b []byte) {
	if contentType != "" {
		r.Set(api.HeaderContentType, contentType)
	}
	r.Body = b
}

// encodeJSON encodes v compactly and without HTML escapes.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// setError makes the answer an error answer, dropping body and content type but
// keeping other header fields, as CCF does.
func (r *Response) setError(e *api.Error) {
	r.Status = e.Status
	b, err := encodeJSON(api.ErrorBody{Error: e})
	if err != nil { // details that do not encode are left out
		b, _ = encodeJSON(api.ErrorBody{Error: &api.Error{Code: e.Code, Message: e.Message}})
	}
	r.Raw(api.TypeJSON, b)
}
