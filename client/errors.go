package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chancery/ledger"
	"chancery/server/api"
)

var (
	// ErrUnreachable means that no node could be reached over a trusted
	// connection. Nothing was sent.
	ErrUnreachable = errors.New("service not reachable")
	// ErrOutcomeUnknown means that a request was sent and may have taken effect,
	// but its answer is not known.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrRolledBack means that a transaction was executed and then rolled back.
	ErrRolledBack = errors.New("transaction was rolled back")
	// ErrSessionLost means that the connection of a Session has ended.
	ErrSessionLost = errors.New("session has ended")
	// ErrUntrusted means that what a node answered does not verify.
	ErrUntrusted = errors.New("answer does not verify")
	// ErrBadAnswer means that what a node answered is not what it should be.
	ErrBadAnswer = errors.New("unexpected answer")

	// errRequest marks a request that cannot be made.
	errRequest = errors.New("request")
)

// Error is an answer by which the service refused a request.
type Error struct {
	Method, Path string
	Status       int             // HTTP status
	Code         api.Code        // empty if the answer had no error body
	Message      string          // for people
	Details      json.RawMessage // as sent; nil if absent
	TxID         ledger.TxID     // zero if the answer named none
	RetryAfter   time.Duration   // zero if the answer had none
}

// Error returns the method, path, status, code and message.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s %s: %d %s: %s", e.Method, e.Path, e.Status, e.Code, e.Message)
}

// Is makes a wait's answer that the transaction was invalidated match
// ErrRolledBack.
func (e *Error) Is(target error) bool {
	return target == ErrRolledBack && e.Code == api.TransactionInvalid && e.Status == http.StatusInternalServerError
}

// CodeOf returns the service's code in err, or "" if there is none.
func CodeOf(err error) api.Code {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// newError makes an Error of an answer that is not a success.
func newError(method, path string, r *Response) *Error {
	e := &Error{Method: method, Path: path, Status: r.Status, TxID: r.TxID, RetryAfter: retryAfter(r.Header)}
	var body struct {
		Error struct {
			Code    api.Code        `json:"code"`
			Message string          `json:"message"`
			Details json.RawMessage `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(r.Body, &body) == nil && body.Error.Code != "" {
		e.Code, e.Message, e.Details = body.Error.Code, body.Error.Message, body.Error.Details
	}
	return e
}

// maxRetryAfter bounds what a Retry-After header may ask for.
const maxRetryAfter = time.Minute

// retryAfter reads a Retry-After header in seconds; a date, which no node sends,
// counts as absent.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(h.Get(api.HeaderRetryAfter)), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}
