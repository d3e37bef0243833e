package cose

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"math"
	"strings"
	"testing"
)

// build encodes a message from parts, tagged unless tag is 0.
func build(t testing.TB, tag uint64, parts ...any) []byte {
	t.Helper()
	var v any = Array(parts)
	if tag != 0 {
		v = Tag{tag, v}
	}
	b, err := Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func protectedOf(t testing.TB, pairs ...Pair) []byte {
	t.Helper()
	b, err := EncodeMap(pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMalformed names each way in which a member's message can be no message.
func TestMalformed(t *testing.T) {
	alg, kid, at := Pair{1, ES384}, Pair{4, []byte("k")}, Pair{LabelCreatedAt, 1}
	good := protectedOf(t, alg, kid, at)
	sig, empty := make([]byte, 96), Map{}
	wrong := func(pairs ...Pair) []byte { return build(t, 18, protectedOf(t, pairs...), empty, []byte{}, sig) }

	for name, in := range map[string][]byte{
		"empty":                   nil,
		"text":                    []byte("hello"),
		"untagged":                build(t, 0, good, empty, []byte{}, sig),
		"tag of COSE_Sign":        build(t, 98, good, empty, []byte{}, sig),
		"tag of COSE_Mac0":        build(t, 17, good, empty, []byte{}, sig),
		"tagged twice":            append([]byte{0xd2}, build(t, 18, good, empty, []byte{}, sig)...),
		"tag of a map":            {0xd2, 0xa0},
		"three parts":             build(t, 18, good, empty, []byte{}),
		"five parts":              build(t, 18, good, empty, []byte{}, sig, 1),
		"detached":                build(t, 18, good, empty, nil, sig),
		"payload is text":         build(t, 18, good, empty, "x", sig),
		"signature is null":       build(t, 18, good, empty, []byte{}, nil),
		"protected is a map":      build(t, 18, Raw(good), empty, []byte{}, sig),
		"protected is empty":      build(t, 18, []byte{}, empty, []byte{}, sig),
		"protected is an array":   build(t, 18, []byte{0x80}, empty, []byte{}, sig),
		"protected has a tail":    build(t, 18, append(bytes.Clone(good), 0), empty, []byte{}, sig),
		"unprotected is an array": build(t, 18, good, Array{}, []byte{}, sig),
		"unprotected key twice":   build(t, 18, good, Map{{9, 1}, {9, 2}}, []byte{}, sig),
		"trailing byte":           append(build(t, 18, good, empty, []byte{}, sig), 0),
		"no alg":                  wrong(kid, at),
		"alg unprotected":         build(t, 18, protectedOf(t, kid, at), Map{alg}, []byte{}, sig),
		"alg is text":             wrong(Pair{1, "ES384"}, kid, at),
		"alg is bytes":            wrong(Pair{1, []byte{0x38, 0x22}}, kid, at),
		"no kid":                  wrong(alg, at),
		"kid is text":             wrong(alg, Pair{4, "k"}, at),
		"no created_at":           wrong(alg, kid),
		"created_at is text":      wrong(alg, kid, Pair{LabelCreatedAt, "1"}),
		"created_at is negative":  wrong(alg, kid, Pair{LabelCreatedAt, -1}),
		"created_at beyond int64": wrong(alg, kid, Pair{LabelCreatedAt, Raw{0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0}}),
		"created_at is a float":   wrong(alg, kid, Pair{LabelCreatedAt, Raw{0xf9, 0x3c, 0}}),
		"created_at is null":      wrong(alg, kid, Pair{LabelCreatedAt, nil}),
		"type is a number":        wrong(alg, kid, at, Pair{LabelMsgType, 1}),
		"proposal id is bytes":    wrong(alg, kid, at, Pair{LabelProposalID, []byte("x")}),
		"alg twice":               wrong(alg, alg, kid, at),
		"unknown key twice":       wrong(alg, kid, at, Pair{Array{1}, 1}, Pair{Array{1}, 2}),
		"bad UTF-8":               wrong(alg, kid, at, Pair{LabelMsgType, Raw{0x61, 0xff}}),
	} {
		if s, err := ParseMember(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v, want ErrMalformed", name, s, err)
		}
	}
}

// TestUnsupported: well-formed, but no algorithm of ours.
func TestUnsupported(t *testing.T) {
	for _, alg := range []int64{-8, -37, 5, 0, -65535, math.MinInt64} {
		p := protectedOf(t, Pair{1, alg}, Pair{4, []byte("k")}, Pair{LabelCreatedAt, 1})
		_, err := ParseMember(build(t, 18, p, Map{}, []byte{}, make([]byte, 64)))
		if !errors.Is(err, ErrUnsupportedAlgorithm) || errors.Is(err, ErrMalformed) {
			t.Errorf("alg %d: %v", alg, err)
		}
	}
}

// TestUserMessage: created_at may be absent.
func TestUserMessage(t *testing.T) {
	p := protectedOf(t, Pair{1, ES256}, Pair{4, []byte("k")})
	s, err := ParseUser(build(t, 18, p, Map{}, []byte("hi"), make([]byte, 64)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Header.CreatedAt != nil || s.Header.KID != "k" {
		t.Errorf("header %+v", s.Header)
	}
}

// TestBadSignatures: right length or not, none verifies.
func TestBadSignatures(t *testing.T) {
	key := newKey(t, elliptic.P256())
	p := protectedOf(t, Pair{1, ES256}, Pair{4, []byte("k")}, Pair{LabelCreatedAt, 1})
	for name, sig := range map[string][]byte{
		"empty": {}, "zeros": make([]byte, 64), "ones": bytes.Repeat([]byte{0xff}, 64),
		"short": make([]byte, 63), "long": make([]byte, 96),
		"DER": {0x30, 6, 2, 1, 1, 2, 1, 1},
	} {
		s, err := ParseMember(build(t, 18, p, Map{}, []byte{}, sig))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(&key.PublicKey); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestIndefinite: forms that RFC 8949 allows and CCF's reader does not.
func TestIndefinite(t *testing.T) {
	for name, in := range map[string][]byte{
		"array":             {0x9f, 0xff},
		"map":               {0xbf, 0xff},
		"bytes":             {0x5f, 0x41, 0, 0xff},
		"text":              {0x7f, 0xff},
		"break":             {0xff},
		"reserved":          {0x1c},
		"half float":        {0xf9, 0, 0},
		"double":            {0xfb, 0, 0, 0, 0, 0, 0, 0, 0},
		"simple below 32":   {0xf8, 0x14},
		"negative overflow": {0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0},
	} {
		if v, err := Decode(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

// nest returns n containers around a scalar.
func nest(n int, head ...byte) []byte { return append(bytes.Repeat(head, n), 0) }

// TestDepth: sixteen containers around a scalar pass, seventeen do not, and a
// million are refused at once.
func TestDepth(t *testing.T) {
	for name, head := range map[string][]byte{
		"arrays": {0x81}, "tags": {0xc1}, "map values": {0xa1, 0x00}, "map keys": {0xa1},
	} {
		tail := func(n int) []byte {
			b := nest(n, head...)
			if name == "map keys" {
				b = append(b, bytes.Repeat([]byte{0}, n)...) // a value for each key
			}
			return b
		}
		if _, err := Decode(tail(16)); err != nil {
			t.Errorf("16 %s: %v", name, err)
		}
		for _, n := range []int{17, 18, 1_000_000} {
			if _, err := Decode(tail(n)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d %s: %v", n, name, err)
			}
		}
	}
	if _, err := Decode(append(bytes.Repeat([]byte{0x81}, 16), 0x80)); err != nil {
		t.Errorf("an empty array at level 16: %v", err)
	}
	// In a message: at every place that is looked at.
	deep, fine := Raw(nest(17, 0x81)), Raw(nest(14, 0x81))
	p := protectedOf(t, Pair{1, ES256}, Pair{4, []byte("k")}, Pair{LabelCreatedAt, 1})
	for name, in := range map[string][]byte{
		"unprotected": build(t, 18, p, Map{{9, deep}}, []byte{}, []byte{}),
		"protected":   build(t, 18, protectedOf(t, Pair{9, deep}), Map{}, []byte{}, []byte{}),
		"payload":     build(t, 18, p, Map{}, deep, []byte{}),
	} {
		if _, err := Parse(in); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "nested") {
			t.Errorf("deep %s: %v", name, err)
		}
	}
	// Tag, array and map make three levels; thirteen are left.
	if _, err := Parse(build(t, 18, p, Map{{9, Raw(nest(13, 0x81))}}, []byte{}, []byte{})); err != nil {
		t.Errorf("13 levels in the unprotected header: %v", err)
	}
	if _, err := Parse(build(t, 18, p, Map{{9, fine}}, []byte{}, []byte{})); !errors.Is(err, ErrMalformed) {
		t.Errorf("14 levels in the unprotected header: %v", err)
	}
}

// TestAnnouncedSizes: heads that announce what cannot be there cost nothing.
func TestAnnouncedSizes(t *testing.T) {
	for name, in := range map[string][]byte{
		"array of 2^64-1": {0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"map of 2^63":     {0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"map of 2^62":     {0xbb, 0x40, 0, 0, 0, 0, 0, 0, 0},
		"bytes of 2^63":   {0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"text of 2^32":    {0x7a, 0xff, 0xff, 0xff, 0xff},
		"array of 2^32":   {0x9a, 0xff, 0xff, 0xff, 0xff, 0, 0},
	} {
		allocs := testing.AllocsPerRun(10, func() { _, _ = Decode(in) })
		if _, err := Decode(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if allocs > 20 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

// TestCutShort cuts a message at every place.
func TestCutShort(t *testing.T) {
	msg, err := Sign(newKey(t, elliptic.P256()), proposalHeader(), []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range msg {
		if _, err := Parse(msg[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
}
