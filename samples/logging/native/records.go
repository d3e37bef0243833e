package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"

	"chancery/server"
	"chancery/server/api"
)

// records are the endpoints over one kind of records: messages by id (as decimal text).
type records struct{ kind string }

// table is the one of the scope that the request names.
func (r records) table(c *server.Call) string {
	if scope, ok := c.Query.Get("scope"); ok {
		return r.kind + "-" + scope
	}
	return r.kind
}

func (a *application) records(path, kind string) {
	r := records{kind}
	a.post(path, a.users, server.Typed(r.post))
	a.get(path, a.users, server.Typed(r.get))
	a.get(path+"/backup", a.users, server.Typed(r.get)).Redirection = server.RedirectToBackup
	a.delete(path, a.users, server.Typed(r.delete))
	a.delete(path+"/all", a.users, server.Typed(r.clear))
	a.get(path+"/count", a.users, server.Typed(r.count))
	a.history(path, r)
}

// entry is the body of a POST.
type entry struct {
	ID          *uint64 `json:"id"`
	Msg         string  `json:"msg"`
	RecordClaim bool    `json:"record_claim"`
}

// check says what is wrong with an entry.
func (e *entry) check() error {
	switch {
	case e.ID == nil:
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "The record's id must be a whole number")
	case e.Msg == "":
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "Cannot record an empty log message")
	}
	return nil
}

// message is the answer to a GET.
type message struct {
	Msg string `json:"msg"`
}

// none is the body of a request that has none.
type none struct{}

// etag is the entity tag of a message.
func etag(msg []byte) string {
	sum := sha256.Sum256(msg)
	return hex.EncodeToString(sum[:])
}

// matched applies the request's conditions to the record that is there. Only public
// records have tags, as in CCF's application.
func (r records) matched(c *server.Call, id uint64) error {
	if r.kind != publicRecords || c.Header["If-Match"] == nil && c.Header["If-None-Match"] == nil {
		return nil
	}
	current, ok := c.Tx.Get(r.table(c), keyOf(id)) // what is decided by it must be read
	if !ok {
		return nil
	}
	return c.CheckETag(etag(current))
}

func (r records) post(_ context.Context, c *server.Call, in entry) (bool, error) {
	if err := in.check(); err != nil {
		return false, err
	}
	if err := r.matched(c, *in.ID); err != nil {
		return false, err
	}
	if r.kind == publicRecords {
		if in.RecordClaim {
			c.Claims = sha256.Sum256([]byte(in.Msg))
		}
		c.Response.Set("etag", etag([]byte(in.Msg)))
	}
	return r.store(c, in, in.Msg)
}

func (r records) store(c *server.Call, in entry, msg string) (bool, error) {
	c.Tx.Put(r.table(c), keyOf(*in.ID), []byte(msg))
	return true, nil
}

func (r records) get(_ context.Context, c *server.Call, _ none) (message, error) {
	id, err := recordID(c)
	if err != nil {
		return message{}, err
	}
	value, ok := c.Tx.Get(r.table(c), keyOf(id))
	if !ok {
		return message{}, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No such record: %d", id)
	}
	if err := r.matched(c, id); err != nil {
		return message{}, err
	}
	if r.kind == publicRecords {
		c.Response.Set("etag", etag(value))
	}
	return message{string(value)}, nil
}

func (r records) delete(_ context.Context, c *server.Call, _ none) (bool, error) {
	id, err := recordID(c)
	if err != nil {
		return false, err
	}
	if err := r.matched(c, id); err != nil {
		return false, err
	}
	_, had := c.Tx.Get(r.table(c), keyOf(id))
	c.Tx.Delete(r.table(c), keyOf(id))
	return had, nil
}

func (r records) clear(_ context.Context, c *server.Call, _ none) (bool, error) {
	c.Tx.Clear(r.table(c))
	return true, nil
}

func (r records) count(_ context.Context, c *server.Call, _ none) (int, error) {
	return c.Tx.Len(r.table(c)), nil
}

func keyOf(id uint64) []byte { return strconv.AppendUint(nil, id, 10) }

// recordID is the query parameter id.
func recordID(c *server.Call) (uint64, error) { return number(c, "id") }

// number is a query parameter that must be there.
func number(c *server.Call, name string) (uint64, error) {
	text, ok := c.Query.Get(name)
	if !ok {
		return 0, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Missing query parameter '%s'", name)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Query parameter '%s' is not a number", name)
	}
	return n, nil
}
