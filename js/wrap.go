package js

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/dop251/goja"
)

// wrapping is the third argument of wrapKey and unwrapKey.
type wrapping struct {
	name    string
	label   []byte
	aesBits int64
}

func (s *sandbox) wrapping(v goja.Value) wrapping {
	o, ok := v.(*goja.Object)
	if !ok {
		return wrapping{name: "undefined"}
	}
	var w wrapping
	if name := o.Get("name"); name != nil {
		w.name = name.String()
	}
	w.label, _ = buffer(o.Get("label"))
	if bits := o.Get("aesKeySize"); bits != nil {
		w.aesBits = bits.ToInteger()
	}
	return w
}

// wrapKey encrypts a key: with RSA-OAEP (SHA-256), AES key wrap with padding, or both
// in turn (a fresh AES key under RSA-OAEP, the key under that AES key).
func (s *sandbox) wrapKey(c goja.FunctionCall) goja.Value {
	s.arity(c, 3)
	key, with := s.bytesArg(c.Arguments[0]), s.bytesArg(c.Arguments[1])
	w := s.wrapping(c.Arguments[2])
	var out []byte
	var err error
	switch w.name {
	case "RSA-OAEP":
		out, err = oaepWrap(string(with), key, w.label)
	case "AES-KWP":
		out, err = kwpWrap(with, key)
	case "RSA-OAEP-AES-KWP":
		out, err = oaepKWPWrap(string(with), key, w)
	default:
		s.throwRange("unsupported key wrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP")
	}
	if err != nil {
		s.throwInternal("Failed to wrap key: %s", err)
	}
	return s.newBuffer(out)
}

func (s *sandbox) unwrapKey(c goja.FunctionCall) goja.Value {
	s.arity(c, 3)
	key, with := s.bytesArg(c.Arguments[0]), s.bytesArg(c.Arguments[1])
	w := s.wrapping(c.Arguments[2])
	var out []byte
	var err error
	switch w.name {
	case "RSA-OAEP":
		out, err = oaepUnwrap(string(with), key, w.label)
	case "AES-KWP":
		out, err = kwpUnwrap(with, key)
	case "RSA-OAEP-AES-KWP":
		out, err = oaepKWPUnwrap(string(with), key, w)
	default:
		s.throwRange("unsupported key unwrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP")
	}
	if err != nil {
		s.throwInternal("Failed to unwrap key: %s", err)
	}
	return s.newBuffer(out)
}

func oaepWrap(publicPEM string, key, label []byte) ([]byte, error) {
	k, err := rsaPublic(publicPEM)
	if err != nil {
		return nil, err
	}
	out, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, k, key, label)
	if err != nil {
		return nil, fmt.Errorf("RSA-OAEP: %w", err)
	}
	return out, nil
}

func oaepUnwrap(privatePEM string, wrapped, label []byte) ([]byte, error) {
	k, err := rsaPrivate(privatePEM)
	if err != nil {
		return nil, err
	}
	out, err := rsa.DecryptOAEP(sha256.New(), nil, k, wrapped, label)
	if err != nil {
		return nil, errUnwrap
	}
	return out, nil
}

func oaepKWPWrap(publicPEM string, key []byte, w wrapping) ([]byte, error) {
	if w.aesBits != 128 && w.aesBits != 192 && w.aesBits != 256 {
		return nil, fmt.Errorf("invalid key size: %d", w.aesBits)
	}
	aesKey := make([]byte, w.aesBits/8)
	rand.Read(aesKey)
	defer clear(aesKey)
	outer, err := oaepWrap(publicPEM, aesKey, w.label)
	if err != nil {
		return nil, err
	}
	inner, err := kwpWrap(aesKey, key)
	if err != nil {
		return nil, err
	}
	return append(outer, inner...), nil
}

func oaepKWPUnwrap(privatePEM string, wrapped []byte, w wrapping) ([]byte, error) {
	k, err := rsaPrivate(privatePEM)
	if err != nil {
		return nil, err
	}
	if len(wrapped) <= k.Size() {
		return nil, errors.New("the wrapped key is too short")
	}
	aesKey, err := rsa.DecryptOAEP(sha256.New(), nil, k, wrapped[:k.Size()], w.label)
	if err != nil {
		return nil, errUnwrap
	}
	defer clear(aesKey)
	return kwpUnwrap(aesKey, wrapped[k.Size():])
}
