package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"chancery/kv/writeset"
	"chancery/server"
	"chancery/server/api"
)

// commits adds the endpoints that do something after their transaction.
func (a *application) commits() {
	private := records{privateRecords}
	a.post("/log/blocking/private", a.users, server.Typed(func(ctx context.Context, c *server.Call, in entry) (bool, error) {
		c.OnCommitted(server.RespondCommitted)
		return private.post(ctx, c, in)
	}))
	a.get("/log/blocking/private", a.users, server.Typed(func(ctx context.Context, c *server.Call, in none) (message, error) {
		c.OnCommitted(server.RespondCommitted)
		return private.get(ctx, c, in)
	}))
	a.post("/log/blocking/private/receipt", a.users, server.Typed(func(ctx context.Context, c *server.Call, in entry) (bool, error) {
		c.OnCommitted(server.RespondWithReceipt)
		return private.post(ctx, c, in)
	}))
	a.post("/log/private/optional_commit", a.users, server.Typed(func(ctx context.Context, c *server.Call, in entry) (bool, error) {
		if wait, _ := c.Query.Get("wait_for_commit"); wait == "true" {
			c.OnCommitted(server.RespondCommitted)
		}
		return private.post(ctx, c, in)
	}))
	a.post("/log/private/anonymous/v2", nil, server.Typed(private.postWithID))
}

// recorded is an answer that holds its own transaction's id.
type recorded struct {
	Success bool   `json:"success"`
	TxID    string `json:"tx_id"`
}

// postWithID answers with the transaction's id in the body, which is known only after the
// handler.
func (r records) postWithID(_ context.Context, c *server.Call, in entry) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	fail, _ := c.Query.Get("fail")
	c.OnExecuted(func(id server.TxID, answer *server.Response) error {
		if fail == "true" {
			return errors.New("didn't set user_data!")
		}
		answer.Status = http.StatusOK
		return answer.JSON(recorded{Success: true, TxID: id.String()})
	})
	_, err := r.store(c, in, in.Msg)
	return nil, err
}

// committedRecords is an indexing strategy of this application: the private records as of
// the last transaction that is committed, which is behind what handlers read.
type committedRecords struct {
	mu      sync.Mutex
	last    server.TxID       // guarded by mu
	records map[string]string // guarded by mu
}

// Name implements server.Strategy.
func (x *committedRecords) Name() string { return "CommittedRecords " + privateRecords }

// Next implements server.Strategy.
func (x *committedRecords) Next() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last.Seqno + 1
}

// Handle implements server.Strategy.
func (x *committedRecords) Handle(id server.TxID, writes writeset.WriteSet) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = id
	m := writes.Map(privateRecords)
	if m == nil {
		return
	}
	for _, w := range m.Writes {
		x.records[string(w.Key)] = string(w.Value)
	}
	for _, key := range m.Removes {
		delete(x.records, string(key))
	}
}

func (x *committedRecords) get(id uint64) (msg string, ok bool, last server.TxID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	msg, ok = x.records[strconv.FormatUint(id, 10)]
	return msg, ok, x.last
}

// committedIndex adds the endpoints around that strategy, which is put in and taken out
// while the node runs. They are about the node that answers.
func (a *application) committedIndex() {
	var mu sync.Mutex
	var index *committedRecords // guarded by mu; nil: not installed
	refuse := func(c *server.Call, text string) error {
		c.Response.Status = http.StatusPreconditionFailed
		c.Response.Raw(api.TypeText, []byte(text))
		return nil
	}
	install := a.post("/log/private/install_committed_index", nil, func(_ context.Context, c *server.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if index != nil {
			return refuse(c, "Already installed")
		}
		// From here on: indexing from the beginning may take long.
		x := &committedRecords{last: c.Committed(), records: make(map[string]string)}
		if err := a.Indexes.Install(x); err != nil {
			return fmt.Errorf("installing the index: %w", err)
		}
		index = x
		return nil
	})
	uninstall := a.post("/log/private/uninstall_committed_index", nil, func(_ context.Context, c *server.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if index == nil {
			return refuse(c, "Not currently installed")
		}
		a.Indexes.Uninstall(index.Name())
		index = nil
		return nil
	})
	install.Forwarding, uninstall.Forwarding = server.ForwardNever, server.ForwardNever
	a.get("/log/private/committed", nil, func(_ context.Context, c *server.Call) error {
		id, err := recordID(c)
		if err != nil {
			return err
		}
		mu.Lock()
		x := index
		mu.Unlock()
		if x == nil {
			return refuse(c, "Not currently installed")
		}
		msg, ok, last := x.get(id)
		if ok {
			return c.Response.JSON(message{msg})
		}
		c.Response.Status = http.StatusBadRequest
		return c.Response.JSON(map[string]any{"error": map[string]any{
			"code": api.ResourceNotFound, "message": fmt.Sprintf("No such record: %d.", id), "current_txid": last.String(),
		}})
	}).Forwarding = server.ForwardNever
}
