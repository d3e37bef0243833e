package js

import (
	"time"

	"github.com/dop251/goja"

	"chancery/kv/writeset"
)

// History fetches states of the past for ccf.historical.
type History interface {
	// StateRange returns the states of the transactions from first to last, both
	// included, or ready = false while they are being fetched. What was fetched for a
	// handle is kept until it expires or is dropped.
	StateRange(handle, first, last uint64, expiry time.Duration) (states []*HistoricalState, ready bool, err error)
	// Drop forgets what a handle keeps, and reports whether there was anything.
	Drop(handle uint64) bool
}

// HistoricalState is a committed transaction of the past.
type HistoricalState struct {
	ID      writeset.TxID
	Writes  writeset.WriteSet
	Receipt Receipt
}

// Receipt is a transaction's receipt in the form that applications see: hashes in
// hex, binary fields in base64, certificates in PEM.
type Receipt struct {
	Signature, Cert, NodeID string
	// IsSignature marks the receipt of a signature transaction, which has RootHex in
	// place of a path and leaf components.
	IsSignature                                  bool
	RootHex                                      string
	Proof                                        []ProofStep
	WriteSetDigest, CommitEvidence, ClaimsDigest string
}

// ProofStep is one sibling on the path from leaf to root.
type ProofStep struct {
	Left bool
	Hash string
}

func (s *sandbox) setApplyWrites(c goja.FunctionCall) goja.Value {
	if len(c.Arguments) != 1 {
		s.throwType("Passed %d arguments but expected 1", len(c.Arguments))
	}
	yes := c.Arguments[0].ToBoolean()
	s.current().apply = &yes
	return goja.Undefined()
}

func (s *sandbox) setClaimsDigest(c goja.FunctionCall) goja.Value {
	if len(c.Arguments) != 1 {
		s.throwType("Passed %d arguments but expected 1", len(c.Arguments))
	}
	b, ok := buffer(c.Arguments[0])
	if !ok {
		s.throwType("Argument must be an ArrayBuffer")
	}
	var digest [32]byte
	if len(b) != len(digest) {
		s.throwType("Argument must be an ArrayBuffer of the right size: %d", len(digest))
	}
	copy(digest[:], b)
	s.current().claims = &digest
	return goja.Undefined()
}

func (s *sandbox) consensus() Consensus {
	c := s.current().Consensus
	if c == nil {
		s.throwInternal("No consensus")
	}
	return c
}

func (s *sandbox) lastCommitted(c goja.FunctionCall) goja.Value {
	s.arity(c, 0)
	view, seqno := s.consensus().LastCommitted()
	o := s.vm.NewObject()
	_ = o.Set("view", view)
	_ = o.Set("seqno", seqno)
	return o
}

func (s *sandbox) statusOf(c goja.FunctionCall) goja.Value {
	s.arity(c, 2)
	view, seqno := integer(c.Arguments[0]), integer(c.Arguments[1])
	if view < 0 || seqno < 0 {
		s.throwRange("Invalid view or seqno: cannot be negative")
	}
	if seqno == 0 {
		s.throwInternal("Failed to get status for txid: InternalError")
	}
	return s.vm.ToValue(s.consensus().Status(uint64(view), uint64(seqno)))
}

func (s *sandbox) viewOf(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	seqno := integer(c.Arguments[0])
	if seqno < 0 {
		s.throwRange("Invalid seqno: cannot be negative")
	}
	view, ok := s.consensus().ViewOf(uint64(seqno))
	if !ok {
		return goja.Null()
	}
	return s.vm.ToValue(view)
}

// integer is JavaScript's conversion to a 64-bit integer: NaN gives 0.
func integer(v goja.Value) int64 { return v.ToInteger() }

func (s *sandbox) history() History {
	h := s.current().History
	if h == nil {
		s.throwInternal("No historical queries")
	}
	return h
}

func (s *sandbox) stateRange(c goja.FunctionCall) goja.Value {
	s.arity(c, 4)
	handle, first, last := integer(c.Arguments[0]), integer(c.Arguments[1]), integer(c.Arguments[2])
	expiry := integer(c.Arguments[3])
	if handle < 0 || first < 0 || last < 0 || expiry < 0 {
		s.throwRange("Invalid handle or seqno or expiry: cannot be negative")
	}
	if last < first {
		s.throwInternal("Failed to get state range: Invalid range for historical query: end %d is before start %d", last, first)
	}
	const longest = 1 << 31 // seconds; more would overflow a Duration
	states, ready, err := s.history().StateRange(uint64(handle), uint64(first), uint64(last), time.Duration(min(expiry, longest))*time.Second)
	if err != nil {
		s.throwInternal("Failed to get state range: %s", err)
	}
	if !ready {
		return goja.Null()
	}
	items := make([]any, len(states))
	for i, state := range states {
		items[i] = s.stateObject(state)
	}
	return s.vm.NewArray(items...)
}

func (s *sandbox) dropStates(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	handle := integer(c.Arguments[0])
	if handle < 0 {
		s.throwRange("Invalid handle: cannot be negative")
	}
	return s.vm.ToValue(s.history().Drop(uint64(handle)))
}

// stateObject is a HistoricalState as applications see it.
func (s *sandbox) stateObject(h *HistoricalState) *goja.Object {
	o := s.vm.NewObject()
	_ = o.Set("transactionId", h.ID.String())
	_ = o.Set("receipt", s.value(h.Receipt.object()))
	_ = o.Set("kv", s.vm.NewDynamicObject(&kvObject{s: s, past: newPastReader(h)}))
	return o
}

// object is the receipt's JavaScript form.
func (r Receipt) object() Object {
	o := Object{{"signature", r.Signature}, {"cert", r.Cert}, {"node_id", r.NodeID}, {"is_signature_transaction", r.IsSignature}}
	if r.IsSignature {
		return append(o, Property{"root_hex", r.RootHex})
	}
	proof := make([]any, len(r.Proof))
	for i, p := range r.Proof {
		side := "right"
		if p.Left {
			side = "left"
		}
		proof[i] = Object{{side, p.Hash}}
	}
	leaf := Object{{"write_set_digest", r.WriteSetDigest}, {"commit_evidence", r.CommitEvidence}}
	if r.ClaimsDigest != "" {
		leaf = append(leaf, Property{"claims_digest", r.ClaimsDigest})
	}
	return append(o, Property{"proof", proof}, Property{"leaf_components", leaf})
}
