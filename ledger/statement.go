package ledger

import (
	"fmt"

	"chancery/internal/cose"
)

// SignedStatement returns a tagged COSE_Sign1 with an empty unprotected header: the form
// in which a statement is registered, since what stands there is signed by nobody. The
// signature is not checked. Errors wrap ErrMalformedReceipt.
func SignedStatement(message []byte) ([]byte, error) {
	return withUnprotected(message, nil)
}

// TransparentStatement returns a signed statement with the COSE receipt of the transaction
// that registered it in the unprotected header, as CCF's C++ samples make it: an array
// under label 396. Neither is checked. Errors wrap ErrMalformedReceipt.
func TransparentStatement(statement, receipt []byte) ([]byte, error) {
	header, err := cose.EncodeMap(cose.Pair{Key: labelVDP, Value: cose.Array{receipt}})
	if err != nil {
		return nil, fmt.Errorf("transparent statement: %w", err)
	}
	return withUnprotected(statement, header)
}

func withUnprotected(message, header []byte) ([]byte, error) {
	s, err := cose.Parse(message)
	if err != nil {
		return nil, fmt.Errorf("%w: statement: %w", ErrMalformedReceipt, err)
	}
	s.Unprotected = header
	return s.Encode(), nil
}
