package identity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/ccftest"
)

// TestUnwrapVectors opens the ledger secrets that CCF wrapped, and wraps them
// again to the same bytes.
func TestUnwrapVectors(t *testing.T) {
	dir := ccftest.Vectors(t)
	read := func(name string, v any) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatal(err)
		}
	}
	var old struct {
		Acme struct {
			Key     string `json:"wrapping_key_hex"`
			Wrapped string `json:"wrapped_latest_ledger_secret_hex"`
			Secret  string `json:"ledger_secret_hex"`
		} `json:"acme_detail"`
	}
	read("secrets.json", &old)
	type share struct {
		Key     string `json:"wrapping_key_hex"`
		Wrapped []byte `json:"wrapped_latest_ledger_secret"`
		Secret  string `json:"unwrapped_ledger_secret_hex"`
	}
	var seven struct {
		Last    share             `json:"share_example"`
		Earlier []share           `json:"share_examples_earlier"`
		Secrets map[string]string `json:"ledger_secrets"`
		History []struct {
			Previous *struct {
				Data []byte `json:"encrypted_data"`
			} `json:"previous_ledger_secret"`
		} `json:"historical_secrets"`
	}
	read("seven_service.json", &seven)
	wrapped, err := hex.DecodeString(old.Acme.Wrapped)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(seven.Earlier, seven.Last, share{old.Acme.Key, wrapped, old.Acme.Secret}) {
		key, err := hex.DecodeString(s.Key)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := Unwrap(key, s.Wrapped)
		if err != nil || hex.EncodeToString(secret) != s.Secret {
			t.Errorf("unwrapped %x, %v, want %s", secret, err, s.Secret)
		}
		again, err := WrapOnce(key, secret)
		if err != nil || !bytes.Equal(again, s.Wrapped) {
			t.Errorf("wrapped %x, %v, want %x", again, err, s.Wrapped)
		}
	}
	// The chain of previous secrets: each opens under one of the later ones.
	for i, h := range seven.History {
		if h.Previous == nil {
			continue
		}
		opened := false
		for _, s := range seven.Secrets {
			key, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Unwrap(key, h.Previous.Data); err == nil {
				opened = true
			}
		}
		if !opened {
			t.Errorf("historical secret %d does not open", i)
		}
	}
}

func TestWrap(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 32)
	for _, n := range []int{0, 1, 32, 44, 1000} {
		in := bytes.Repeat([]byte{7}, n)
		blob, err := Wrap(key, in)
		if err != nil || len(blob) != n+WrapOverhead {
			t.Fatalf("%d bytes: %d, %v", n, len(blob), err)
		}
		other, err := Wrap(key, in)
		if err != nil || bytes.Equal(blob, other) {
			t.Error("two wraps are equal: the IV is not random")
		}
		out, err := Unwrap(key, blob)
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d bytes: %v", n, err)
		}
		for i := range blob {
			changed := bytes.Clone(blob)
			changed[i] ^= 1
			if _, err := Unwrap(key, changed); !errors.Is(err, ErrUnwrap) {
				t.Errorf("byte %d changed: %v", i, err)
			}
		}
	}
	blob, err := Wrap(key, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range blob {
		if _, err := Unwrap(key, blob[:n]); !errors.Is(err, ErrUnwrap) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	if _, err := Unwrap(bytes.Repeat([]byte{2}, 32), blob); !errors.Is(err, ErrUnwrap) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Wrap(key[:16], nil); err == nil {
		t.Error("a 16-byte key was accepted")
	}
	if _, err := Unwrap(nil, blob); err == nil {
		t.Error("no key was accepted")
	}
}

func TestOAEP(t *testing.T) {
	key, err := GenerateEncryptionKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 32, 44, 190} {
		in := bytes.Repeat([]byte{9}, n)
		wrapped, err := WrapFor(&key.PublicKey, in)
		if err != nil || len(wrapped) != 256 {
			t.Fatalf("%d bytes: %d, %v", n, len(wrapped), err)
		}
		out, err := UnwrapWith(key, wrapped)
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d bytes: %v", n, err)
		}
		wrapped[100] ^= 1
		if _, err := UnwrapWith(key, wrapped); !errors.Is(err, ErrUnwrap) {
			t.Errorf("changed: %v", err)
		}
	}
	if _, err := WrapFor(&key.PublicKey, make([]byte, 191)); err == nil {
		t.Error("191 bytes were accepted")
	}
}
