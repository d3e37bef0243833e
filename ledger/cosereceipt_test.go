package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"chancery/internal/cose"
	"chancery/ledger/merkle"

	"pgregory.net/rapid"
)

// TestCOSEReceiptLinks breaks each link of a COSE receipt.
func TestCOSEReceiptLinks(t *testing.T) {
	s, other := newTestService(t), newTestService(t)
	claims := Digest{1, 2, 3}
	tests := []struct {
		name  string
		alter func(*COSEReceipt)
		want  []Expectation
		err   error
	}{
		{name: "nothing"},
		{name: "all expected", want: []Expectation{ExpectTx(TxID{View: 2, Seqno: 5}), ExpectClaims(claims)}},
		{name: "another transaction", want: []Expectation{ExpectTx(TxID{View: 2, Seqno: 4})}, err: ErrWrongTx},
		{name: "other claims", want: []Expectation{ExpectClaims(Digest{})}, err: ErrWrongClaims},
		{name: "key id", alter: func(r *COSEReceipt) { r.KeyID = testKeyID(t, &other.key.PublicKey) }, err: ErrWrongService},
		{name: "step left out", alter: func(r *COSEReceipt) { r.Proofs[0].Path = r.Proofs[0].Path[1:] }, err: ErrWrongPath},
		{name: "step turned", alter: func(r *COSEReceipt) { r.Proofs[0].Path[0].Left = !r.Proofs[0].Path[0].Left }, err: ErrWrongPath},
		{name: "tree too small", alter: func(r *COSEReceipt) { r.SignedAt.Seqno = 5 }, err: ErrWrongPath},
		{name: "sibling changed", alter: func(r *COSEReceipt) { r.Proofs[0].Path[0].Hash[0] ^= 1 }, err: ErrBadSignature},
		{name: "write set changed", alter: func(r *COSEReceipt) { r.Proofs[0].Leaf.WriteSet[0] ^= 1 }, err: ErrBadSignature},
		{name: "second proof wrong", alter: func(r *COSEReceipt) {
			p := r.Proofs[0]
			p.Leaf.WriteSet[0] ^= 1
			r.Proofs = append(r.Proofs, p)
		}, err: ErrBadSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseCOSEReceipt(s.coseReceipt(t, 5))
			if err != nil {
				t.Fatal(err)
			}
			if tt.alter != nil {
				tt.alter(r)
			}
			if err := r.Verify(&s.key.PublicKey, tt.want...); !errors.Is(err, tt.err) {
				t.Fatalf("Verify: %v, want %v", err, tt.err)
			}
			for _, c := range r.Explain(&s.key.PublicKey, tt.want...) {
				if (c.Err == nil) == (c.Detail == "") || c.Name == "" {
					t.Errorf("check %+v: want a name, and either an error or a detail", c)
				}
			}
		})
	}
	if _, err := VerifyCOSEReceipt(s.coseReceipt(t, 5), other.cert); !errors.Is(err, ErrWrongService) {
		t.Errorf("under another service: %v", err)
	}
	if _, err := VerifyCOSEReceipt(s.coseReceipt(t, 5), nil); !errors.Is(err, ErrWrongService) {
		t.Errorf("without a service: %v", err)
	}
}

// TestCOSEReceiptEveryByte replaces every byte of a COSE receipt.
func TestCOSEReceiptEveryByte(t *testing.T) {
	s := newTestServiceOn(t, elliptic.P256())
	for _, i := range []uint64{5, testLeaves - 1} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			mutate(t, s.coseReceipt(t, i), func(changed []byte, verify bool) (bool, error) {
				r, err := ParseCOSEReceipt(changed)
				if err != nil || !verify {
					return err == nil, err
				}
				return true, r.Verify(&s.key.PublicKey)
			})
		})
	}
}

// coseParts are the parts of a COSE receipt that a test may put together in a
// way of its own.
type coseParts struct {
	protected, unprotected cose.Map
	payload                []byte
}

