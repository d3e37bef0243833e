package js

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// AES key wrap with padding, RFC 5649.

// kwpMagic is the first half of the alternative initial value.
const kwpMagic = 0xA65959A6

var errUnwrap = errors.New("the wrapped key is damaged, or was wrapped with another key")

// kwpWrap wraps plain, 1 to 2^32-1 bytes, with an AES key of 16, 24 or 32 bytes.
func kwpWrap(kek, plain []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, fmt.Errorf("AES-KWP: %w", err)
	}
	if len(plain) == 0 {
		return nil, errors.New("AES-KWP: nothing to wrap")
	}
	out := make([]byte, 8+(len(plain)+7)/8*8)
	binary.BigEndian.PutUint32(out, kwpMagic)
	binary.BigEndian.PutUint32(out[4:], uint32(len(plain)))
	copy(out[8:], plain)
	if len(out) == aes.BlockSize {
		block.Encrypt(out, out)
		return out, nil
	}
	kwForward(block, out)
	return out, nil
}

// kwForward is the wrapping process of RFC 3394 over A | R1 | ... | Rn.
func kwForward(block cipher.Block, a []byte) {
	var b [aes.BlockSize]byte
	n := len(a)/8 - 1
	copy(b[:8], a)
	for j := range 6 {
		for i := 1; i <= n; i++ {
			copy(b[8:], a[8*i:])
			block.Encrypt(b[:], b[:])
			t := uint64(n*j + i)
			binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^t)
			copy(a[8*i:], b[8:])
		}
	}
	copy(a, b[:8])
}

// kwpUnwrap undoes kwpWrap.
func kwpUnwrap(kek, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, fmt.Errorf("AES-KWP: %w", err)
	}
	if len(wrapped) < aes.BlockSize || len(wrapped)%8 != 0 {
		return nil, errUnwrap
	}
	a := clone(wrapped)
	if len(a) == aes.BlockSize {
		block.Decrypt(a, a)
	} else {
		kwBackward(block, a)
	}
	// All checks are made whatever fails first, and give one error.
	size := binary.BigEndian.Uint32(a[4:])
	room := uint32(len(a) - 8)
	ok := subtle.ConstantTimeCompare(a[:4], []byte{0xA6, 0x59, 0x59, 0xA6})
	if size > room || size+8 <= room || size == 0 {
		return nil, errUnwrap
	}
	var padding byte
	for _, x := range a[8+size:] {
		padding |= x
	}
	ok &= subtle.ConstantTimeByteEq(padding, 0)
	if ok != 1 {
		return nil, errUnwrap
	}
	return a[8 : 8+size], nil
}

func kwBackward(block cipher.Block, a []byte) {
	var b [aes.BlockSize]byte
	n := len(a)/8 - 1
	copy(b[:8], a)
	for j := 5; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			t := uint64(n*j + i)
			binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^t)
			copy(b[8:], a[8*i:])
			block.Decrypt(b[:], b[:])
			copy(a[8*i:], b[8:])
		}
	}
	copy(a, b[:8])
}
