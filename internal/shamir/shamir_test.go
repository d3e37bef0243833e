package shamir

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"chancery/internal/ccftest"
)

type example struct {
	name      string
	threshold int
	shares    []string
	limbs     string
	key       string
}

// examples reads every share example of the vectors.
func examples(t *testing.T) []example {
	t.Helper()
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
	var secrets struct {
		Acme struct {
			Threshold int      `json:"threshold"`
			Shares    []string `json:"decrypted_shares_hex"`
			Limbs     string   `json:"secret_limbs_le_hex"`
			Key       string   `json:"wrapping_key_hex"`
		} `json:"acme_detail"`
	}
	read("secrets.json", &secrets)
	type sevenExample struct {
		Threshold int               `json:"threshold"`
		Shares    map[string]string `json:"decrypted_shares_hex"`
		Limbs     string            `json:"combined_limbs_hex"`
		Key       string            `json:"wrapping_key_hex"`
	}
	var seven struct {
		Last    sevenExample   `json:"share_example"`
		Earlier []sevenExample `json:"share_examples_earlier"`
	}
	read("seven_service.json", &seven)

	a := secrets.Acme
	out := []example{{"acme", a.Threshold, a.Shares, a.Limbs, a.Key}}
	for i, s := range append(seven.Earlier, seven.Last) {
		e := example{name: fmt.Sprintf("seven/%d", i), threshold: s.Threshold, limbs: s.Limbs, key: s.Key}
		for _, m := range []string{"member0", "member1", "member2"} {
			e.shares = append(e.shares, s.Shares[m])
		}
		out = append(out, e)
	}
	return out
}

// TestVectors combines CCF's shares, in every order of the members, and derives
// CCF's wrapping keys.
func TestVectors(t *testing.T) {
	for _, e := range examples(t) {
		t.Run(e.name, func(t *testing.T) {
			var shares []Share
			for _, h := range e.shares {
				raw, err := hex.DecodeString(h)
				if err != nil {
					t.Fatal(err)
				}
				s, err := ParseShare(raw)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(s.Bytes(), raw) {
					t.Error("share does not encode to the bytes it came from")
				}
				shares = append(shares, s)
			}
			for range shares {
				secret, err := Combine(shares, e.threshold)
				if err != nil {
					t.Fatal(err)
				}
				full := secret.Full().Bytes()
				if got := hex.EncodeToString(full[4:]); got != e.limbs {
					t.Errorf("limbs %s, want %s", got, e.limbs)
				}
				key, err := secret.WrappingKey()
				if err != nil {
					t.Fatal(err)
				}
				if got := hex.EncodeToString(key); got != e.key {
					t.Errorf("wrapping key %s, want %s", got, e.key)
				}
				shares = append(shares[1:], shares[0])
			}
		})
	}
}

// TestSplitCombine states the property: any k distinct shares of any split give
// the secret back, and so does the full share.
func TestSplitCombine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		k := rapid.IntRange(1, n).Draw(t, "k")
		secret, err := NewSecret(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		shares, err := secret.Split(rand.Reader, k, n)
		if err != nil {
			t.Fatal(err)
		}
		some := rapid.Permutation(shares).Draw(t, "order")[:k]
		got, err := Combine(some, k)
		if err != nil {
			t.Fatal(err)
		}
		if *got != *secret {
			t.Errorf("%d of %d shares gave another secret", k, n)
		}
		full, err := Combine([]Share{secret.Full()}, k)
		if err != nil {
			t.Fatal(err)
		}
		if *full != *secret {
			t.Error("the full share gave another secret")
		}
	})
}

