package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/ledger"
	"chancery/ledger/merkle"
	"chancery/server/api"
)

// touch makes the service's state part of what the transaction read, as an answer
// about the past depends on which service it is asked of.
func (s *Server) touch(c *Call) {
	_, _ = c.Tx.Get(tables.NameServiceInfo, tables.SingletonKey) // read for the read's sake
}

// past fetches the transaction that an endpoint of mode historical is asked about. A
// nil state without an error says that the answer (202) is made.
func (s *Server) past(ctx context.Context, c *Call) (*js.HistoricalState, error) {
	id, err := s.historicalID(c, c.Get(api.HeaderTxID))
	if err != nil {
		return nil, err
	}
	state, err := s.state(ctx, id)
	if err != nil {
		return nil, s.historicalError(c, id, err)
	}
	return state, nil
}

// state is a committed transaction as applications see it.
func (s *Server) state(ctx context.Context, id TxID) (*js.HistoricalState, error) {
	writes, err := s.node.Transaction(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := s.pastReceipt(ctx, id)
	if err != nil {
		return nil, err
	}
	return &js.HistoricalState{ID: id, Writes: writes, Receipt: r}, nil
}

// pastReceipt is the receipt that applications see. Where only the service signed, it
// has neither the node's signature nor its certificate, and that of a signature
// transaction no root, as in CCF.
func (s *Server) pastReceipt(ctx context.Context, id TxID) (js.Receipt, error) {
	r, err := s.node.Receipt(ctx, id)
	if err == nil {
		return jsReceipt(r), nil
	}
	if !errors.Is(err, ErrNoReceipt) {
		return js.Receipt{}, err
	}
	data, err := s.node.COSEReceipt(ctx, id)
	if errors.Is(err, ErrNoReceipt) {
		return js.Receipt{IsSignature: true}, nil
	}
	if err != nil {
		return js.Receipt{}, err
	}
	c, err := ledger.ParseCOSEReceipt(data)
	if err != nil {
		return js.Receipt{}, err
	}
	p, claims := c.Proofs[0], c.Claims()
	return js.Receipt{
		Proof: jsPath(p.Path), WriteSetDigest: hex.EncodeToString(p.Leaf.WriteSet[:]),
		CommitEvidence: p.Leaf.Evidence, ClaimsDigest: hex.EncodeToString(claims[:]),
	}, nil
}

func jsPath(path []merkle.Step) []js.ProofStep {
	out := make([]js.ProofStep, len(path))
	for i, step := range path {
		out[i] = js.ProofStep{Left: step.Left, Hash: hex.EncodeToString(step.Hash[:])}
	}
	return out
}

// jsReceipt is a receipt in the form that applications see.
func jsReceipt(r *ledger.Receipt) js.Receipt {
	out := js.Receipt{
		Signature: base64.StdEncoding.EncodeToString(r.Signature), Cert: r.NodeCert, NodeID: r.NodeID,
		IsSignature: r.Kind == ledger.ReceiptSignature,
	}
	if out.IsSignature {
		out.RootHex = hex.EncodeToString(r.Bare[:])
		return out
	}
	out.Proof = jsPath(r.Path)
	out.WriteSetDigest, out.CommitEvidence = hex.EncodeToString(r.Leaf.WriteSet[:]), r.Leaf.Evidence
	if claims, ok := r.Claims(); ok {
		out.ClaimsDigest = hex.EncodeToString(claims[:])
	}
	return out
}

// jsHistory stands behind ccf.historical.
type jsHistory struct {
	ctx context.Context
	s   *Server
}

// maxStates bounds the transactions that one question about the past may be about.
const maxStates = 10_000

// StateRange returns the states from first to last. A range that reaches beyond what
// is committed is not ready; one that is too long is refused, where CCF's node would
// never answer again.
func (j jsHistory) StateRange(handle, first, last uint64, expiry time.Duration) ([]*js.HistoricalState, bool, error) {
	p := j.s.node.Position()
	switch {
	case first == 0:
		return nil, false, errors.New("seqno 0 is no transaction")
	case last-first >= maxStates:
		return nil, false, fmt.Errorf("a range holds at most %d transactions", maxStates)
	case last > p.Committed.Seqno:
		return nil, false, nil
	}
	j.s.handles.keep(handle, j.s.now().Add(expiry), j.s.now())
	states := make([]*js.HistoricalState, 0, last-first+1)
	for seqno := first; seqno <= last; seqno++ {
		if err := j.ctx.Err(); err != nil {
			return nil, false, err
		}
		state, err := j.s.state(j.ctx, TxID{View: p.ViewOf(seqno), Seqno: seqno})
		switch {
		case errors.Is(err, ErrFetching):
			return nil, false, nil
		case err != nil:
			return nil, false, err
		}
		states = append(states, state)
	}
	return states, true, nil
}

// Drop forgets a handle.
func (j jsHistory) Drop(handle uint64) bool { return j.s.handles.drop(handle, j.s.now()) }

// handles remembers which handles an application holds. Nothing is kept under them:
// any transaction can be looked up again at the same price.
type handles struct {
	mu    sync.Mutex
	until map[uint64]time.Time // guarded by mu
}

// maxHandles bounds the handles that are remembered.
const maxHandles = 4096

func (h *handles) keep(handle uint64, until, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil {
		h.until = make(map[uint64]time.Time)
	}
	if len(h.until) >= maxHandles {
		for k, t := range h.until {
			if t.Before(now) || len(h.until) >= maxHandles {
				delete(h.until, k)
			}
		}
	}
	h.until[handle] = until
}

func (h *handles) drop(handle uint64, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.until[handle]
	delete(h.until, handle)
	return ok && !until.Before(now)
}
