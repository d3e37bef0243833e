package js

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chancery/kv"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKWPVectors are the examples of RFC 5649 section 6.
func TestKWPVectors(t *testing.T) {
	kek := unhex(t, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
	for _, v := range []struct{ plain, wrapped string }{
		{"c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	} {
		plain, wrapped := unhex(t, v.plain), unhex(t, v.wrapped)
		got, err := kwpWrap(kek, plain)
		if err != nil || !bytes.Equal(got, wrapped) {
			t.Errorf("wrap: %x, %v; want %x", got, err, wrapped)
		}
		back, err := kwpUnwrap(kek, wrapped)
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("unwrap: %x, %v; want %x", back, err, plain)
		}
	}
}

// TestKWPDamage: what is not exactly a wrapped key is refused.
func TestKWPDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kek := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "kek")
		plain := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "plain")
		wrapped, err := kwpWrap(kek, plain)
		if err != nil {
			t.Fatal(err)
		}
		back, err := kwpUnwrap(kek, wrapped)
		if err != nil || !bytes.Equal(back, plain) {
			t.Fatalf("unwrap: %x, %v", back, err)
		}
		i := rapid.IntRange(0, 8*len(wrapped)-1).Draw(t, "bit")
		wrapped[i/8] ^= 1 << (i % 8)
		if _, err := kwpUnwrap(kek, wrapped); err == nil {
			t.Fatalf("accepted with bit %d flipped", i)
		}
	})
}

// TestPSSUnsalted: our signatures verify under crypto/rsa, which takes any salt, and
// ours verifies no signature with a salt.
func TestPSSUnsalted(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("data"))
	sig, err := signPSSUnsalted(k, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPSS(&k.PublicKey, crypto.SHA256, digest[:], sig, nil); err != nil {
		t.Errorf("crypto/rsa refuses our signature: %v", err)
	}
	if !verifyPSSUnsalted(&k.PublicKey, crypto.SHA256, digest[:], sig) {
		t.Error("our own signature does not verify")
	}
	salted, err := rsa.SignPSS(rand.Reader, k, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	if verifyPSSUnsalted(&k.PublicKey, crypto.SHA256, digest[:], salted) {
		t.Error("a salted signature verifies as unsalted")
	}
	for i := range sig {
		bad := bytes.Clone(sig)
		bad[i] ^= 0x40
		if verifyPSSUnsalted(&k.PublicKey, crypto.SHA256, digest[:], bad) {
			t.Errorf("verifies with byte %d changed", i)
		}
	}
}

func TestGenerateRSA(t *testing.T) {
	for _, c := range []struct {
		bits int
		e    int64
	}{{1024, 3}, {2048, 65537}, {1536, 17}} {
		k := generateRSA(c.bits, c.e, func() {})
		if err := k.Validate(); err != nil || k.N.BitLen() != c.bits || int64(k.E) != c.e {
			t.Errorf("%d bits, exponent %d: %d bits, exponent %d, %v", c.bits, c.e, k.N.BitLen(), k.E, err)
		}
	}
}

// TestSignedByJS: signatures of ccf.crypto.sign verify with the standard library.
func TestSignedByJS(t *testing.T) {
	v, err := call(t, Env{}, `export function f() {
		const c = ccf.crypto, data = ccf.strToBuf("data"), ec = c.generateEcdsaKeyPair("secp384r1"), rsa = c.generateRsaKeyPair(2048);
		return { ecKey: ec.publicKey, ec: c.sign({name: "ECDSA", hash: "SHA-384"}, ec.privateKey, data),
			rsaKey: rsa.publicKey, pss: c.sign({name: "RSA-PSS", hash: "SHA-512", saltLength: 20}, rsa.privateKey, data) };
	}`, "f")
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) string { s, _ := v.Field(name).Text(); return s }
	ec, err := ecPublic(field("ecKey"))
	if err != nil {
		t.Fatal(err)
	}
	sig, _ := v.Field("ec").Bytes()
	r, s := new(big.Int).SetBytes(sig[:48]), new(big.Int).SetBytes(sig[48:])
	if !ecdsa.Verify(ec, sum(crypto.SHA384, []byte("data")), r, s) {
		t.Error("ECDSA signature does not verify")
	}
	k, err := rsaPublic(field("rsaKey"))
	if err != nil {
		t.Fatal(err)
	}
	sig, _ = v.Field("pss").Bytes()
	if err := rsa.VerifyPSS(k, crypto.SHA512, sum(crypto.SHA512, []byte("data")), sig, &rsa.PSSOptions{SaltLength: 20}); err != nil {
		t.Errorf("RSA-PSS: %v", err)
	}
}

