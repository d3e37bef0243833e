package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	gocose "github.com/veraison/go-cose"
)

var curves = []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ptr[T any](v T) *T { return &v }

func proposalHeader() Header {
	return Header{
		KID:        "4471b767ff7b205e470099dbf7164dc56d37ed9df49b0dcd4f86893d5e7132d9",
		MsgType:    ptr(TypeBallot),
		CreatedAt:  ptr(int64(1761669641)),
		ProposalID: ptr("abc"),
	}
}

// TestRoundTrip signs on each curve, reads the message back, and verifies it;
// another payload, key or signature byte must not verify.
func TestRoundTrip(t *testing.T) {
	for _, curve := range curves {
		t.Run(curve.Params().Name, func(t *testing.T) {
			key := newKey(t, curve)
			payload := []byte(`{"actions":[]}`)
			msg, err := Sign(key, proposalHeader(), payload)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ParseMember(msg)
			if err != nil {
				t.Fatal(err)
			}
			want := proposalHeader()
			want.Alg, _ = AlgorithmFor(&key.PublicKey)
			if diff := cmp.Diff(want, s.Header, cmpopts.IgnoreUnexported(Header{})); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if !bytes.Equal(s.Payload, payload) {
				t.Errorf("payload %q", s.Payload)
			}
			if err := s.Verify(&key.PublicKey); err != nil {
				t.Error(err)
			}
			if err := s.Verify(&newKey(t, curve).PublicKey); !errors.Is(err, ErrBadSignature) {
				t.Errorf("another key: %v", err)
			}
			s.Payload = append(bytes.Clone(payload), ' ')
			if err := s.Verify(&key.PublicKey); !errors.Is(err, ErrBadSignature) {
				t.Errorf("another payload: %v", err)
			}
		})
	}
}

