package server

import (
	"context"
	"errors"
	"net/http"

	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/server/api"
)

// Past is a committed transaction as it was.
type Past struct {
	ID TxID
	// Writes are what it wrote, private maps decrypted.
	Writes writeset.WriteSet

	server *Server
}

// Get returns what the transaction wrote under a key; ok is false where it did not.
func (p *Past) Get(table string, key []byte) (value []byte, ok bool) {
	m := p.Writes.Map(table)
	if m == nil {
		return nil, false
	}
	return m.Value(key)
}

// Receipt returns the transaction's JSON receipt.
func (p *Past) Receipt(ctx context.Context) (*ledger.Receipt, error) {
	return p.server.node.Receipt(ctx, p.ID)
}

// COSEReceipt returns the transaction's COSE receipt.
func (p *Past) COSEReceipt(ctx context.Context) ([]byte, error) {
	return p.server.node.COSEReceipt(ctx, p.ID)
}

// AboutPast makes a Handler of a function about the transaction that the request's header
// x-ms-ccf-transaction-id names. One that is not committed is answered 404, one whose
// entry is being fetched 202, as CCF's adapter for historical queries answers.
func AboutPast(h func(ctx context.Context, c *Call, past *Past) error) Handler {
	return func(ctx context.Context, c *Call) error {
		id, err := c.server.historicalID(c, c.Get(api.HeaderTxID))
		if err != nil {
			return err
		}
		c.server.touch(c)
		writes, err := c.server.node.Transaction(ctx, id)
		if err == nil {
			err = h(ctx, c, &Past{ID: id, Writes: writes, server: c.server})
		}
		if errors.Is(err, ErrFetching) || errors.Is(err, ErrNotCommitted) {
			return c.server.historicalError(c, id, err)
		}
		return err
	}
}

// Past returns the committed transaction at a seqno. Errors: ErrNotCommitted, ErrFetching
// (to be asked for again).
func (c *Call) Past(ctx context.Context, seqno uint64) (*Past, error) {
	p := c.server.node.Position()
	id := TxID{View: p.ViewOf(seqno), Seqno: seqno}
	if p.Status(id) != Committed {
		return nil, ErrNotCommitted
	}
	writes, err := c.server.node.Transaction(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Past{ID: id, Writes: writes, server: c.server}, nil
}

// Committed returns the last committed position.
func (c *Call) Committed() TxID { return c.server.node.Position().Committed }

// StatusAt is the status of the transaction at a seqno: Committed, Pending or Unknown.
func (c *Call) StatusAt(seqno uint64) Status {
	p := c.server.node.Position()
	return p.Status(TxID{View: p.ViewOf(seqno), Seqno: seqno})
}

// RetryLater makes the answer 202: what was asked for is being fetched or computed.
func (c *Call) RetryLater(text string) {
	c.Response.Status = http.StatusAccepted
	c.Response.Set(api.HeaderRetryAfter, "3")
	c.Response.Raw(api.TypeText, []byte(text))
}