// certificate makes a certificate, self-signed where parent is nil.
func certificate(t *testing.T, name string, ca bool, parent *x509.Certificate, signer *ecdsa.PrivateKey, from time.Time) (string, *x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: from.Add(time.Hour), IsCA: ca, BasicConstraintsValid: true}
	if parent == nil {
		parent, signer = tmpl, k
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &k.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), cert, k
}

func TestCertificateChain(t *testing.T) {
	now := time.Now()
	root, rootCert, rootKey := certificate(t, "root", true, nil, nil, now.Add(-time.Minute))
	other, _, _ := certificate(t, "other", true, nil, nil, now.Add(-time.Minute))
	middle, middleCert, middleKey := certificate(t, "middle", true, rootCert, rootKey, now.Add(-time.Minute))
	leaf, _, _ := certificate(t, "leaf", false, middleCert, middleKey, now.Add(-time.Minute))
	self, _, _ := certificate(t, "self", false, nil, nil, now.Add(-time.Minute))
	late, _, _ := certificate(t, "late", false, nil, nil, now.Add(time.Hour))
	for _, c := range []struct {
		name, chain, trusted string
		want                 bool
	}{
		{"whole chain", leaf + middle, root, true},
		{"root in the chain", leaf + middle + root, root, true},
		{"middle missing", leaf, root, false},
		{"wrong root", leaf + middle, other, false},
		{"several roots", leaf + middle, other + root, true},
		{"self-signed", self, self, true},
		{"self-signed, not trusted", self, root, false},
		{"not valid yet", late, late, false},
		{"no chain", "", root, false},
		{"junk", "x", root, false},
		{"no roots", leaf + middle, "", false},
	} {
		if err := verifyChain(c.chain, c.trusted, now); (err == nil) != c.want {
			t.Errorf("%s: %v, want valid = %t", c.name, err, c.want)
		}
	}
	if certs, err := parseBundle(root + "text between\n" + other); err != nil || len(certs) != 2 {
		t.Errorf("bundle: %d certificates, %v", len(certs), err)
	}
	key, _ := marshalPrivate(rootKey)
	if _, err := parseBundle(root + key); err == nil {
		t.Error("a bundle with a private key is accepted")
	}
}

// TestCertsProbe asks the probe's questions about certificates, with one of our own.
func TestCertsProbe(t *testing.T) {
	pem, _, _ := certificate(t, "user0", false, nil, nil, time.Now().Add(-time.Minute))
	want, ok := answers(t)["certs"]
	if !ok {
		t.Skip("SKIPPED: no answer on record")
	}
	got, err := ask(t, probe(t), new(Apps), &Request{Method: "POST", Body: []byte(pem)}, "/certs")
	if got != nil {
		got.Body = hexes.ReplaceAll(got.Body, []byte("<hex64>"))
	}
	compareAnswer(t, want, got, err)
}

// TestKeysThatAreNot: damaged keys are an error of the script, and say nothing of the key.
func TestKeysThatAreNot(t *testing.T) {
	for _, f := range []string{"pemToJwk", "rsaPemToJwk", "eddsaPemToJwk", "pubPemToJwk", "pubRsaPemToJwk", "pubEddsaPemToJwk"} {
		_, err := call(t, Env{Tx: kv.NewStore().Begin()},
			`export function f() { return ccf.crypto.`+f+`("-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n"); }`, "f")
		var ex *Exception
		if !errors.As(err, &ex) || bytes.Contains([]byte(ex.Reason), []byte("c2VjcmV0")) {
			t.Errorf("%s: %v", f, err)
		}
	}
}