func (s *testService) coseParts(t testing.TB) coseParts {
	t.Helper()
	m, err := cose.Parse(s.coseReceipt(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	var p coseParts
	if p.protected, err = cose.DecodeMap(m.Protected); err != nil {
		t.Fatal(err)
	}
	if p.unprotected, err = cose.DecodeMap(m.Unprotected); err != nil {
		t.Fatal(err)
	}
	return p
}

// sign signs the parts over the service's root.
func (p coseParts) sign(t testing.TB, s *testService) []byte {
	t.Helper()
	protected, err := cose.Encode(p.protected)
	if err != nil {
		t.Fatal(err)
	}
	root := s.tree.Root()
	var signed []byte
	if p.payload != nil {
		signed, err = cose.SignAttached(s.key, protected, p.payload)
	} else {
		signed, err = cose.SignDetached(s.key, protected, root[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := cose.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	if m.Unprotected, err = cose.Encode(p.unprotected); err != nil {
		t.Fatal(err)
	}
	return m.Encode()
}

func set(m cose.Map, key, value any) cose.Map {
	out := cose.Map{}
	for _, p := range m {
		if p.Key != key {
			out = append(out, p)
		}
	}
	if value != nil {
		out = append(out, cose.Pair{Key: key, Value: value})
	}
	return out
}

// TestCOSEReceiptForms offers well-signed messages that are no receipts, and
// one whose protected header stands in another order, which is one.
func TestCOSEReceiptForms(t *testing.T) {
	s := newTestService(t)
	good := s.coseParts(t)
	vdp, err := memberMap(good.unprotected, int64(labelVDP))
	if err != nil {
		t.Fatal(err)
	}
	list, err := member[cose.Array](vdp, vdpInclusion)
	if err != nil {
		t.Fatal(err)
	}
	proof := list[0].([]byte)
	proofs := func(list ...any) cose.Map {
		return cose.Map{{Key: labelVDP, Value: cose.Map{{Key: vdpInclusion, Value: cose.Array(list)}}}}
	}
	tests := []struct {
		name   string
		parts  coseParts
		accept bool
	}{
		{"as it is", good, true},
		{"protected header in another order", coseParts{protected: set(good.protected, int64(labelVDS), int64(vdsCCF)), unprotected: good.unprotected}, true},
		{"unknown signed parameter", coseParts{protected: set(good.protected, "x", "y"), unprotected: good.unprotected}, true},
		{"two proofs", coseParts{protected: good.protected, unprotected: proofs(proof, proof)}, true},
		{"critical parameter", coseParts{protected: set(good.protected, int64(2), cose.Array{"x"}), unprotected: good.unprotected}, false},
		{"other data structure", coseParts{protected: set(good.protected, int64(labelVDS), int64(1)), unprotected: good.unprotected}, false},
		{"no data structure", coseParts{protected: set(good.protected, int64(labelVDS), nil), unprotected: good.unprotected}, false},
		{"no key id", coseParts{protected: set(good.protected, int64(labelKID), nil), unprotected: good.unprotected}, false},
		{"no CWT claims", coseParts{protected: set(good.protected, int64(labelClaims), nil), unprotected: good.unprotected}, false},
		{"no ledger header", coseParts{protected: set(good.protected, labelCCF, nil), unprotected: good.unprotected}, false},
		{"bad transaction id", coseParts{protected: set(good.protected, labelCCF, cose.Map{{Key: "txid", Value: "2"}}), unprotected: good.unprotected}, false},
		{"attached payload", coseParts{protected: good.protected, unprotected: good.unprotected, payload: make([]byte, 32)}, false},
		{"no proofs", coseParts{protected: good.protected, unprotected: cose.Map{}}, false},
		{"empty list of proofs", coseParts{protected: good.protected, unprotected: proofs()}, false},
		{"proof is no bytes", coseParts{protected: good.protected, unprotected: proofs("x")}, false},
		{"second unprotected parameter", coseParts{protected: good.protected, unprotected: append(cose.Map{{Key: int64(33), Value: []byte{}}}, good.unprotected...)}, false},
		{"unknown proof type", coseParts{protected: good.protected, unprotected: cose.Map{{Key: labelVDP, Value: cose.Map{{Key: vdpInclusion, Value: list}, {Key: -2, Value: list}}}}}, false},
		{"byte after a proof", coseParts{protected: good.protected, unprotected: proofs(append(bytes.Clone(proof), 0xf6))}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseCOSEReceipt(tt.parts.sign(t, s))
			if !tt.accept {
				if !errors.Is(err, ErrMalformedReceipt) {
					t.Fatalf("error %v, want ErrMalformedReceipt", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Verify(&s.key.PublicKey); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCOSEReceiptWrongCurve signs with a P-256 service key, as services with
// that curve do, and verifies under a P-384 one and back.
func TestCOSEReceiptWrongCurve(t *testing.T) {
	s := newTestService(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384 := s.key
	s.key = key
	data := s.coseReceipt(t, 5)
	r, err := ParseCOSEReceipt(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(&key.PublicKey); err != nil {
		t.Error(err)
	}
	r.KeyID = testKeyID(t, &p384.PublicKey)
	if err := r.Verify(&p384.PublicKey); !errors.Is(err, ErrBadSignature) {
		t.Errorf("under a key on another curve: %v", err)
	}
}

// TestPathShapes compares the two predicates on the turns of a path with the
// paths that trees produce: each path fits its own leaf and size, and no other
// leaf of the same tree.
func TestPathShapes(t *testing.T) {
	tree := merkle.New()
	for n := uint64(1); n <= 70; n++ {
		tree.Append(Digest{byte(n)})
		for i := range n {
			path := tree.Path(i, n)
			if n > 1 && !pathOfLeaf(path, i) {
				t.Errorf("leaf %d of %d: its own path does not fit", i, n)
			}
			for j := range n {
				if got := pathInTree(path, j, n); got != (i == j) {
					t.Errorf("path of leaf %d of %d for leaf %d: %t", i, n, j, got)
				}
			}
		}
	}
}

// TestPathOfLeaf checks the predicate without a tree size against the one with:
// a sequence of turns fits a leaf iff it fits it in a tree of some size.
func TestPathOfLeaf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.Uint64Range(0, 63).Draw(t, "leaf")
		turns := rapid.SliceOfN(rapid.Bool(), 1, 8).Draw(t, "turns")
		path := make([]step, len(turns))
		for k, left := range turns {
			path[k].Left = left
		}
		want := false
		for n := i + 1; n <= 1024; n++ {
			want = want || pathInTree(path, i, n)
		}
		if got := pathOfLeaf(path, i); got != want {
			t.Errorf("leaf %d, turns %v: %t, want %t", i, turns, got, want)
		}
	})
}

// FuzzParseCOSEReceipt checks that what is accepted has one spelling apart from
// the protected header.
func FuzzParseCOSEReceipt(f *testing.F) {
	s := newTestService(f)
	f.Add(s.coseReceipt(f, 5))
	f.Add(s.coseReceipt(f, testLeaves-1))
	f.Add(s.signCOSE(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseCOSEReceipt(data)
		if err != nil {
			if !errors.Is(err, ErrMalformedReceipt) {
				t.Errorf("error %v does not wrap ErrMalformedReceipt", err)
			}
			return
		}
		if again := r.message.Encode(); !bytes.Equal(again, data) {
			t.Errorf("accepted %x, which is written %x", data, again)
		}
		_ = r.Explain(&s.key.PublicKey)
	})
}
