package sgx

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"chancery/attest"
)

// fakeRuntime stands for EGo in an enclave.
type fakeRuntime struct {
	report
	zero bool
	err  error
}

func (f *fakeRuntime) self() (report, error) { return f.report, f.err }
func (f *fakeRuntime) quote(data []byte) ([]byte, error) {
	return append([]byte("quote of "), data...), f.err
}
func (f *fakeRuntime) uniqueKey() (key, i []byte, e error) {
	key, e = f.key([]byte{7})
	return key, []byte{7}, e
}

func (f *fakeRuntime) verify(quote []byte) (report, error) {
	r := f.report
	r.data = append(bytes.Clone(quote[len("quote of "):]), make([]byte, 32)...)
	return r, f.err
}

func (f *fakeRuntime) key(info []byte) ([]byte, error) {
	if f.zero {
		return make([]byte, 16), f.err
	}
	return bytes.Repeat(info, 16), f.err
}

func good() *fakeRuntime {
	return &fakeRuntime{report: report{uniqueID: bytes.Repeat([]byte{3}, 32), current: true, status: "up to date"}}
}

var key = [32]byte{5}

// TestEnclave makes evidence, verifies it, and seals.
func TestEnclave(t *testing.T) {
	rt := good()
	e, err := open(rt)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := e.Issue(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := Verifier{rt}.Verify(t.Context(), evidence)
	if err != nil || claims.ReportData != key || claims.Measurement != strings.Repeat("03", 32) || claims.Format != attest.FormatSGX {
		t.Errorf("%+v, %v", claims, err)
	}
	version, err := e.Version()
	if err != nil {
		t.Fatal(err)
	}
	first, err := e.SealingKey(version)
	if err != nil || len(first) != 32 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	again, err := e.SealingKey(version)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the key does not come again: %v", err)
	}
	rt.uniqueID = bytes.Repeat([]byte{4}, 32)
	other, err := open(rt)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := other.SealingKey(version); err != nil || bytes.Equal(first, theirs) {
		t.Errorf("other code has the same key: %v", err)
	}
	for _, bad := range []string{"", "x", "0"} {
		if k, err := e.SealingKey(bad); err == nil {
			t.Errorf("%q names a key %x", bad, k)
		}
	}
	rt.zero = true
	if k, err := e.SealingKey(version); !errors.Is(err, errZeroKey) || k != nil {
		t.Errorf("a key of zeros is used: %v", err)
	}
	if _, err := e.Version(); !errors.Is(err, errZeroKey) {
		t.Errorf("a key of zeros is named: %v", err)
	}
}

// TestRefusals: no enclave, or one that protects nothing, and evidence of such.
func TestRefusals(t *testing.T) {
	e, err := open(good())
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := e.Issue(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(f *fakeRuntime)
		open bool // refused to begin with
	}{
		"unsupported": {func(f *fakeRuntime) { f.err = errors.New("OE_UNSUPPORTED") }, true},
		"debug":       {func(f *fakeRuntime) { f.debug = true }, true},
		"simulated":   {func(f *fakeRuntime) { f.uniqueID = nil }, true},
		"out of date": {func(f *fakeRuntime) { f.current, f.status = false, "out of date" }, false},
	} {
		rt := good()
		c.edit(rt)
		if _, err := open(rt); (err != nil) != c.open {
			t.Errorf("%s: opening it: %v", name, err)
		}
		if claims, err := (Verifier{rt}).Verify(t.Context(), evidence); !errors.Is(err, attest.ErrNotGenuine) || claims.Measurement != "" {
			t.Errorf("%s: %+v, %v", name, claims, err)
		}
	}
	for _, quote := range [][]byte{nil, make([]byte, maxQuote+1)} {
		if _, err := (Verifier{good()}).Verify(t.Context(), attest.Evidence{Format: attest.FormatSGX, Quote: quote}); !errors.Is(err, attest.ErrNotGenuine) {
			t.Errorf("a quote of %d bytes: %v", len(quote), err)
		}
	}
}

// TestOutside: this program runs in no enclave, built with EGo or not. It says so, and
// neither makes evidence, nor believes any, nor seals.
func TestOutside(t *testing.T) {
	if e, err := Open(); err == nil {
		t.Fatalf("this machine has an enclave: %x", e.Measurement())
	} else {
		t.Log(err)
	}
	_, findings := Verifier{}.Explain(attest.Evidence{Format: attest.FormatSGX, Quote: []byte("quote of nobody")})
	if err := attest.Failed(findings); !errors.Is(err, attest.ErrNotGenuine) {
		t.Errorf("evidence is believed: %v", err)
	} else {
		t.Log(err)
	}
	if rt, err := ego(); err == nil {
		if _, err := (&Enclave{rt: rt}).Version(); err == nil {
			t.Error("EGo names a sealing key outside of an enclave")
		}
		if _, err := (&Enclave{rt: rt}).SealingKey("07"); err == nil {
			t.Error("EGo seals outside of an enclave")
		}
	}
}
