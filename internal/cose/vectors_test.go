package cose

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"chancery/internal/ccftest"
)

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func certificate(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode(text)
	if b == nil {
		t.Fatal("no PEM")
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readCertificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return certificate(t, b)
}

type receipt struct {
	TxID        string `json:"txid"`
	Root        string `json:"root"`
	COSE        string `json:"cose_receipt_hex"`
	ServicePEM  string `json:"service_cert"` // seven_service: a file name
	Proof       string `json:"inclusion_proof_hex"`
	fromService *x509.Certificate
}

// receipts returns every COSE receipt of the vectors with its service.
func receipts(t *testing.T) []receipt {
	t.Helper()
	dir := ccftest.Vectors(t)
	var old map[string][]receipt
	readJSON(t, filepath.Join(dir, "receipts.json"), &old)
	var seven struct{ Receipts []receipt }
	readJSON(t, filepath.Join(dir, "seven_service.json"), &seven)
	var out []receipt
	for _, list := range old {
		for _, r := range list {
			if r.COSE != "" {
				r.fromService = certificate(t, []byte(r.ServicePEM))
				out = append(out, r)
			}
		}
	}
	for _, r := range seven.Receipts {
		if r.COSE != "" {
			r.fromService = readCertificate(t, filepath.Join(dir, "seven_service", "common", r.ServicePEM))
			out = append(out, r)
		}
	}
	return out
}

// TestReceiptVectors verifies the signature of every COSE receipt over its root
// and finds kid, vds and the proof where the formats say.
func TestReceiptVectors(t *testing.T) {
	all := receipts(t)
	if len(all) < 10 {
		t.Fatalf("only %d receipts", len(all))
	}
	for _, r := range all {
		raw := unhex(t, r.COSE)
		s, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", r.TxID, err)
			continue
		}
		if err := s.VerifyDetached(r.fromService.PublicKey, unhex(t, r.Root)); err != nil {
			t.Errorf("%s: %v", r.TxID, err)
		}
		if err := s.VerifyDetached(r.fromService.PublicKey, make([]byte, 32)); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s: another root: %v", r.TxID, err)
		}
		if !bytes.Equal(s.Encode(), raw) {
			t.Errorf("%s: encodes differently", r.TxID)
		}
		if kid := sha256.Sum256(r.fromService.RawSubjectPublicKeyInfo); s.Header.KID != hex.EncodeToString(kid[:]) {
			t.Errorf("%s: kid %s", r.TxID, s.Header.KID)
		}
		m, err := DecodeMap(s.Protected)
		if err != nil {
			t.Fatal(err)
		}
		if vds, _ := m.Get(395); vds != int64(2) {
			t.Errorf("%s: vds %v", r.TxID, vds)
		}
		again, err := Encode(m)
		if err != nil || !bytes.Equal(again, s.Protected) {
			t.Errorf("%s: protected map does not survive decoding and encoding", r.TxID)
		}
		checkProof(t, r, s)
	}
}

func checkProof(t *testing.T, r receipt, s *Sign1) {
	t.Helper()
	u, err := DecodeMap(s.Unprotected)
	if err != nil {
		t.Fatal(err)
	}
	vdp, _ := u.Get(396)
	proofs, _ := vdp.(Map).Get(-1)
	proof, ok := proofs.(Array)[0].([]byte)
	if !ok || r.Proof != "" && hex.EncodeToString(proof) != r.Proof {
		t.Errorf("%s: proof %x", r.TxID, proof)
	}
	if _, err := DecodeMap(proof); err != nil {
		t.Errorf("%s: proof: %v", r.TxID, err)
	}
}

// TestEndorsementVectors verifies the COSE identity endorsements, whose payload
// is attached and whose header has no kid.
func TestEndorsementVectors(t *testing.T) {
	var seven struct {
		Endorsements []struct {
			Endorsement  []byte
			EndorsingKey []byte `json:"endorsing_key"`
			Decoded      struct {
				Key string `json:"endorsed_key_spki_hex"`
			}
		}
	}
	readJSON(t, filepath.Join(ccftest.Vectors(t), "seven_service.json"), &seven)
	if len(seven.Endorsements) == 0 {
		t.Fatal("no endorsements")
	}
	for i, e := range seven.Endorsements {
		s, err := Parse(e.Endorsement)
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.ParsePKIXPublicKey(e.EndorsingKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(key); err != nil {
			t.Errorf("endorsement %d: %v", i, err)
		}
		if hex.EncodeToString(s.Payload) != e.Decoded.Key {
			t.Errorf("endorsement %d: payload %x", i, s.Payload)
		}
		if _, err := ParseMember(e.Endorsement); !errors.Is(err, ErrMalformed) {
			t.Errorf("endorsement %d as a member's message: %v", i, err)
		}
	}
}

// base64COSE finds base64 text that starts a tagged COSE_Sign1.
var base64COSE = regexp.MustCompile(`0oRY[A-Za-z0-9+/]{200,}={0,2}`)

// TestHistoryVectors finds the governance messages that CCF stored in its
// ledgers and verifies each with its member's certificate.
func TestHistoryVectors(t *testing.T) {
	dir := ccftest.Vectors(t)
	for _, service := range []string{"acme_containing_service", "double_sealed_service", "seven_service"} {
		t.Run(service, func(t *testing.T) {
			keys := memberKeys(t, filepath.Join(dir, service, "common"))
			files, err := filepath.Glob(filepath.Join(dir, service, "ledger*", "ledger_*"))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				for _, text := range base64COSE.FindAll(b, -1) {
					n += checkHistory(t, text, keys)
				}
			}
			if n < 5 {
				t.Errorf("only %d governance messages found", n)
			}
		})
	}
}

func memberKeys(t *testing.T, dir string) map[string]crypto.PublicKey {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "member*_cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]crypto.PublicKey)
	for _, f := range files {
		c := readCertificate(t, f)
		id := sha256.Sum256(c.Raw)
		keys[hex.EncodeToString(id[:])] = c.PublicKey
	}
	return keys
}

// checkHistory returns 1 if text is a governance message, all of which must
// verify. Others are ledger signatures and endorsements.
func checkHistory(t *testing.T, text []byte, keys map[string]crypto.PublicKey) int {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return 0
	}
	s, err := Parse(raw)
	if err != nil {
		t.Errorf("stored message: %v", err)
		return 0
	}
	if s.Header.MsgType == nil {
		return 0
	}
	s, err = ParseMember(raw)
	if err != nil {
		t.Errorf("stored message: %v", err)
		return 0
	}
	pub, ok := keys[s.Header.KID]
	if !ok {
		t.Errorf("no member %s", s.Header.KID)
		return 0
	}
	if err := s.Verify(pub); err != nil {
		t.Errorf("%s of %s: %v", *s.Header.MsgType, s.Header.KID, err)
	}
	if !bytes.Equal(s.Encode(), raw) {
		t.Error("message encodes differently")
	}
	return 1
}
