package cose

import "fmt"

// tagSign1 is the CBOR tag of COSE_Sign1.
const tagSign1 = 18

// Sign1 is a COSE_Sign1 message in its parts. After Parse the slices alias the
// input.
type Sign1 struct {
	Protected   []byte // content of the protected byte string, as it came
	Header      Header // the governance parameters in it
	Unprotected Raw    // the encoded map; nil stands for the empty one
	Payload     []byte // nil when detached
	Signature   []byte
}

// Parse reads a tagged COSE_Sign1. The payload may be detached, and every
// header parameter may be absent; one of the wrong type is ErrMalformed, as is
// everything else that Parse refuses.
func Parse(b []byte) (*Sign1, error) {
	s, err := envelope(b)
	if err != nil {
		return nil, err
	}
	protected, err := DecodeMap(s.Protected)
	if err != nil {
		return nil, fmt.Errorf("protected header: %w", err)
	}
	if _, err := DecodeMap(s.Unprotected); err != nil { // for duplicate keys
		return nil, fmt.Errorf("unprotected header: %w", err)
	}
	s.Header, err = parseHeader(protected)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ParseMember reads a governance message of a member: a payload, alg, kid and
// created_at must be there (else ErrMalformed) and alg must be in the table
// (else ErrUnsupportedAlgorithm). The signature is left to Verify.
func ParseMember(b []byte) (*Sign1, error) {
	s, err := parseAttached(b)
	if err != nil {
		return nil, err
	}
	if s.Header.CreatedAt == nil {
		return nil, fmt.Errorf("%w: no header %s", ErrMalformed, LabelCreatedAt)
	}
	return s, s.supported()
}

// ParseUser is ParseMember for a message of a user, whose created_at is
// optional.
func ParseUser(b []byte) (*Sign1, error) {
	s, err := parseAttached(b)
	if err != nil {
		return nil, err
	}
	return s, s.supported()
}

// supported checks that the algorithm is in the table.
func (s *Sign1) supported() error {
	_, err := lookup(s.Header.Alg)
	return err
}

func parseAttached(b []byte) (*Sign1, error) {
	s, err := Parse(b)
	switch {
	case err != nil:
		return nil, err
	case s.Payload == nil:
		return nil, fmt.Errorf("%w: detached payload", ErrMalformed)
	case !s.Header.hasAlg:
		return nil, fmt.Errorf("%w: no header alg", ErrMalformed)
	case !s.Header.hasKID:
		return nil, fmt.Errorf("%w: no header kid", ErrMalformed)
	}
	return s, nil
}

// envelope takes the four parts of the message apart.
func envelope(b []byte) (*Sign1, error) {
	if err := wellFormed(b); err != nil {
		return nil, err
	}
	r := reader{b: b}
	if h, err := r.next(); err != nil || h != (head{majorTag, tagSign1}) {
		return nil, fmt.Errorf("%w: not tagged as COSE_Sign1", ErrMalformed)
	}
	if h, err := r.next(); err != nil || h != (head{majorArray, 4}) {
		return nil, fmt.Errorf("%w: not an array of four", ErrMalformed)
	}
	var s Sign1
	var err error
	if s.Protected, err = r.bytes("protected header"); err != nil {
		return nil, err
	}
	if s.Unprotected, err = r.rawMap(); err != nil {
		return nil, err
	}
	if r.b[r.off] == 0xf6 { // null; wellFormed saw that the item is there
		r.off++
	} else if s.Payload, err = r.bytes("payload"); err != nil {
		return nil, err
	}
	if s.Signature, err = r.bytes("signature"); err != nil {
		return nil, err
	}
	return &s, nil
}

// bytes reads a byte string, which is not nil even when empty.
func (r *reader) bytes(what string) ([]byte, error) {
	h, err := r.next()
	if err != nil {
		return nil, err
	}
	if h.major != majorBytes {
		return nil, fmt.Errorf("%w: %s is no byte string", ErrMalformed, what)
	}
	return r.take(h.arg), nil
}

// rawMap passes over a map and returns its encoding.
func (r *reader) rawMap() (Raw, error) {
	start := r.off
	if r.b[start]>>5 != majorMap {
		return nil, fmt.Errorf("%w: unprotected header is no map", ErrMalformed)
	}
	if err := r.skip(2); err != nil { // inside the tag and the array
		return nil, err
	}
	return Raw(r.b[start:r.off:r.off]), nil
}

// Encode returns the message as tagged CBOR: the protected bytes and the
// unprotected map as they are, a nil payload as null.
func (s *Sign1) Encode() []byte {
	out := make([]byte, 0, len(s.Protected)+len(s.Unprotected)+len(s.Payload)+len(s.Signature)+32)
	out = appendHead(out, majorTag, tagSign1)
	out = appendHead(out, majorArray, 4)
	out = appendBytes(out, s.Protected)
	if s.Unprotected == nil {
		out = appendHead(out, majorMap, 0)
	} else {
		out = append(out, s.Unprotected...)
	}
	if s.Payload == nil {
		out = append(out, 0xf6)
	} else {
		out = appendBytes(out, s.Payload)
	}
	return appendBytes(out, s.Signature)
}

// tbs returns the bytes that are hashed and signed (RFC 9052, section 4.4).
func tbs(protected, payload []byte) []byte {
	out := make([]byte, 0, len(protected)+len(payload)+32)
	out = appendHead(out, majorArray, 4)
	out = appendText(out, "Signature1")
	out = appendBytes(out, protected)
	out = appendBytes(out, nil)
	return appendBytes(out, payload)
}
