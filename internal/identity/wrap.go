package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	gcmTagSize = 16
	gcmIVSize  = 12
	// WrapOverhead is by how many bytes Wrap lengthens its plaintext.
	WrapOverhead = gcmTagSize + gcmIVSize
)

// ErrUnwrap means that a wrapped secret does not open: it was changed, or the
// key is another one.
var ErrUnwrap = errors.New("wrapped secret does not open")

// Wrap seals plaintext under a 32-byte AES key with a random IV, as CCF's
// tag || iv || ciphertext.
func Wrap(key, plaintext []byte) ([]byte, error) { return WrapBound(key, plaintext, nil) }

// WrapBound is Wrap for a plaintext that belongs to something public: it opens only
// where the same is given again.
func WrapBound(key, plaintext, public []byte) ([]byte, error) {
	var iv [gcmIVSize]byte
	if _, err := rand.Read(iv[:]); err != nil {
		return nil, fmt.Errorf("wrapping secret: %w", err)
	}
	return wrap(key, iv, plaintext, public)
}

// WrapOnce is Wrap with an IV of zeros: for a key that seals one thing in its
// life, as the wrapping key of recovery shares does.
func WrapOnce(key, plaintext []byte) ([]byte, error) {
	return wrap(key, [gcmIVSize]byte{}, plaintext, nil)
}

func wrap(key []byte, iv [gcmIVSize]byte, plaintext, public []byte) ([]byte, error) {
	aead, err := newGCM(key)
	if err != nil {
		return nil, fmt.Errorf("wrapping secret: %w", err)
	}
	sealed := aead.Seal(nil, iv[:], plaintext, public)
	n := len(plaintext)
	blob := make([]byte, 0, WrapOverhead+n)
	blob = append(blob, sealed[n:]...)
	blob = append(blob, iv[:]...)
	return append(blob, sealed[:n]...), nil
}

// Unwrap opens what Wrap or WrapOnce sealed. It returns ErrUnwrap when the blob
// is too short or does not open under key.
func Unwrap(key, blob []byte) ([]byte, error) { return UnwrapBound(key, blob, nil) }

// UnwrapBound opens what WrapBound sealed beside the same public bytes.
func UnwrapBound(key, blob, public []byte) ([]byte, error) {
	aead, err := newGCM(key)
	if err != nil {
		return nil, fmt.Errorf("unwrapping secret: %w", err)
	}
	if len(blob) < WrapOverhead {
		return nil, fmt.Errorf("%w: %d bytes", ErrUnwrap, len(blob))
	}
	tag, iv, text := blob[:gcmTagSize], blob[gcmTagSize:WrapOverhead], blob[WrapOverhead:]
	sealed := append(append(make([]byte, 0, len(blob)), text...), tag...)
	plaintext, err := aead.Open(sealed[:0], iv, sealed, public)
	if err != nil {
		return nil, ErrUnwrap
	}
	return plaintext, nil
}

// newGCM returns AES-256-GCM with the default sizes, which are CCF's.
func newGCM(key []byte) (cipher.AEAD, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("AES key of %d bytes, want 32", len(key))
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// WrapFor encrypts a short secret (at most 190 bytes for RSA-2048) to the holder
// of an RSA key: OAEP, SHA-256, no label.
func WrapFor(pub *rsa.PublicKey, secret []byte) ([]byte, error) {
	out, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub, secret, nil)
	if err != nil {
		return nil, fmt.Errorf("wrapping secret with RSA-OAEP: %w", err)
	}
	return out, nil
}

// UnwrapWith decrypts what WrapFor encrypted. The error is ErrUnwrap.
func UnwrapWith(key *rsa.PrivateKey, wrapped []byte) ([]byte, error) {
	out, err := rsa.DecryptOAEP(sha256.New(), nil, key, wrapped, nil)
	if err != nil {
		return nil, fmt.Errorf("%w with RSA-OAEP", ErrUnwrap)
	}
	return out, nil
}
