package virtual

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"chancery/attest"
	"chancery/internal/ccftest"
)

// TestIssueVerify: what is issued is read back, and its text is CCF's.
func TestIssueVerify(t *testing.T) {
	host, report := sha256.Sum256([]byte("binary")), sha256.Sum256([]byte("key"))
	e, err := NewIssuer(host).Issue(t.Context(), report)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"host_data":"` + hex.EncodeToString(host[:]) +
		`","measurement":"Insecure hard-coded virtual measurement v1","report_data":"` +
		base64.StdEncoding.EncodeToString(report[:]) + `"}`
	if string(e.Quote) != want {
		t.Errorf("quote %s, want %s", e.Quote, want)
	}
	c, err := Verifier{}.Verify(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if c.HostData != host || c.ReportData != report || c.Measurement != Measurement || c.Format != attest.FormatVirtual {
		t.Errorf("claims %+v", c)
	}
}

// TestVerifyRefuses names each way in which a quote is none.
func TestVerifyRefuses(t *testing.T) {
	hex32 := `"` + hex.EncodeToString(make([]byte, 32)) + `"`
	b64 := `"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"`
	text := func(host, report string) string {
		return `{"host_data":` + host + `,"measurement":"m","report_data":` + report + `}`
	}
	good := text(hex32, b64)
	if _, err := (Verifier{}).Verify(t.Context(), attest.Evidence{Format: attest.FormatVirtual, Quote: []byte(good)}); err != nil {
		t.Fatal(err)
	}
	for name, quote := range map[string]string{
		"empty":              "",
		"not JSON":           "quote",
		"array":              "[]",
		"null":               "null",
		"two values":         good + good,
		"unknown field":      `{"x":1}`,
		"no host data":       text(`""`, b64),
		"host data not hex":  text(`"zz"`, b64),
		"short host data":    text(`"00"`, b64),
		"long host data":     text(hex32[:65]+`00"`, b64),
		"host data a number": text(`1`, b64),
		"short report data":  text(hex32, `"AA=="`),
		"no report data":     text(hex32, `null`),
		"huge":               good + string(bytes.Repeat([]byte(" "), maxQuote)),
	} {
		e := attest.Evidence{Format: attest.FormatVirtual, Quote: []byte(quote)}
		if c, err := (Verifier{}).Verify(t.Context(), e); !errors.Is(err, attest.ErrNotGenuine) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := (Verifier{}).Verify(t.Context(), attest.Evidence{Format: attest.FormatSNP, Quote: []byte(good)}); !errors.Is(err, attest.ErrNotGenuine) {
		t.Errorf("another format: %v", err)
	}
}

// TestBinaryDigest hashes this very test.
func TestBinaryDigest(t *testing.T) {
	got, err := BinaryDigest()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if got != sha256.Sum256(b) {
		t.Error("not the digest of this binary")
	}
}

// TestVectors reads the virtual quotes that CCF nodes put into their ledgers.
func TestVectors(t *testing.T) {
	dir := ccftest.Vectors(t)
	quotes := regexp.MustCompile(`"format":"Insecure_Virtual","quote":"([A-Za-z0-9+/=]+)"`)
	files, err := filepath.Glob(filepath.Join(dir, "*_service", "ledger*", "ledger_1-*"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quotes.FindAllSubmatch(b, -1) {
			raw, err := base64.StdEncoding.DecodeString(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			e := attest.Evidence{Format: attest.FormatVirtual, Quote: raw}
			c, err := Verifier{}.Verify(t.Context(), e)
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(filepath.Dir(filepath.Dir(f))), err)
				continue
			}
			again, err := NewIssuer(c.HostData).Issue(t.Context(), c.ReportData)
			if err != nil || !bytes.Equal(again.Quote, raw) {
				t.Errorf("issued %s, CCF wrote %s", again.Quote, raw)
			}
			n++
		}
	}
	if n == 0 {
		t.Error("no virtual quotes found")
	}
}

func FuzzVerify(f *testing.F) {
	e, err := NewIssuer([32]byte{1}).Issue(f.Context(), [32]byte{2})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.Quote)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, quote []byte) {
		_, err := Verifier{}.Verify(t.Context(), attest.Evidence{Format: attest.FormatVirtual, Quote: quote})
		if err != nil && !errors.Is(err, attest.ErrNotGenuine) {
			t.Errorf("error %v is not ErrNotGenuine", err)
		}
	})
}
