// Command native is a node with the logging application compiled in: what logging/js
// does with records, in Go. Handlers run over one transaction each, which the service
// commits after them; they may run again when it conflicts.
//
// Run it with
//
//	go build -o bin/logging ./samples/logging/native
//	bin/chancery up --node bin/logging
package main

import (
	"context"
	"crypto/sha256"
	"net/http"
	"os"
	"strconv"

	"chancery/node/daemon"
	"chancery/server"
	"chancery/server/api"
)

func main() {
	os.Exit(daemon.Run(os.Args[1:], os.Stdout, logging()))
}

// The tables, those of the JavaScript application. A table whose name begins with
// "public:" is readable in the ledger, any other is encrypted.
const (
	privateRecords = "records"
	publicRecords  = "public:records"
)

// logging is the application.
func logging() *server.App {
	app := &server.App{}
	users := []server.Policy{server.JWT, server.UserCert}
	for path, r := range map[string]records{"/log/private": privateRecords, "/log/public": publicRecords} {
		app.Handle(http.MethodPost, path, server.ReadWrite, users, server.Typed(r.post))
		app.Handle(http.MethodGet, path, server.ReadOnly, users, server.Typed(r.get))
		app.Handle(http.MethodDelete, path, server.ReadWrite, users, server.Typed(r.delete))
		app.Handle(http.MethodDelete, path+"/all", server.ReadWrite, users, server.Typed(r.clear))
		app.Handle(http.MethodGet, path+"/count", server.ReadOnly, users, server.Typed(r.count))
	}
	return app
}

// records is a table of messages by id (as decimal text).
type records string

// entry is the body of a POST.
type entry struct {
	ID          *uint64 `json:"id"`
	Msg         string  `json:"msg"`
	RecordClaim bool    `json:"record_claim"`
}

// message is the answer to a GET.
type message struct {
	Msg string `json:"msg"`
}

// none is the body of a request that has none.
type none struct{}

func (r records) post(_ context.Context, c *server.Call, in entry) (bool, error) {
	switch {
	case in.ID == nil:
		return false, api.Errorf(http.StatusBadRequest, api.InvalidInput, "The record's id must be a whole number")
	case in.Msg == "":
		return false, api.Errorf(http.StatusBadRequest, api.InvalidInput, "Cannot record an empty log message")
	}
	if r == publicRecords && in.RecordClaim {
		c.Claims = sha256.Sum256([]byte(in.Msg))
	}
	c.Tx.Put(string(r), keyOf(*in.ID), []byte(in.Msg))
	return true, nil
}

func (r records) get(_ context.Context, c *server.Call, _ none) (message, error) {
	id, err := recordID(c)
	if err != nil {
		return message{}, err
	}
	value, ok := c.Tx.Get(string(r), keyOf(id))
	if !ok {
		return message{}, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No such record: %d", id)
	}
	return message{string(value)}, nil
}

func (r records) delete(_ context.Context, c *server.Call, _ none) (bool, error) {
	id, err := recordID(c)
	if err != nil {
		return false, err
	}
	c.Tx.Delete(string(r), keyOf(id))
	return true, nil
}

func (r records) clear(_ context.Context, c *server.Call, _ none) (bool, error) {
	c.Tx.Clear(string(r))
	return true, nil
}

func (r records) count(_ context.Context, c *server.Call, _ none) (int, error) {
	return c.Tx.Len(string(r)), nil
}

func keyOf(id uint64) []byte { return strconv.AppendUint(nil, id, 10) }

// recordID is the query parameter id.
func recordID(c *server.Call) (uint64, error) {
	text, ok := c.Query.Get("id")
	if !ok {
		return 0, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Missing query parameter 'id'")
	}
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Query parameter 'id' is not a number")
	}
	return id, nil
}
