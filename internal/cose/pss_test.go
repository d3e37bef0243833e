package cose

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	gocose "github.com/veraison/go-cose"
)

// TestPSS verifies what another implementation signs with RSA, and nothing else does.
func TestPSS(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []Algorithm{PS256, PS384, PS512} {
		signer, err := gocose.NewSigner(gocose.Algorithm(alg), key)
		if err != nil {
			t.Fatal(err)
		}
		m := gocose.NewSign1Message()
		m.Headers.Protected.SetAlgorithm(gocose.Algorithm(alg))
		m.Headers.Protected[gocose.HeaderLabelKeyID] = []byte("id")
		m.Payload = []byte("payload")
		if err := m.Sign(rand.Reader, nil, signer); err != nil {
			t.Fatal(err)
		}
		raw, err := m.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyPSS(&key.PublicKey); err != nil {
			t.Errorf("%d: %v", alg, err)
		}
		if err := s.VerifyPSS(&other.PublicKey); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%d, another key: %v", alg, err)
		}
		if err := s.Verify(&key.PublicKey); !errors.Is(err, ErrUnsupportedAlgorithm) {
			t.Errorf("%d by Verify: %v", alg, err)
		}
		if _, err := ParseUser(raw); !errors.Is(err, ErrUnsupportedAlgorithm) {
			t.Errorf("%d as a user's message: %v", alg, err)
		}
		s.Header.Alg = ES384
		if err := s.VerifyPSS(&key.PublicKey); !errors.Is(err, ErrUnsupportedAlgorithm) {
			t.Errorf("ES384 by VerifyPSS: %v", err)
		}
		s.Header.Alg = alg
		s.Payload = []byte("Payload")
		if err := s.VerifyPSS(&key.PublicKey); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%d, another payload: %v", alg, err)
		}
		s.Payload = nil
		if err := s.VerifyPSS(&key.PublicKey); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d, detached: %v", alg, err)
		}
	}
}

// TestPSSSmallKey refuses a key that is too small, whatever it signs.
func TestPSSSmallKey(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skipf("this build makes no small keys: %v", err)
	}
	s := &Sign1{Header: Header{Alg: PS256, hasAlg: true}, Payload: []byte{}}
	if err := s.VerifyPSS(&small.PublicKey); !errors.Is(err, ErrBadSignature) {
		t.Error(err)
	}
}
