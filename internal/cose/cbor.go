package cose

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// MaxDepth is the deepest level at which a CBOR item may stand; the outermost
// item is at level 0. Sixteen containers around a number pass, seventeen do
// not. The bytes inside a byte string count on their own.
const MaxDepth = 16

// Map is a CBOR map in a given order: the order in which it is encoded, or in
// which it was found.
//
// Keys and values are int, int64, Algorithm or uint64 (within int64), string,
// []byte, bool, nil, Map, Array, Tag, or Raw for bytes that are CBOR already.
// Decoding yields int64, string, []byte, bool, nil, Simple, Map, Array, Tag.
type Map []Pair

// Pair is one entry of a Map.
type Pair struct{ Key, Value any }

// Array is a CBOR array.
type Array []any

// Tag is a tagged CBOR item.
type Tag struct {
	Number  uint64
	Content any
}

// Raw is one encoded CBOR item.
type Raw []byte

// Simple is a CBOR simple value other than true, false and null.
type Simple byte

// Get returns the value under an int or string key.
func (m Map) Get(key any) (value any, ok bool) {
	if i, isInt := key.(int); isInt {
		key = int64(i)
	}
	switch key.(type) {
	case int64, string:
	default:
		return nil, false
	}
	for _, p := range m {
		k := p.Key
		if i, isInt := k.(int); isInt {
			k = int64(i)
		}
		switch k.(type) {
		case int64, string:
			if k == key {
				return p.Value, true
			}
		}
	}
	return nil, false
}

// The major types of RFC 8949, section 3.
const (
	majorUint = iota
	majorNegint
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// head is the start of an item: its major type, and its argument (a value, a
// length, a count, a tag number).
type head struct {
	major byte
	arg   uint64
}

// reader walks over CBOR bytes. It accepts what the package comment says.
type reader struct {
	b   []byte
	off int
}

func (r *reader) fail(format string, args ...any) error {
	return fmt.Errorf("%w: at byte %d: %s", ErrMalformed, r.off, fmt.Sprintf(format, args...))
}

// next reads a head and checks that what it announces can be there: a string's
// bytes, or at least one byte for each announced item.
func (r *reader) next() (head, error) {
	if r.off >= len(r.b) {
		return head{}, r.fail("cut short")
	}
	first := r.b[r.off]
	h := head{major: first >> 5}
	info := first & 0x1f
	size := 0
	switch {
	case info < 24:
		h.arg = uint64(info)
	case info <= 27:
		size = 1 << (info - 24)
	default:
		return head{}, r.fail("indefinite length or reserved form")
	}
	rest := r.b[r.off+1:]
	if len(rest) < size {
		return head{}, r.fail("cut short")
	}
	if size > 0 {
		var buf [8]byte
		copy(buf[8-size:], rest[:size])
		h.arg = binary.BigEndian.Uint64(buf[:])
	}
	if h.major == majorSimple && (size > 1 || size == 1 && h.arg < 32) {
		return head{}, r.fail("floating point or bad simple value")
	}
	left := uint64(len(rest) - size)
	if need := h.follows(); need > left {
		return head{}, r.fail("announces more than the %d bytes left", left)
	}
	if h.major <= majorNegint && h.arg > 1<<63-1 {
		return head{}, r.fail("integer out of range")
	}
	r.off += 1 + size
	return h, nil
}

// follows returns the least number of bytes after the head.
func (h head) follows() uint64 {
	switch h.major {
	case majorBytes, majorText, majorArray:
		return h.arg
	case majorMap:
		if h.arg > 1<<62 {
			return 1<<64 - 1
		}
		return 2 * h.arg
	case majorTag:
		return 1
	}
	return 0
}

// skip passes over one item and checks its form and nesting, without recursion
// and without allocating. level is the level of the item.
func (r *reader) skip(level int) error {
	var todo [MaxDepth + 1]uint64 // items still to come at each level
	todo[level] = 1
	for at := level; at >= level; {
		if todo[at] == 0 {
			at--
			continue
		}
		todo[at]--
		h, err := r.next()
		if err != nil {
			return err
		}
		children := uint64(0)
		switch h.major {
		case majorText:
			if !utf8.Valid(r.b[r.off : r.off+int(h.arg)]) {
				return r.fail("text is not UTF-8")
			}
			r.off += int(h.arg)
		case majorBytes:
			r.off += int(h.arg)
		case majorArray:
			children = h.arg
		case majorMap:
			children = 2 * h.arg
		case majorTag:
			children = 1
		}
		if children == 0 {
			continue
		}
		if at == MaxDepth {
			return r.fail("nested deeper than %d levels", MaxDepth)
		}
		at++
		todo[at] = children
	}
	return nil
}

// wellFormed checks that b is one item within the limits and nothing else.
func wellFormed(b []byte) error {
	r := reader{b: b}
	if err := r.skip(0); err != nil {
		return err
	}
	if r.off != len(b) {
		return r.fail("%d bytes after the item", len(b)-r.off)
	}
	return nil
}
