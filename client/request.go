package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/server/api"
)

// Wait says when Do returns.
type Wait uint8

// When Do returns.
const (
	ForExecution Wait = iota // when the request was executed, as in CCF
	ForCommit                // when its transaction is committed
	ForReceipt               // when it is committed, with the receipt, verified
)

// Request is one request to the service.
type Request struct {
	Method string // "" stands for GET
	// Path is sent as it is: escaped by the caller, with its leading slash. It may
	// have a query, to which Query is added.
	Path   string
	Query  url.Values
	Header http.Header
	// JSON, if not nil, is the body, encoded as JSON. Otherwise Body is, under
	// ContentType.
	JSON        any
	Body        []byte
	ContentType string
	// Idempotent says that sending the request twice does no harm. GET, HEAD and
	// OPTIONS are taken to be so.
	Idempotent bool
	// Wait says when Do returns. It has no effect on a request that touches no
	// table, and on answers that are no success.
	Wait Wait
	// Fetched says that an answer 202 with Retry-After means that the node is
	// still fetching old entries, and that Do shall ask again.
	Fetched bool
}

// Response is the answer to a request: of status 2xx, or 304.
type Response struct {
	// Status is the HTTP status. It is 202, and Body says no more than the
	// transaction's status, where Wait was set and the node's own bound on waiting
	// passed before the commit that Do then waited for.
	Status int
	Header http.Header
	Body   []byte
	// TxID is the position of the transaction; zero if it touched no table.
	TxID ledger.TxID
	// Receipt is set for ForReceipt, and has been verified.
	Receipt *ledger.Receipt
}

// JSON decodes the body into v.
func (r *Response) JSON(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return nil
}

// Do sends a request and returns the answer. See the package comment for the
// errors and for what is sent again.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if !strings.HasPrefix(r.Path, "/") {
		return nil, fmt.Errorf("request: path %q does not begin with a slash", r.Path)
	}
	if r.JSON != nil {
		body, err := json.Marshal(r.JSON)
		if err != nil {
			return nil, fmt.Errorf("request: encoding the body: %w", err)
		}
		r.Body, r.ContentType = body, api.TypeJSON
	}
	if err := c.authorize(ctx, &r); err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, &r)
	if err != nil || r.Wait == ForExecution {
		return resp, err
	}
	return c.settle(ctx, &r, resp)
}

// Get sends a GET request and decodes the JSON answer into out, unless that is
// nil.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	resp, err := c.Do(ctx, Request{Path: path, Query: query})
	if err != nil || out == nil {
		return err
	}
	return resp.JSON(out)
}

// send sends a request until it is answered for good.
func (c *Client) send(ctx context.Context, r *Request) (*Response, error) {
	for attempt := 0; ; attempt++ {
		resp, err := c.follow(ctx, r)
		var pause time.Duration
		switch {
		case err == nil && r.Fetched && resp.Status == http.StatusAccepted:
			attempt-- // progress is the node's to make; ctx bounds it
			pause = max(retryAfter(resp.Header), c.cfg.Retry.MinDelay)
		case err == nil:
			return resp, nil
		case ctx.Err() != nil || !c.mayRepeat(r, err):
			return nil, err
		default:
			pause = c.cfg.Retry.delay(attempt)
			if e := (*Error)(nil); errors.As(err, &e) && e.RetryAfter > 0 {
				pause = e.RetryAfter
			}
		}
		if attempt+1 >= c.cfg.Retry.Attempts {
			return nil, err
		}
		if cause := c.sleep(ctx, pause); cause != nil {
			return nil, errors.Join(cause, err)
		}
	}
}

// mayRepeat says whether r may be sent again after err.
func (c *Client) mayRepeat(r *Request, err error) bool {
	if e := (*Error)(nil); errors.As(err, &e) {
		return c.again(r, e)
	}
	switch {
	case errors.Is(err, ErrSessionLost), errors.Is(err, ErrBadAnswer), errors.Is(err, ErrNotAttested),
		errors.Is(err, ErrOutcomeUnknown), errors.Is(err, errRequest):
		return false
	case errors.Is(err, ErrUnreachable):
		return true
	}
	return r.repeatable()
}

// maxRedirects bounds how many redirects one attempt follows.
const maxRedirects = 5

