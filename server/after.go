package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"chancery/ledger"
	"chancery/server/api"
)

// OnExecuted has f run once the call's transaction has its position, before it is
// committed: CCF's handler after the local commit. It may change the answer, which shows
// id in its header anyway. An error that is no api.Error is answered with its text, as the
// application's: 500 InternalError. It does not run for an answer that is no success, and, as
// everything of a Call, belongs to one attempt: an attempt that conflicts is forgotten.
func (c *Call) OnExecuted(f func(id TxID, r *Response) error) { c.executed = f }

// OnCommitted holds the answer until the call's transaction is final, and has f make it
// what it is to be then: CCF's handler after the global commit. Without a write, it is
// the transaction that the call read that is waited for. RespondCommitted is such an f.
// An answer that is no success is not held. A wait that exceeds the service's bound
// (30 s), or is cut short by the end of the node, is answered as wait=commit is.
func (c *Call) OnCommitted(f func(ctx context.Context, d *Decided) error) { c.committed = f }

// Decided is a transaction whose fate is known, with the answer of its call.
type Decided struct {
	ID TxID
	// Status is Committed or Invalid.
	Status Status
	// Response is the answer, as the handler left it.
	Response *Response

	server *Server
}

// Receipt returns the JSON receipt of a committed transaction.
func (d *Decided) Receipt(ctx context.Context) (*ledger.Receipt, error) {
	return d.server.node.Receipt(ctx, d.ID)
}

// COSEReceipt returns the COSE receipt of a committed transaction.
func (d *Decided) COSEReceipt(ctx context.Context) ([]byte, error) {
	return d.server.node.COSEReceipt(ctx, d.ID)
}

// RespondCommitted leaves the answer of a committed transaction as it is; that of one
// that was rolled back becomes 500 TransactionInvalid.
func RespondCommitted(_ context.Context, d *Decided) error {
	if d.Status == Committed {
		return nil
	}
	return invalidated(d.ID)
}

// RespondWithReceipt answers a committed transaction with its COSE receipt.
func RespondWithReceipt(ctx context.Context, d *Decided) error {
	if err := RespondCommitted(ctx, d); err != nil {
		return err
	}
	receipt, err := d.COSEReceipt(ctx)
	if err != nil {
		return err
	}
	d.Response.Status = http.StatusOK
	d.Response.Raw(api.TypeCOSE, receipt)
	return nil
}

// invalidated is the answer of a transaction that was rolled back while it was waited for.
func invalidated(id TxID) *api.Error {
	return api.Errorf(http.StatusInternalServerError, api.TransactionInvalid, "While waiting for TxID %s to commit, it was invalidated", id)
}

// after runs what the handler left to run after its transaction, as far as that does not
// wait. An error of it is answered; the transaction stays, and so does its TxID.
func (s *Server) after(ctx context.Context, c *Call, out *outcome) {
	if out.id == (TxID{}) {
		return
	}
	if c.executed != nil {
		if err := c.executed(out.id, &out.res); err != nil {
			if known := (*api.Error)(nil); !errors.As(err, &known) {
				err = api.Errorf(http.StatusInternalServerError, api.InternalError, "Failed to execute local commit handler func: %v", err)
			}
			s.fail(ctx, c.Request, &out.res, err)
			return
		}
	}
	out.committed = c.committed
}

// finish holds an answer until its transaction is final, and has the application make it
// what it is to be then.
func (s *Server) finish(ctx context.Context, req *Request, out *outcome) {
	if out.committed == nil {
		return
	}
	status, ok := s.await(ctx, req, out, s.cfg.MaxWait)
	if !ok {
		return
	}
	if err := out.committed(ctx, &Decided{ID: out.id, Status: status, Response: &out.res, server: s}); err != nil {
		out.res.Body = nil
		s.fail(ctx, req, &out.res, err)
		out.res.Set(api.HeaderTxID, out.id.String())
	}
}

// await waits until an answer's transaction is final. ok is false where the wait ended
// before; the answer says so then.
func (s *Server) await(ctx context.Context, req *Request, out *outcome, bound time.Duration) (status Status, ok bool) {
	if status := s.node.Position().Status(out.id); status.Final() {
		return status, true // as of most that was only read
	}
	if req.Session.extend != nil {
		req.Session.extend() // the wait is no slow request
	}
	wait, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	start := time.Now()
	status, err := s.node.Wait(wait, out.id)
	s.metrics.waits.WithLabelValues(string(status)).Observe(time.Since(start).Seconds())
	switch {
	case status == Committed, status == Invalid:
		return status, true
	case errors.Is(err, ErrStopped):
		fatal(out, api.Errorf(http.StatusServiceUnavailable, api.TransactionPendingOrUnknown, "The node is stopping; TxID %s is %s", out.id, status))
	default:
		undecided(out, status)
	}
	return status, false
}
