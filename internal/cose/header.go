package cose

import "fmt"

// Labels of protected header parameters.
const (
	LabelAlg  = 1
	LabelCrit = 2
	LabelKID  = 4

	LabelMsgType    = "ccf.gov.msg.type"
	LabelCreatedAt  = "ccf.gov.msg.created_at"
	LabelProposalID = "ccf.gov.msg.proposal_id"
)

// The values of ccf.gov.msg.type.
const (
	TypeProposal      = "proposal"
	TypeBallot        = "ballot"
	TypeWithdrawal    = "withdrawal"
	TypeAck           = "ack"
	TypeStateDigest   = "state_digest"
	TypeRecoveryShare = "recovery_share"
)

// Header is the protected header of a governance message. A nil pointer is a
// parameter that is absent.
type Header struct {
	Alg        Algorithm // Sign fills it from the key
	KID        string    // lower-case hex of the SHA-256 of the signer's certificate
	MsgType    *string
	CreatedAt  *int64 // seconds since the epoch, never negative
	ProposalID *string
	Crit       bool // a crit parameter was there (reading only)

	hasAlg, hasKID bool
}

// encode returns the protected map: alg, kid, type, created_at, proposal_id,
// which is the deterministic order of RFC 8949 section 4.2.1.
func (h Header) encode() ([]byte, error) {
	m := Map{{LabelAlg, h.Alg}, {LabelKID, []byte(h.KID)}}
	if h.MsgType != nil {
		m = append(m, Pair{LabelMsgType, *h.MsgType})
	}
	if h.CreatedAt != nil {
		if *h.CreatedAt < 0 {
			return nil, fmt.Errorf("encoding COSE header: created_at is negative")
		}
		m = append(m, Pair{LabelCreatedAt, *h.CreatedAt})
	}
	if h.ProposalID != nil {
		m = append(m, Pair{LabelProposalID, *h.ProposalID})
	}
	return Encode(m)
}

// parseHeader picks the typed parameters out of a protected map. A parameter of
// the wrong type is ErrMalformed; an absent one is left out.
func parseHeader(m Map) (Header, error) {
	var h Header
	var alg int64
	var kid []byte
	var err error
	if h.hasAlg, err = field(m, LabelAlg, &alg); err != nil {
		return Header{}, err
	}
	if h.hasKID, err = field(m, LabelKID, &kid); err != nil {
		return Header{}, err
	}
	h.Alg, h.KID = Algorithm(alg), string(kid)
	if h.MsgType, err = optional[string](m, LabelMsgType); err != nil {
		return Header{}, err
	}
	if h.ProposalID, err = optional[string](m, LabelProposalID); err != nil {
		return Header{}, err
	}
	if h.CreatedAt, err = optional[int64](m, LabelCreatedAt); err != nil {
		return Header{}, err
	}
	if h.CreatedAt != nil && *h.CreatedAt < 0 {
		return Header{}, fmt.Errorf("%w: header %s is negative", ErrMalformed, LabelCreatedAt)
	}
	_, h.Crit = m.Get(LabelCrit)
	return h, nil
}

// field stores the value under key in out, if there is one.
func field[T any](m Map, key any, out *T) (bool, error) {
	v, ok := m.Get(key)
	if !ok {
		return false, nil
	}
	t, ok := v.(T)
	if !ok {
		return false, fmt.Errorf("%w: header %v has the wrong type", ErrMalformed, key)
	}
	*out = t
	return true, nil
}

// optional returns the value under key, or nil when there is none.
func optional[T any](m Map, key any) (*T, error) {
	out := new(T)
	ok, err := field(m, key, out)
	if err != nil || !ok {
		return nil, err
	}
	return out, nil
}
