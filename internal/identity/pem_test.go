package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
)

func block1(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

// TestKeyFormats reads each of our keys in each form that tools write it in.
func TestKeyFormats(t *testing.T) {
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key := mustKey(t, c)
		ours, err := PrivateKeyPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		sec1, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{
			"PKCS #8":               ours,
			"SEC 1":                 block1("EC PRIVATE KEY", sec1),
			"SEC 1 with parameters": append(block1("EC PARAMETERS", []byte{6, 0}), block1("EC PRIVATE KEY", sec1)...),
			"CRLF and blanks":       append([]byte("\r\n  "), bytes.ReplaceAll(ours, []byte("\n"), []byte("\r\n"))...),
		} {
			got, err := ParseECPrivateKey(text)
			if err != nil || !got.Equal(key) {
				t.Errorf("%s on %s: %v", name, c.Params().Name, err)
			}
			if _, err := ParseRSAPrivateKey(text); !errors.Is(err, ErrPEM) {
				t.Errorf("%s as RSA: %v", name, err)
			}
		}
		pub, err := PublicKeyPEM(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseECPublicKey(pub); err != nil || !got.Equal(&key.PublicKey) {
			t.Errorf("public key on %s: %v", c.Params().Name, err)
		}
		if _, err := ParseECPublicKey(append(bytes.Clone(pub), '\n', 0)); err != nil {
			t.Errorf("a public key as a C string: %v", err)
		}
		if _, err := ParseRSAPublicKey(pub); !errors.Is(err, ErrPEM) {
			t.Errorf("elliptic public key as RSA: %v", err)
		}
	}
	key, err := GenerateEncryptionKey()
	if err != nil {
		t.Fatal(err)
	}
	if key.N.BitLen() != 2048 || key.E != 65537 {
		t.Errorf("RSA key of %d bits, e = %d", key.N.BitLen(), key.E)
	}
	ours, err := PrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"PKCS #8": ours,
		"PKCS #1": block1("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
	} {
		if got, err := ParseRSAPrivateKey(text); err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ParseECPrivateKey(text); !errors.Is(err, ErrPEM) {
			t.Errorf("%s as elliptic: %v", name, err)
		}
	}
	pub, err := PublicKeyPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseRSAPublicKey(pub); err != nil || !got.Equal(&key.PublicKey) {
		t.Errorf("RSA public key: %v", err)
	}
	if _, err := ParseECPublicKey(pub); !errors.Is(err, ErrPEM) {
		t.Errorf("RSA public key as elliptic: %v", err)
	}
}

// TestPEMRefuses gives every parser everything that it must refuse.
func TestPEMRefuses(t *testing.T) {
	key := mustKey(t, elliptic.P384())
	private, err := PrivateKeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := PrivateKeyPEM(p224)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards, err := PrivateKeyPEM(ed)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"empty":              nil,
		"text":               []byte("not PEM"),
		"text before":        append([]byte("x\n"), private...),
		"text after":         append(bytes.Clone(private), 'x'),
		"two keys":           append(bytes.Clone(private), private...),
		"headers":            bytes.Replace(private, []byte("-----\n"), []byte("-----\nProc-Type: 4,ENCRYPTED\n\n"), 1),
		"unknown type":       block1("OPENSSH PRIVATE KEY", []byte{1}),
		"junk inside":        block1("PRIVATE KEY", []byte("junk")),
		"cut":                private[:len(private)-10],
		"broken block first": append([]byte("-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n"), private...),
		"P-224":              small,
		"Ed25519":            edwards,
		"too long":           make([]byte, maxPEM+1),
	} {
		if _, err := ParseECPrivateKey(text); !errors.Is(err, ErrPEM) {
			t.Errorf("private key, %s: %v", name, err)
		}
		if _, err := ParseRSAPrivateKey(text); !errors.Is(err, ErrPEM) {
			t.Errorf("RSA private key, %s: %v", name, err)
		}
		if _, err := ParseECPublicKey(text); err == nil {
			t.Errorf("public key, %s: accepted", name)
		}
		if _, err := ParseCertificates(text); err == nil {
			t.Errorf("certificates, %s: accepted", name)
		}
		if _, err := ParseRequest(text); err == nil {
			t.Errorf("request, %s: accepted", name)
		}
	}
}

