package ledger

// Status is what a node can say of a TxID (ccf-features 1.4).
type Status string

// The four statuses. Committed and Invalid are final.
const (
	StatusUnknown   Status = "Unknown"
	StatusPending   Status = "Pending"
	StatusCommitted Status = "Committed"
	StatusInvalid   Status = "Invalid"
)

// Final says whether the status can no longer change.
func (s Status) Final() bool { return s == StatusCommitted || s == StatusInvalid }

// History says how far a node's history reaches and where its views began. The slice
// must not be changed.
type History struct {
	Head      TxID     // last position known, speculative on a primary
	Committed TxID     // last applied signature, zero before the first
	Views     []uint64 // Views[i] is the first seqno of view i+1
}

// ViewOf returns the view of a seqno in the history, 0 when it has none there.
func (h History) ViewOf(seqno uint64) uint64 {
	if seqno == 0 || seqno > h.Head.Seqno {
		return 0
	}
	for i := len(h.Views) - 1; i >= 0; i-- {
		if h.Views[i] <= seqno {
			return uint64(i) + 1
		}
	}
	return 0
}

// Status evaluates a TxID against the history, by CCF's rule.
func (h History) Status(id TxID) Status {
	local := h.ViewOf(id.Seqno)
	switch {
	case id.Seqno <= h.Committed.Seqno && local == id.View:
		return StatusCommitted
	case id.Seqno <= h.Committed.Seqno:
		return StatusInvalid
	case local == id.View:
		return StatusPending
	case h.Committed.View > id.View:
		return StatusInvalid
	}
	return StatusUnknown
}
