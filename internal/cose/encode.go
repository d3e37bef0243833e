package cose

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Encode returns the CBOR of v (see Map for the types), with the shortest
// heads and with maps in the order given. It fails on a type outside that list.
func Encode(v any) ([]byte, error) { return appendValue(nil, v) }

// EncodeMap is Encode for pairs in the order given, as a protected header
// needs it.
func EncodeMap(pairs ...Pair) ([]byte, error) { return appendValue(nil, Map(pairs)) }

// appendHead appends a head with the shortest argument.
func appendHead(dst []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(dst, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), arg)
}

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNegint, uint64(-1-v))
	}
	return appendHead(dst, majorUint, uint64(v))
}

func appendBytes(dst, v []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(v))), v...)
}

func appendText(dst []byte, v string) []byte {
	return append(appendHead(dst, majorText, uint64(len(v))), v...)
}

func appendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, 0xf6), nil
	case bool:
		if v {
			return append(dst, 0xf5), nil
		}
		return append(dst, 0xf4), nil
	case int:
		return appendInt(dst, int64(v)), nil
	case int64:
		return appendInt(dst, v), nil
	case Algorithm:
		return appendInt(dst, int64(v)), nil
	case uint64:
		if v > math.MaxInt64 {
			return nil, fmt.Errorf("encoding CBOR: %d is out of range", v)
		}
		return appendHead(dst, majorUint, v), nil
	case string:
		return appendText(dst, v), nil
	case []byte:
		return appendBytes(dst, v), nil
	case Raw:
		return append(dst, v...), nil
	case Simple:
		return appendSimple(dst, v), nil
	}
	return appendContainer(dst, v)
}

func appendSimple(dst []byte, v Simple) []byte {
	if v < 24 {
		return append(dst, majorSimple<<5|byte(v))
	}
	return append(dst, majorSimple<<5|24, byte(v))
}

func appendContainer(dst []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case Tag:
		return appendValue(appendHead(dst, majorTag, v.Number), v.Content)
	case Array:
		dst = appendHead(dst, majorArray, uint64(len(v)))
		for _, item := range v {
			if dst, err = appendValue(dst, item); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case Map:
		dst = appendHead(dst, majorMap, uint64(len(v)))
		for _, p := range v {
			if dst, err = appendValue(dst, p.Key); err != nil {
				return nil, err
			}
			if dst, err = appendValue(dst, p.Value); err != nil {
				return nil, err
			}
		}
		return dst, nil
	}
	return nil, fmt.Errorf("encoding CBOR: no encoding for %T", v)
}