// TestFewerSayNothing shows, for one limb, that k-1 shares fit any secret: for
// each candidate there is a share that completes them.
func TestFewerSayNothing(t *testing.T) {
	secret, err := NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shares, err := secret.Split(rand.Reader, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	known := shares[0]
	for _, candidate := range []uint32{0, 1, 12345, prime - 1} {
		// The line through (0, candidate) and (1, y1) at x = 2.
		forged := shares[1]
		forged.Y[0] = sub(mul(2, known.Y[0]), candidate)
		got, err := Combine([]Share{known, forged}, 2)
		if err != nil {
			t.Fatal(err)
		}
		if got.limbs[0] != candidate {
			t.Errorf("limb %d, want %d", got.limbs[0], candidate)
		}
	}
}

func TestCombineRefuses(t *testing.T) {
	secret, err := NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shares, err := secret.Split(rand.Reader, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]Share{
		"none":    nil,
		"too few": shares[:2],
		"twice":   {shares[0], shares[1], shares[0]},
	} {
		if _, err := Combine(in, 3); !errors.Is(err, ErrShare) {
			t.Errorf("%s: error %v, want ErrShare", name, err)
		}
	}
	wrong := []Share{shares[0], shares[1], shares[2]}
	wrong[2].Y[9] = add(wrong[2].Y[9], 1)
	got, err := Combine(wrong, 3)
	if err != nil {
		t.Fatal(err)
	}
	if *got == *secret {
		t.Error("a changed share still gave the secret")
	}
}

func TestSplitRefuses(t *testing.T) {
	secret := new(Secret)
	for _, kn := range [][2]int{{0, 0}, {0, 1}, {2, 1}, {-1, 3}, {1, prime}} {
		if _, err := secret.Split(rand.Reader, kn[0], kn[1]); err == nil {
			t.Errorf("threshold %d of %d was accepted", kn[0], kn[1])
		}
	}
	if _, err := secret.Split(bytes.NewReader(nil), 2, 2); err == nil {
		t.Error("a split without randomness was accepted")
	}
	if _, err := NewSecret(bytes.NewReader(make([]byte, 7))); err == nil {
		t.Error("a secret without randomness was accepted")
	}
}

// TestElementRejects feeds p itself, which is no element, and then 7.
func TestElementRejects(t *testing.T) {
	v, err := element(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0x80}))
	if err != nil || v != 7 {
		t.Errorf("got %d, %v, want 7", v, err)
	}
}

// TestField compares the arithmetic with math/big.
func TestField(t *testing.T) {
	p := big.NewInt(prime)
	element := rapid.OneOf(rapid.Uint32Range(0, prime-1), rapid.SampledFrom([]uint32{0, 1, 2, prime - 1, prime - 2}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := element.Draw(t, "a"), element.Draw(t, "b")
		A, B := big.NewInt(int64(a)), big.NewInt(int64(b))
		check := func(op string, got uint32, want *big.Int) {
			want.Mod(want, p)
			if uint64(got) != want.Uint64() {
				t.Errorf("%d %s %d = %d, want %d", a, op, b, got, want)
			}
		}
		check("+", add(a, b), new(big.Int).Add(A, B))
		check("-", sub(a, b), new(big.Int).Sub(A, B))
		check("*", mul(a, b), new(big.Int).Mul(A, B))
		if a != 0 {
			check("inverse", inverse(a), new(big.Int).ModInverse(A, p))
		}
	})
}

func TestParseShareRefuses(t *testing.T) {
	ok := Share{X: 1}.Bytes()
	limb := bytes.Clone(ok)
	copy(limb[40:], []byte{0xff, 0xff, 0xff, 0x7f}) // p in the last limb
	index := bytes.Clone(ok)
	copy(index, []byte{0xff, 0xff, 0xff, 0xff})
	for name, in := range map[string][]byte{
		"empty": nil, "short": ok[:43], "long": append(bytes.Clone(ok), 0), "limb": limb, "index": index,
	} {
		if _, err := ParseShare(in); !errors.Is(err, ErrShare) {
			t.Errorf("%s: error %v, want ErrShare", name, err)
		}
	}
}

// TestRedaction formats secrets in every way and looks for their numbers.
func TestRedaction(t *testing.T) {
	s := &Secret{limbs: [Limbs]uint32{424242}}
	share := s.Full()
	for _, v := range []any{s, *s, share, &share, []Share{share}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			if out := fmt.Sprintf(verb, v); bytes.Contains([]byte(out), []byte("424242")) || bytes.Contains([]byte(out), []byte("67932")) {
				t.Errorf("%s of %T shows the secret: %s", verb, v, out)
			}
		}
	}
	s.Wipe()
	share.Wipe()
	if *s != (Secret{}) || share != (Share{}) {
		t.Error("Wipe left something")
	}
}

func FuzzParseShare(f *testing.F) {
	f.Add(Share{X: 3}.Bytes())
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseShare(b)
		if err == nil && !bytes.Equal(s.Bytes(), b) {
			t.Error("accepted share encodes differently")
		}
	})
}
