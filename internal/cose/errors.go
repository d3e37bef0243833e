package cose

import "errors"

var (
	// ErrMalformed means that bytes are not the COSE message that was asked
	// for: not CBOR within the limits, not a tagged COSE_Sign1, a header
	// missing or of the wrong type, a payload attached or detached where it
	// must not be.
	ErrMalformed = errors.New("malformed COSE message")
	// ErrUnsupportedAlgorithm means a well-formed message whose algorithm is
	// not one of the table.
	ErrUnsupportedAlgorithm = errors.New("unsupported algorithm")
	// ErrBadSignature means that the signature does not verify under the key,
	// or that the key is not one for the message's algorithm.
	ErrBadSignature = errors.New("COSE signature does not verify")
)