// TestErrorsQuoteNothing: what is wrong with a key never shows the key.
func TestErrorsQuoteNothing(t *testing.T) {
	private, err := PrivateKeyPEM(mustKey(t, elliptic.P384()))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(private, []byte("\n"))
	for _, text := range [][]byte{private[1:], private[:len(private)-4], bytes.ReplaceAll(private, []byte("PRIVATE"), []byte("SECRET"))} {
		if _, err := ParseECPrivateKey(text); err == nil || bytes.Contains([]byte(err.Error()), lines[1][:16]) {
			t.Errorf("error %v", err)
		}
	}
}

func TestParseCertificates(t *testing.T) {
	_, a := newService(t, elliptic.P256())
	_, b := newService(t, elliptic.P256())
	commented := append([]byte("# first\n"), CertificatePEM(a.Raw)...)
	commented = append(append(commented, "\nsecond: ----- BEGIN\n"...), CertificatePEM(b.Raw)...)
	if got, err := ParseCertificates(append(commented, "the end"...)); err != nil || len(got) != 2 || !got[1].Equal(b) {
		t.Errorf("bundle with comments: %d, %v", len(got), err)
	}
	broken := bytes.Replace(commented, []byte("MII"), []byte("!!!"), 1)
	if _, err := ParseCertificates(broken); !errors.Is(err, ErrPEM) {
		t.Errorf("bundle with a broken block: %v", err)
	}
	if got, err := ParseCertificate(append([]byte("Certificate:\n    Data:\n"), CertificatePEM(a.Raw)...)); err != nil || !got.Equal(a) {
		t.Errorf("certificate below its text: %v", err)
	}
	bundle := append(CertificatePEM(a.Raw), CertificatePEM(b.Raw)...)
	got, err := ParseCertificates(bundle)
	if err != nil || len(got) != 2 || !got[0].Equal(a) || !got[1].Equal(b) {
		t.Errorf("bundle of two: %d, %v", len(got), err)
	}
	if _, err := ParseCertificate(bundle); !errors.Is(err, ErrPEM) {
		t.Errorf("two where one is wanted: %v", err)
	}
	if _, err := ParseCertificates(append(bundle, block1("PUBLIC KEY", []byte{1})...)); !errors.Is(err, ErrPEM) {
		t.Errorf("a key in a bundle: %v", err)
	}
}

// FuzzPEM: no parser panics, and what one accepts the other family refuses.
func FuzzPEM(f *testing.F) {
	key := mustKey(f, elliptic.P256())
	private, err := PrivateKeyPEM(key)
	if err != nil {
		f.Fatal(err)
	}
	public, err := PublicKeyPEM(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	_, cert := newService(f, elliptic.P256())
	subject := mustSubject(f, "CN=CCF Node")
	csr, err := NewRequest(key, subject, mustNames(f, "dNSName:a"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{private, public, CertificatePEM(cert.Raw), csr, nil, []byte("-----BEGIN ")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, ec := ParseECPrivateKey(b)
		_, rsa := ParseRSAPrivateKey(b)
		_, ecPub := ParseECPublicKey(b)
		_, rsaPub := ParseRSAPublicKey(b)
		if ec == nil && rsa == nil || ecPub == nil && rsaPub == nil {
			t.Error("one text is a key of two families")
		}
		if c, err := ParseCertificate(b); err == nil {
			_, _ = CertificateKey(c)
			_ = IssuedBy(c, c)
		}
		_, _ = ParseRequest(b)
	})
}
