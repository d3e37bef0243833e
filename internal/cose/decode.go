package cose

import "fmt"

// Decode reads one CBOR item, which must be all of b, within the limits of the
// package comment. Byte strings in the result alias b. The error is
// ErrMalformed.
func Decode(b []byte) (any, error) {
	if err := wellFormed(b); err != nil {
		return nil, err
	}
	r := reader{b: b}
	return r.value()
}

// DecodeMap is Decode for a map, such as a protected header.
func DecodeMap(b []byte) (Map, error) {
	v, err := Decode(b)
	if err != nil {
		return nil, err
	}
	m, ok := v.(Map)
	if !ok {
		return nil, fmt.Errorf("%w: not a map", ErrMalformed)
	}
	return m, nil
}

// value builds the item at the reader's place. Its nesting was checked before,
// so that the recursion is at most MaxDepth deep.
func (r *reader) value() (any, error) {
	h, err := r.next()
	if err != nil {
		return nil, err
	}
	switch h.major {
	case majorUint:
		return int64(h.arg), nil
	case majorNegint:
		return -1 - int64(h.arg), nil
	case majorBytes:
		return r.take(h.arg), nil
	case majorText:
		return string(r.take(h.arg)), nil
	case majorArray:
		return r.array(h.arg)
	case majorMap:
		return r.pairs(h.arg)
	case majorTag:
		content, err := r.value()
		return Tag{Number: h.arg, Content: content}, err
	}
	return simple(byte(h.arg)), nil
}

func (r *reader) take(n uint64) []byte {
	b := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return b
}

func (r *reader) array(n uint64) (Array, error) {
	out := make(Array, 0, n)
	for range n {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// rawKey is a map key that is neither an integer nor text, by its shortest
// encoding.
type rawKey string

func (r *reader) pairs(n uint64) (Map, error) {
	out := make(Map, 0, n)
	seen := make(map[any]struct{}, n)
	for range n {
		key, err := r.value()
		if err != nil {
			return nil, err
		}
		id, err := keyID(key)
		if err != nil {
			return nil, err
		}
		if _, dup := seen[id]; dup {
			return nil, r.fail("a map key occurs twice")
		}
		seen[id] = struct{}{}
		value, err := r.value()
		if err != nil {
			return nil, err
		}
		out = append(out, Pair{key, value})
	}
	return out, nil
}

// keyID returns a value that is equal for equal keys.
func keyID(key any) (any, error) {
	switch key.(type) {
	case int64, string:
		return key, nil
	}
	b, err := Encode(key)
	return rawKey(b), err
}

func simple(v byte) any {
	switch v {
	case 20:
		return false
	case 21:
		return true
	case 22:
		return nil
	}
	return Simple(v)
}