// TestEveryByte changes each byte of a message: it must not verify, unless the
// change is in the unprotected header, which no signature covers.
func TestEveryByte(t *testing.T) {
	key := newKey(t, elliptic.P256())
	msg, err := Sign(key, proposalHeader(), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range msg {
		changed := bytes.Clone(msg)
		changed[i] ^= 1
		s, err := ParseMember(changed)
		if err == nil {
			err = s.Verify(&key.PublicKey)
		}
		if err == nil && !bytes.Equal(s.Unprotected, []byte{0xa0}) {
			continue
		}
		if err == nil {
			t.Errorf("byte %d changed, and it verifies", i)
		}
	}
}

// TestAlgorithmMustMatchKey pairs each algorithm with each kind of key.
func TestAlgorithmMustMatchKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, curve := range curves {
		key := newKey(t, curve)
		msg, err := Sign(key, proposalHeader(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseMember(msg)
		if err != nil {
			t.Fatal(err)
		}
		others := []crypto.PublicKey{&rsaKey.PublicKey, edPub, nil, "key"}
		for _, c := range curves {
			if c != curve {
				others = append(others, &newKey(t, c).PublicKey)
			}
		}
		for _, pub := range others {
			if err := s.Verify(pub); !errors.Is(err, ErrBadSignature) {
				t.Errorf("%s under %T: %v", s.Header.Alg, pub, err)
			}
		}
		// The header claims another algorithm, and the signature is right for
		// the bytes as they stand.
		for _, su := range suites {
			if su.curve == curve {
				continue
			}
			protected, err := EncodeMap(Pair{1, su.alg}, Pair{4, []byte("id")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := SignAttached(key, protected, nil); err == nil {
				t.Errorf("signed %s with a key on %s", su.name, curve.Params().Name)
			}
		}
	}
	if _, err := Sign(rsaKey, proposalHeader(), nil); !errors.Is(err, ErrUnsupportedAlgorithm) {
		t.Errorf("signing with RSA: %v", err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AlgorithmFor(&p224.PublicKey); !errors.Is(err, ErrUnsupportedAlgorithm) {
		t.Errorf("P-224: %v", err)
	}
}

// TestDetached covers the ledger's form: explicit order, payload outside.
func TestDetached(t *testing.T) {
	key := newKey(t, elliptic.P384())
	protected, err := EncodeMap(
		Pair{1, ES384}, Pair{4, []byte("kid")}, Pair{395, 2},
		Pair{15, Map{{6, int64(1761669641)}, {1, "iss"}, {2, "sub"}}},
		Pair{"ccf.v1", Map{{"txid", "2.15"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	root := bytes.Repeat([]byte{7}, 32)
	msg, err := SignDetached(key, protected, root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(msg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Payload != nil || !bytes.Equal(s.Protected, protected) {
		t.Error("not the message that was signed")
	}
	if err := s.VerifyDetached(&key.PublicKey, root); err != nil {
		t.Error(err)
	}
	if err := s.Verify(&key.PublicKey); !errors.Is(err, ErrMalformed) {
		t.Errorf("Verify of a detached message: %v", err)
	}
	if _, err := ParseMember(msg); !errors.Is(err, ErrMalformed) {
		t.Errorf("detached as a member's message: %v", err)
	}
	attached, err := SignAttached(key, protected, root)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Parse(attached); err != nil {
		t.Fatal(err)
	}
	if err := s.VerifyDetached(&key.PublicKey, root); !errors.Is(err, ErrMalformed) {
		t.Errorf("VerifyDetached of an attached message: %v", err)
	}
}

// TestSplit signs in two halves, with a key that sees only the digest.
func TestSplit(t *testing.T) {
	for _, su := range suites {
		key := newKey(t, su.curve)
		first, err := Prepare(su.alg, proposalHeader(), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		digest, err := first.Digest()
		if err != nil {
			t.Fatal(err)
		}
		r, v, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		sig := make([]byte, su.alg.SignatureSize())
		r.FillBytes(sig[:len(sig)/2])
		v.FillBytes(sig[len(sig)/2:])

		second, err := Prepare(su.alg, proposalHeader(), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		msg, err := second.Finish(sig)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseMember(msg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(&key.PublicKey); err != nil {
			t.Errorf("%s: %v", su.name, err)
		}
		if _, err := second.Finish(sig[1:]); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s: short signature: %v", su.name, err)
		}
	}
	if _, err := Prepare(-8, Header{}, nil); !errors.Is(err, ErrUnsupportedAlgorithm) {
		t.Errorf("EdDSA: %v", err)
	}
}

// TestSecondJudge exchanges messages with another implementation.
func TestSecondJudge(t *testing.T) {
	for _, su := range suites {
		key := newKey(t, su.curve)
		msg, err := Sign(key, proposalHeader(), []byte("payload"))
		if err != nil {
			t.Fatal(err)
		}
		var theirs gocose.Sign1Message
		if err := theirs.UnmarshalCBOR(msg); err != nil {
			t.Fatalf("%s: go-cose does not read ours: %v", su.name, err)
		}
		verifier, err := gocose.NewVerifier(gocose.Algorithm(su.alg), &key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := theirs.Verify(nil, verifier); err != nil {
			t.Errorf("%s: go-cose does not verify ours: %v", su.name, err)
		}

		signer, err := gocose.NewSigner(gocose.Algorithm(su.alg), key)
		if err != nil {
			t.Fatal(err)
		}
		out := gocose.NewSign1Message()
		out.Headers.Protected.SetAlgorithm(gocose.Algorithm(su.alg))
		out.Headers.Protected[gocose.HeaderLabelKeyID] = []byte("me")
		out.Headers.Protected[LabelCreatedAt] = int64(5)
		out.Payload = []byte("payload")
		if err := out.Sign(rand.Reader, nil, signer); err != nil {
			t.Fatal(err)
		}
		raw, err := out.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseMember(raw)
		if err != nil {
			t.Fatalf("%s: we do not read go-cose's: %v", su.name, err)
		}
		if err := s.Verify(&key.PublicKey); err != nil {
			t.Errorf("%s: we do not verify go-cose's: %v", su.name, err)
		}
	}
}

// TestCrit: CCF ignores crit; the message verifies, and says that it was there.
func TestCrit(t *testing.T) {
	key := newKey(t, elliptic.P384())
	protected, err := EncodeMap(Pair{1, ES384}, Pair{2, Array{"unknown"}}, Pair{4, []byte("k")}, Pair{LabelCreatedAt, 1})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := SignAttached(key, protected, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseMember(msg)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Header.Crit {
		t.Error("crit is not reported")
	}
	if err := s.Verify(&key.PublicKey); err != nil {
		t.Error(err)
	}
}

func ExampleSign() {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		panic(err)
	}
	msgType, createdAt := TypeProposal, int64(1761669641)
	msg, err := Sign(key, Header{KID: "id", MsgType: &msgType, CreatedAt: &createdAt}, []byte(`{"actions":[]}`))
	if err != nil {
		panic(err)
	}
	s, err := ParseMember(msg)
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Header.Alg, *s.Header.MsgType, s.Verify(&key.PublicKey))
	// Output: ES384 proposal <nil>
}
