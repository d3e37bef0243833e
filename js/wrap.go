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

// keyCipher wraps or unwraps a key with another one.
type keyCipher func(with, key []byte, w wrapping) ([]byte, error)

// The key wrapping algorithms: RSA-OAEP (SHA-256), AES key wrap with padding, and both
// in turn (a fresh AES key under RSA-OAEP, the key under that AES key).
var (
	wrapWith = map[string]keyCipher{
		"RSA-OAEP":         func(with, key []byte, w wrapping) ([]byte, error) { return oaepWrap(string(with), key, w.label) },
		"AES-KWP":          func(with, key []byte, _ wrapping) ([]byte, error) { return kwpWrap(with, key) },
		"RSA-OAEP-AES-KWP": func(with, key []byte, w wrapping) ([]byte, error) { return oaepKWPWrap(string(with), key, w) },
	}
	unwrapWith = map[string]keyCipher{
		"RSA-OAEP":         func(with, key []byte, w wrapping) ([]byte, error) { return oaepUnwrap(string(with), key, w.label) },
		"AES-KWP":          func(with, key []byte, _ wrapping) ([]byte, error) { return kwpUnwrap(with, key) },
		"RSA-OAEP-AES-KWP": func(with, key []byte, w wrapping) ([]byte, error) { return oaepKWPUnwrap(string(with), key, w) },
	}
)

func (s *sandbox) wrapKey(c goja.FunctionCall) goja.Value { return s.rewrap(c, "wrap", wrapWith) }

func (s *sandbox) unwrapKey(c goja.FunctionCall) goja.Value { return s.rewrap(c, "unwrap", unwrapWith) }

// rewrap is wrapKey or unwrapKey: (key, with, parameters).
func (s *sandbox) rewrap(c goja.FunctionCall, verb string, ciphers map[string]keyCipher) goja.Value {
	s.arity(c, 3)
	key, with := s.bytesArg(c.Arguments[0]), s.bytesArg(c.Arguments[1])
	w := s.wrapping(c.Arguments[2])
	apply, ok := ciphers[w.name]
	if !ok {
		s.throwRange("unsupported key %sping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP", verb)
	}
	out, err := apply(with, key, w)
	if err != nil {
		s.throwInternal("Failed to %s key: %s", verb, err)
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
