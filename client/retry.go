package client

import (
	"math/rand/v2"
	"net/http"
	"time"

	"chancery/server/api"
)

// Retry bounds the repetition of requests.
type Retry struct {
	Attempts int           // how often one request is sent at most; 0: 10, 1: never again
	MinDelay time.Duration // before the second attempt; 0: 50 ms
	MaxDelay time.Duration // between attempts; 0: 5 s
}

func (r Retry) withDefaults() Retry {
	if r.Attempts == 0 {
		r.Attempts = 10
	}
	if r.MinDelay == 0 {
		r.MinDelay = 50 * time.Millisecond
	}
	if r.MaxDelay == 0 {
		r.MaxDelay = 5 * time.Second
	}
	return r
}

// delay returns the pause after the given attempt, counted from 0: half of it is
// fixed, half random.
func (r Retry) delay(attempt int) time.Duration {
	d := r.MaxDelay
	if attempt < 30 {
		d = min(d, r.MinDelay<<attempt)
	}
	return d/2 + rand.N(d/2+1)
}

// notExecuted holds the codes by which a service says that it did not execute a
// request, so that any request may be sent again.
var notExecuted = map[api.Code]bool{
	api.TransactionCommitAttemptsExceedLimit: true,
	api.TooManyPendingTransactions:           true,
	api.SessionCapExhausted:                  true,
	api.PrimaryNotFound:                      true,
}

// again says what may be done after an answer that is not a success.
func (c *Client) again(r *Request, e *Error) bool {
	switch e.Status {
	case http.StatusServiceUnavailable:
		return notExecuted[e.Code] || r.repeatable()
	case http.StatusGatewayTimeout:
		return r.repeatable()
	case http.StatusInternalServerError:
		// The node closes the connection; another one is another session.
		return e.Code == api.SessionConsistencyLost && !c.session
	}
	return false
}

// repeatable reports whether sending r twice does no harm.
func (r *Request) repeatable() bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
		return true
	}
	return r.Idempotent
}