// follow sends r to a node and on to where it redirects.
func (c *Client) follow(ctx context.Context, r *Request) (*Response, error) {
	node := c.current.Load()
	target := r.url(c.nodes[int(node)%len(c.nodes)])
	for hop := 0; ; hop++ {
		resp, err := c.attempt(ctx, r, &target)
		if err != nil {
			if hop == 0 && (errors.Is(err, ErrUnreachable) || errors.Is(err, errSlow)) {
				c.current.CompareAndSwap(node, (node+1)%uint32(len(c.nodes)))
			}
			return nil, err
		}
		switch resp.Status {
		case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			if resp.Status/100 == 2 || resp.Status == http.StatusNotModified {
				return resp, nil
			}
			e := newError(r.Method, r.Path, resp)
			if resp.Status == http.StatusGatewayTimeout && !r.repeatable() {
				return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, e)
			}
			return nil, e
		}
		if hop == maxRedirects {
			return nil, fmt.Errorf("%w: %s %s: more than %d redirects", ErrBadAnswer, r.Method, r.Path, maxRedirects)
		}
		next, err := target.Parse(resp.Header.Get(api.HeaderLocation))
		if err != nil || next.Scheme != "https" || next.Host == "" || next.User != nil {
			return nil, fmt.Errorf("%w: %s %s: redirect to %q", ErrBadAnswer, r.Method, r.Path, resp.Header.Get(api.HeaderLocation))
		}
		target = *next
	}
}

// url returns the request's URL at a node.
func (r *Request) url(node *url.URL) url.URL {
	path, query, _ := strings.Cut(r.Path, "?")
	if more := r.Query.Encode(); query == "" {
		query = more
	} else if more != "" {
		query += "&" + more
	}
	u := url.URL{Scheme: node.Scheme, Host: node.Host, Path: path, RawQuery: query}
	if decoded, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = decoded, path
	}
	return u
}

// errSlow says that a node did not answer in time.
var errSlow = errors.New("the node does not answer")

// attempt sends r once to one URL.
func (c *Client) attempt(ctx context.Context, r *Request, target *url.URL) (*Response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.AnswerTimeout, errSlow)
	defer cancel()
	connected := false
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), r.Method, target.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	r.header(req)
	resp, err := c.http.Do(req)
	if err == nil {
		var out *Response
		if out, err = c.read(resp); err == nil || errors.Is(err, ErrBadAnswer) {
			return out, err
		}
	}
	return nil, sendError(ctx, r, connected, err)
}

// sendError says what a failure to get an answer means.
func sendError(ctx context.Context, r *Request, connected bool, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the URL is in the messages below, without its query
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	switch {
	case errors.Is(err, ErrSessionLost):
		return fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	case !connected:
		return fmt.Errorf("%s %s: %w: %w", r.Method, r.Path, ErrUnreachable, err)
	case !r.repeatable():
		return fmt.Errorf("%s %s: %w: %w", r.Method, r.Path, ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
}

// header fills in the header of one attempt.
func (r *Request) header(req *http.Request) {
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if r.ContentType != "" {
		req.Header.Set(api.HeaderContentType, r.ContentType)
	}
	switch r.Wait {
	case ForCommit:
		req.Header.Set(api.HeaderPrefer, "wait=commit")
	case ForReceipt:
		req.Header.Set(api.HeaderPrefer, "wait=receipt")
	}
}

// authorize adds the bearer token to r.
func (c *Client) authorize(ctx context.Context, r *Request) error {
	if c.cfg.Bearer == nil || r.Header.Get(api.HeaderAuthorization) != "" {
		return nil
	}
	token, err := c.cfg.Bearer(ctx)
	if err != nil {
		return fmt.Errorf("getting a token: %w", err)
	}
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(api.HeaderAuthorization, "Bearer "+token)
	return nil
}

// read takes an answer off the wire.
func (c *Client) read(resp *http.Response) (*Response, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxAnswer+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > c.cfg.MaxAnswer {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBadAnswer, c.cfg.MaxAnswer)
	}
	out := &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if text := resp.Header.Get(api.HeaderTxID); text != "" {
		if out.TxID, err = writeset.ParseTxID(text); err != nil {
			return nil, fmt.Errorf("%w: header %s: %w", ErrBadAnswer, api.HeaderTxID, err)
		}
	}
	return out, nil
}
