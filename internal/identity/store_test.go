package identity

import (
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/ccftest"
	"chancery/internal/durable"
)

// TestParticipantFiles writes a member's files as the key generator does, with
// modes, and reads them back.
func TestParticipantFiles(t *testing.T) {
	dir := t.TempDir()
	p, err := NewParticipant("member0", elliptic.P384(), time.Now(), 90, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Save(durable.OS(), dir, "member0"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{
		"member0_cert.pem": 0o644, "member0_enc_pubk.pem": 0o644,
		"member0_privk.pem": 0o600, "member0_enc_privk.pem": 0o600,
	}
	if len(entries) != len(want) {
		t.Errorf("%d files", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want[e.Name()] {
			t.Errorf("%s has mode %o, want %o", e.Name(), info.Mode().Perm(), want[e.Name()])
		}
	}
	key, err := ReadECKey(durable.OS(), filepath.Join(dir, "member0_privk.pem"))
	if err != nil || !key.Equal(p.Key) {
		t.Errorf("private key: %v", err)
	}
	enc, err := ReadRSAKey(durable.OS(), filepath.Join(dir, "member0_enc_privk.pem"))
	if err != nil || !enc.Equal(p.Encryption) {
		t.Errorf("encryption key: %v", err)
	}
	if _, err := ReadECKey(durable.OS(), filepath.Join(dir, "member0_enc_privk.pem")); !errors.Is(err, ErrPEM) {
		t.Errorf("RSA key as elliptic: %v", err)
	}
	if _, err := ReadECKey(durable.OS(), filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent key: %v", err)
	}
	cert := mustCert(t, p.Cert, nil)
	if p.ID != CertID(cert.Raw) || len(p.ID) != 64 || strings.ToLower(p.ID) != p.ID {
		t.Errorf("id %s", p.ID)
	}
}

// TestParticipantRefuses: names and curves that cannot be.
func TestParticipantRefuses(t *testing.T) {
	if _, err := NewParticipant("a,b", elliptic.P384(), start, 0, false); err == nil {
		t.Error("a name with a comma was accepted")
	}
	if _, err := NewParticipant("", elliptic.P384(), start, 0, false); err == nil {
		t.Error("an empty name was accepted")
	}
	if _, err := NewParticipant("a", elliptic.P224(), start, 0, false); err == nil {
		t.Error("P-224 was accepted")
	}
	if _, err := NewParticipant("a", elliptic.P384(), start, -1, false); err == nil {
		t.Error("negative days were accepted")
	}
}

// TestIDs compares ids with those that CCF gave the same certificates.
func TestIDs(t *testing.T) {
	dir := ccftest.Vectors(t)
	b, err := os.ReadFile(filepath.Join(dir, "seven_service", "common", "member0_cert.pem"))
	member := mustCert(t, b, err)
	if got, want := CertID(member.Raw), "b5b4487d503444c49d571330ded8d8257ef61f97217aa1d970d3413a70397fa7"; got != want {
		t.Errorf("member id %s, want %s", got, want)
	}
	// The service's kid stands in its receipts.
	b, err = os.ReadFile(filepath.Join(dir, "seven_service", "common", "service_cert_0.pem"))
	id, err := KeyID(mustCert(t, b, err).PublicKey)
	if want := "8558065fba042400732f97ea7c9f8e0e7c917dbecaf2e2a1d2f1f4dbc60ce2ef"; err != nil || id != want {
		t.Errorf("key id %s, %v, want %s", id, err, want)
	}
	key := mustKey(t, elliptic.P384())
	digest, err := KeyDigest(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := KeyID(&key.PublicKey); err != nil || id != hex.EncodeToString(digest[:]) {
		t.Errorf("KeyID and KeyDigest differ: %v", err)
	}
	if _, err := KeyID("no key"); err == nil {
		t.Error("a string has an id")
	}
}
