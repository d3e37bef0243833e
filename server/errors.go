package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"chancery/internal/nodelog"
	"chancery/kv"
	"chancery/server/api"
)

// failure is what a client sees of an error.
type failure struct {
	is      error
	status  int
	code    api.Code
	message string // "" shows the error's own text
}

// failures maps the errors that the server branches on to answers. An *api.Error
// answers for itself, typed errors of gov carry their code (see govFailure); anything
// else is a fault in this program or its disk: it is logged and becomes a bare 500.
var failures = []failure{
	{ErrNotPrimary, http.StatusServiceUnavailable, api.TransactionReplicationFailed, "Transaction failed to replicate."},
	{ErrStopped, http.StatusServiceUnavailable, api.TransactionReplicationFailed, "The node is stopping."},
	{ErrBusy, http.StatusServiceUnavailable, api.TransactionReplicationFailed, "The node cannot take writes now. Retry later."},
	{ErrTooManyPending, http.StatusServiceUnavailable, api.TooManyPendingTransactions, "Too many transactions pending commit on the service."},
	{ErrTooLarge, http.StatusInternalServerError, api.TransactionReplicationFailed, "The transaction writes more than the node's memory.max_msg_size."},
	{errConflicts, http.StatusServiceUnavailable, api.TransactionCommitAttemptsExceedLimit, "Transaction continued to conflict after 30 attempts. Retry later."},
	{kv.ErrConflict, http.StatusServiceUnavailable, api.TransactionCommitAttemptsExceedLimit, ""},
	{context.Canceled, http.StatusServiceUnavailable, api.InternalError, "The request was given up."},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, api.InternalError, "The request took too long."},
}

// retryAfter is the pause in seconds that a client is asked to make, by the code of the answer.
var retryAfter = map[api.Code]string{
	api.TransactionCommitAttemptsExceedLimit: "3",
	api.TooManyPendingTransactions:           "3",
}

// errConflicts says that a transaction conflicted maxAttempts times.
var errConflicts = errors.New("the transaction kept conflicting")

// describe returns the answer for err, and whether err is one that the table knows.
func describe(err error) (*api.Error, bool) {
	var e *api.Error
	if errors.As(err, &e) {
		return e, true
	}
	if e := govFailure(err); e != nil {
		return e, true
	}
	for _, f := range failures {
		if errors.Is(err, f.is) {
			m := f.message
			if m == "" {
				m = err.Error()
			}
			return &api.Error{Status: f.status, Code: f.code, Message: m}, true
		}
	}
	return &api.Error{Status: http.StatusInternalServerError, Code: api.InternalError, Message: "internal error"}, false
}

// fail turns err into the answer. Header fields set so far stay where the endpoint
// itself said what the answer is, and are dropped otherwise.
func (s *Server) fail(ctx context.Context, req *Request, res *Response, err error) {
	e, known := describe(err)
	if !known {
		s.log.ErrorContext(ctx, "unmapped error", "route", req.Route, "err", err)
	}
	if own := (*api.Error)(nil); !errors.As(err, &own) {
		res.Header = nil
	}
	if e.Status == http.StatusNotModified { // has no body
		res.Status, res.Body = e.Status, nil
		return
	}
	res.setError(e)
	if req.Frontend == GovFrontend && e.Status != http.StatusUnauthorized { // CCF's line: what members are told, without asking them
		s.log.InfoContext(ctx, fmt.Sprintf("%s %s returning error %d: %s", req.Method, req.FullPath, e.Status, e.Message), nodelog.TagKey, "gov")
	}
	if v, ok := retryAfter[e.Code]; ok {
		res.Set(api.HeaderRetryAfter, v)
	}
}
