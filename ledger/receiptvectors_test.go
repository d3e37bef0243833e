package ledger

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/ccftest"
)

// receiptVector is one receipt of the vectors, in the shape of receipts.json;
// seven_service.json names the service certificate by file.
type receiptVector struct {
	TxID        string          `json:"txid"`
	Kind        string          `json:"kind"`
	Written     int             `json:"written_in_life"`
	Served      int             `json:"served_in_life"`
	JSON        json.RawMessage `json:"json_receipt"`
	ServiceCert string          `json:"service_cert"`
	ServedBy    string          `json:"served_by_service_cert"`
	Root        string          `json:"root"`
	Leaf        string          `json:"leaf"`
	COSE        string          `json:"cose_receipt_hex"`
	Claims      string          `json:"claims_digest"`
}

// vectorFile returns the path of a file of the vectors beside the repository,
// and skips the test where they are not there.
func vectorFile(t testing.TB, name ...string) string {
	t.Helper()
	return filepath.Join(append([]string{ccftest.Vectors(t)}, name...)...)
}

func readVector(t testing.TB, out any, name ...string) {
	t.Helper()
	data, err := os.ReadFile(vectorFile(t, name...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
}

// receiptVectors returns every receipt of the vectors by a name for subtests.
func receiptVectors(t testing.TB) map[string]receiptVector {
	t.Helper()
	all := map[string]receiptVector{}
	var old map[string][]receiptVector
	readVector(t, &old, "receipts.json")
	for service, list := range old {
		for i, v := range list {
			all[vectorName(service, v, i)] = v
		}
	}
	var seven struct {
		Receipts []receiptVector `json:"receipts"`
	}
	readVector(t, &seven, "seven_service.json")
	for i, v := range seven.Receipts {
		v.ServiceCert = readPEM(t, "seven_service", "common", v.ServiceCert)
		v.ServedBy = readPEM(t, "seven_service", "common", v.ServedBy)
		all[vectorName("seven_service", v, i)] = v
	}
	return all
}

func vectorName(service string, v receiptVector, i int) string {
	return strings.TrimSuffix(service, "_service") + "/" + v.TxID + "#" + string(rune('a'+i/26)) + string(rune('a'+i%26))
}

func readPEM(t testing.TB, name ...string) string {
	t.Helper()
	data, err := os.ReadFile(vectorFile(t, name...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// service returns the certificate that the JSON receipt must lead to.
func (v receiptVector) service(t testing.TB) *x509.Certificate {
	t.Helper()
	text := v.ServedBy
	if text == "" {
		text = v.ServiceCert
	}
	return mustCert(t, text)
}

func mustCert(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	cert, err := parsePEMCert(text)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// bytesAsServed returns the JSON receipt in the form of CCF's encoder: compact
// and with sorted keys. (The vector file holds it re-indented.)
func (v receiptVector) bytesAsServed(t testing.TB) []byte {
	t.Helper()
	var any map[string]any
	if err := json.Unmarshal(v.JSON, &any); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(any); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustTxID(t testing.TB, s string) TxID {
	t.Helper()
	id, err := ParseTxID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
