package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/server/api"
)

func uintString(n uint64) string { return strconv.FormatUint(n, 10) }

// commonRoutes are the endpoints that each frontend has.
func (s *Server) commonRoutes(f Frontend) []*Route {
	txid := []QueryParam{{Name: "transaction_id", Required: true}}
	document := &Route{Frontend: f, Method: "GET", Path: "/api", Mode: ReadOnly, Handler: s.json(s.getAPI)}
	if f == GovFrontend {
		document.Query = []QueryParam{{Name: "api-version"}}
	}
	return []*Route{
		{Frontend: f, Method: "GET", Path: "/commit", Mode: ReadOnly, Handler: s.json(s.getCommit), Query: []QueryParam{{Name: "view_history"}, {Name: "view_history_since"}}},
		{Frontend: f, Method: "GET", Path: "/tx", Mode: ReadOnly, Handler: s.json(s.getTx), Query: txid},
		{Frontend: f, Method: "GET", Path: "/receipt", Mode: ReadOnly, Handler: s.getReceipt, Query: txid},
		{Frontend: f, Method: "GET", Path: "/receipt/cose", Mode: ReadOnly, Handler: s.getCOSEReceipt, Query: txid, Type: api.TypeCOSE},
		document,
	}
}

// jsonHandler is an endpoint whose answer is a JSON document; a nil result is 204.
type jsonHandler func(ctx context.Context, c *Call) (any, error)

// json makes a Handler of h. A client whose Accept header excludes JSON gets 406.
func (s *Server) json(h jsonHandler) Handler {
	return func(ctx context.Context, c *Call) error {
		v, err := h(ctx, c)
		if err != nil {
			return err
		}
		if v == nil {
			c.Response.Status = http.StatusNoContent
			return nil
		}
		if err := checkAccept(c.Header["Accept"]); err != nil {
			return err
		}
		return c.Response.JSON(v)
	}
}

// getCommit tells the last committed position, and where each view began.
func (s *Server) getCommit(_ context.Context, c *Call) (any, error) {
	p := s.node.Position()
	if p.Committed.Seqno == 0 && p.View == 0 {
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "Failed to get committed transaction: this node is not part of the network yet.")
	}
	out := api.Commit{TransactionID: p.Committed.String()}
	since, wanted := uint64(1), false
	if v, ok := c.Query.Get("view_history"); ok {
		if v != "true" && v != "false" {
			return nil, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Invalid value for view_history, must be one of [true, false] when present")
		}
		wanted = v == "true"
		if !wanted {
			return out, nil
		}
	}
	if n, ok := c.Query.Uint("view_history_since"); ok {
		const message = "Invalid value for view_history_since, must be in range [1, current_term]"
		switch {
		case n < 1:
			return nil, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, message)
		case n > p.View:
			return nil, api.Errorf(http.StatusNotFound, api.InvalidQueryParameterValue, message)
		}
		since, wanted = n, true
	}
	if wanted {
		for v := since; v <= uint64(len(p.Views)); v++ {
			out.ViewHistory = append(out.ViewHistory, TxID{View: v, Seqno: p.Views[v-1]}.String())
		}
	}
	return out, nil
}

// getTx tells the status of a transaction. A question about one that is pending here
// asks for the signature that will commit it.
func (s *Server) getTx(_ context.Context, c *Call) (any, error) {
	id, err := txParam(c)
	if err != nil {
		return nil, err
	}
	status := s.node.Position().Status(id)
	if status == Pending {
		s.node.RequestSignature()
	}
	return api.TxStatus{Status: string(status), TransactionID: id.String()}, nil
}

// txParam parses the query parameter transaction_id.
func txParam(c *Call) (TxID, error) {
	v, ok := c.Query.Get("transaction_id")
	if !ok {
		return TxID{}, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Missing query parameter 'transaction_id'")
	}
	id, err := writeset.ParseTxID(v)
	if err != nil {
		return TxID{}, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "The value '%s' passed as query parameter 'transaction_id' could not be converted to a valid Transaction ID.", v)
	}
	return id, nil
}

// historicalID checks that a transaction can be looked back at. Errors are CCF's: an id
// that is missing or no TxID at all is "Invalid" too.
func (s *Server) historicalID(c *Call, text string) (TxID, error) {
	id, err := writeset.ParseTxID(text)
	if err != nil {
		return TxID{}, api.Errorf(http.StatusNotFound, api.TransactionInvalid, "Could not extract Transaction Id")
	}
	return id, s.historical(c, id)
}

// historical says whether id is committed, as an error answer when it is not.
func (s *Server) historical(c *Call, id TxID) error {
	code := api.TransactionPendingOrUnknown
	status := s.node.Position().Status(id)
	switch status {
	case Committed:
		return nil
	case Invalid:
		code = api.TransactionInvalid
	default:
		c.Response.Set(api.HeaderCacheControl, "no-cache")
	}
	return api.Errorf(http.StatusNotFound, code, "Only committed transactions can be queried. Transaction %s is %s", id, status)
}

// historicalError turns a node's error on a historical question into the answer.
func (s *Server) historicalError(c *Call, id TxID, err error) error {
	switch {
	case errors.Is(err, ErrFetching):
		c.Response.Status = http.StatusAccepted
		c.Response.Set(api.HeaderRetryAfter, "3")
		c.Response.Raw(api.TypeText, []byte("Historical transaction "+id.String()+" is not currently available."))
		return nil
	case errors.Is(err, ErrEarlierLife):
		return api.Errorf(http.StatusNotFound, api.TransactionInvalid, "Historical transaction %s is not signed by the current service identity key and cannot be retrieved until recovery is complete.", id)
	case errors.Is(err, ErrNotCommitted):
		if e := s.historical(c, id); e != nil {
			return e
		}
	case errors.Is(err, ledger.ErrNotEndorsed):
		return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Transaction %s is of an earlier life of the service, and what its identities state about one another does not reach back to it: its receipts verify under the service certificate of that time only (%s).", id, err)
	}
	s.log.Error("a committed transaction cannot be read", "tx", id.String(), "err", err)
	return api.Errorf(http.StatusInternalServerError, api.TransactionPendingOrUnknown, "Transaction %s could not be looked up: %s", id, err)
}

// getReceipt answers with the receipt of a transaction in CCF's JSON form.
func (s *Server) getReceipt(ctx context.Context, c *Call) error {
	text, _ := c.Query.Get("transaction_id")
	id, err := s.historicalID(c, text)
	if err != nil {
		return err
	}
	s.touch(c)
	r, err := s.node.Receipt(ctx, id)
	switch {
	case errors.Is(err, ErrNoReceipt):
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "No JSON receipt available for this transaction.")
	case err != nil:
		return s.historicalError(c, id, err)
	}
	return c.Response.JSON(r)
}

// getCOSEReceipt answers with the receipt of a transaction as a COSE Sign1.
func (s *Server) getCOSEReceipt(ctx context.Context, c *Call) error {
	text, _ := c.Query.Get("transaction_id")
	id, err := s.historicalID(c, text)
	if err != nil {
		return err
	}
	s.touch(c)
	r, err := s.node.COSEReceipt(ctx, id)
	switch {
	case errors.Is(err, ErrNoReceipt):
		return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No COSE receipt available for this transaction.")
	case err != nil:
		return s.historicalError(c, id, err)
	}
	c.Response.Raw(api.TypeCOSE, r)
	return nil
}
