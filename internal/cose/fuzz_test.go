package cose

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// FuzzParse: no bytes panic; what is accepted encodes back to the same meaning,
// and is CBOR to another implementation.
func FuzzParse(f *testing.F) {
	key := newKey(f, elliptic.P256())
	msg, err := Sign(key, proposalHeader(), []byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Add(build(f, 18, []byte{0xa0}, Map{{396, Map{{-1, Array{[]byte("x")}}}}}, nil, []byte{}))
	f.Add(nest(17, 0x81))
	f.Add([]byte{0xd2, 0x84, 0x9f, 0xff})
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v is not ErrMalformed", err)
			}
			return
		}
		again, err := Parse(s.Encode())
		if err != nil {
			t.Fatalf("accepted message does not survive encoding: %v", err)
		}
		if !bytes.Equal(again.Protected, s.Protected) || !bytes.Equal(again.Payload, s.Payload) ||
			(again.Payload == nil) != (s.Payload == nil) ||
			!bytes.Equal(again.Signature, s.Signature) || !bytes.Equal(again.Unprotected, s.Unprotected) {
			t.Fatal("accepted message changes when encoded")
		}
		if s.Payload != nil {
			_ = s.Verify(&key.PublicKey)
		}
	})
}

// FuzzDecode: what is accepted encodes and decodes to the same bytes from then
// on, and another implementation takes it too.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xa2, 1, 2, 0x61, 'a', 0x80})
	f.Add([]byte{0x18, 0x01})
	f.Add(nest(16, 0xa1, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Decode(b)
		if err != nil {
			return
		}
		if err := cbor.Wellformed(b); err != nil {
			t.Fatalf("not well-formed elsewhere: %v", err)
		}
		once, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		v, err = Decode(once)
		if err != nil {
			t.Fatalf("encoded value does not decode: %v", err)
		}
		twice, err := Encode(v)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x then %x, %v", once, twice, err)
		}
	})
}
