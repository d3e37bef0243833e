package ledger

import (
	"errors"
	"fmt"
	"io/fs"

	"chancery/internal/durable"
)

// Expected is a transaction that a ledger must hold, as somebody knows it who was there.
type Expected struct {
	ID TxID
	// Leaf is the transaction's, where a receipt gave it: two histories can hold other
	// transactions under one TxID.
	Leaf *Digest
}

// Meets says whether an entry is the one that is expected at its position.
func (x Expected) Meets(e *Entry) bool {
	return e.ID == x.ID && (x.Leaf == nil || e.Leaf() == *x.Leaf)
}

// ReadExpected reads a TxID, or a file with a receipt of either form; "" gives the zero
// value. A receipt is not verified: it says what is looked for, and the ledger what is there.
func ReadExpected(fsys durable.FS, text string) (x Expected, err error) {
	if text == "" {
		return x, nil
	}
	if x.ID, err = ParseTxID(text); err == nil {
		return x, nil
	}
	data, fileErr := fsys.ReadFile(text)
	if errors.Is(fileErr, fs.ErrNotExist) {
		return x, fmt.Errorf("%w, and there is no file of that name with a receipt: %w", err, fileErr)
	}
	if fileErr != nil {
		return x, fileErr
	}
	var leaf Digest
	if len(data) > 0 && data[0] == '{' {
		r, err := ParseReceipt(data)
		if err != nil {
			return x, fmt.Errorf("%s: %w", text, err)
		}
		id, ok := r.TxID()
		if !ok {
			return x, fmt.Errorf("%s: the receipt names no transaction; say which by its TxID", text)
		}
		x.ID, leaf = id, r.LeafDigest()
	} else {
		r, err := ParseCOSEReceipt(data)
		if err != nil {
			return x, fmt.Errorf("%s: %w", text, err)
		}
		x.ID, leaf = r.TxID(), r.Proofs[0].Leaf.Digest()
	}
	x.Leaf = &leaf
	return x, nil
}

// String is the TxID, with the leaf where it is known.
func (x Expected) String() string {
	if x.Leaf == nil {
		return x.ID.String()
	}
	return fmt.Sprintf("%v with leaf %x", x.ID, *x.Leaf)
}
