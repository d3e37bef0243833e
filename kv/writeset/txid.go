package writeset

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TxID is the position of a transaction: the view (consensus term) in which it
// was ordered and its sequence number in the ledger. Both count from one, so
// that the zero TxID stands for "none": the position of an empty store.
type TxID struct {
	View  uint64
	Seqno uint64
}

// IsZero reports whether id is the position before the first transaction.
func (id TxID) IsZero() bool { return id == TxID{} }

// Less orders positions by view, then by sequence number. Within one committed
// history that is the order of the ledger.
func (id TxID) Less(other TxID) bool {
	if id.View != other.View {
		return id.View < other.View
	}
	return id.Seqno < other.Seqno
}

// String returns CCF's text form, view and seqno in decimal: "2.15".
func (id TxID) String() string {
	b := make([]byte, 0, 41)
	b = strconv.AppendUint(b, id.View, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, id.Seqno, 10)
	return string(b)
}

// ParseTxID reads the text form of a TxID as CCF does: two unsigned 64-bit
// decimal numbers, neither of them zero, joined by one dot, with nothing before,
// between or after them. Leading zeros are accepted, as CCF accepts them; a
// caller that needs the one canonical spelling compares with String.
func ParseTxID(s string) (TxID, error) {
	view, seqno, ok := strings.Cut(s, ".")
	if !ok {
		return TxID{}, fmt.Errorf("parsing transaction ID %.64q: no dot between view and seqno", s)
	}
	v, err := parsePositive(view)
	if err != nil {
		return TxID{}, fmt.Errorf("parsing transaction ID %.64q: view %w", s, err)
	}
	n, err := parsePositive(seqno)
	if err != nil {
		return TxID{}, fmt.Errorf("parsing transaction ID %.64q: seqno %w", s, err)
	}
	return TxID{View: v, Seqno: n}, nil
}

// parsePositive reads a decimal number of at least one. strconv.ParseUint with
// an explicit base takes digits only: no sign, no space, no underscore.
func parsePositive(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("is not a 64-bit decimal number: %w", errors.Unwrap(err))
	}
	if n == 0 {
		return 0, errors.New("is zero")
	}
	return n, nil
}
