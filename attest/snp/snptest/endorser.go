package snptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net"
	"testing"
	"time"

	gocose "github.com/veraison/go-cose"
)

// Usage is the extended key usage of an endorser's certificate.
const Usage = "1.3.6.1.4.1.311.76.59.1.2"

// Endorser signs endorsements of utility VMs.
type Endorser struct {
	Feed  string
	Chain [][]byte // the signer's certificate and its authority's, DER
	// Header, where not nil, changes the protected header before it is signed.
	Header func(gocose.ProtectedHeader)

	key crypto.Signer
	alg gocose.Algorithm
}

// NewEndorser makes an endorser whose key is RSA (PS384), or on P-384 (ES384).
func NewEndorser(t testing.TB, curve bool) *Endorser {
	t.Helper()
	root, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := &Endorser{Feed: "ContainerPlat-AMD-UVM", alg: gocose.AlgorithmPS384}
	if curve {
		e.alg = gocose.AlgorithmES384
		e.key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	} else {
		e.key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Endorser's root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Unix(1, 0), NotAfter: time.Unix(2, 0), SubjectKeyId: []byte{1},
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Endorser", Organization: []string{"Test & Sons"}},
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: []string{"uvm.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7), net.ParseIP("2001:db8::7")},
		ExtraExtensions:    []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte("https://token.example/login")}},
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 76, 59, 1, 2}},
	}
	for _, c := range []struct {
		cert *x509.Certificate
		key  crypto.PublicKey
	}{{leaf, e.key.Public()}, {ca, root.Public()}} {
		der, err := x509.CreateCertificate(rand.Reader, c.cert, ca, c.key, root)
		if err != nil {
			t.Fatal(err)
		}
		e.Chain = append(e.Chain, der)
	}
	return e
}

// DID is the endorser's did:x509 with the given policies, "" for its key usage.
func (e *Endorser) DID(policies string) string {
	if policies == "" {
		policies = "eku:" + Usage
	}
	digest := sha256.Sum256(e.Chain[1])
	return "did:x509:0:sha256:" + base64.RawURLEncoding.EncodeToString(digest[:]) + "::" + policies
}

// Endorse makes an endorsement of the older form; the version is a number or text.
func (e *Endorser) Endorse(t testing.TB, did, measurement string, version any) []byte {
	t.Helper()
	payload, err := json.Marshal(map[string]any{
		"x-ms-sevsnpvm-launchmeasurement": measurement, "x-ms-sevsnpvm-guestsvn": version,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e.Sign(t, gocose.ProtectedHeader{int64(3): "application/json", "iss": did, "feed": e.Feed}, payload)
}

// EndorseClaims makes an endorsement of the newer form.
func (e *Endorser) EndorseClaims(t testing.TB, did, measurement string, version uint64) []byte {
	t.Helper()
	payload, err := hex.DecodeString(measurement)
	if err != nil {
		t.Fatal(err)
	}
	return e.Sign(t, gocose.ProtectedHeader{
		int64(259): "application/octet-stream",
		int64(15):  map[any]any{int64(1): did, int64(2): e.Feed, "svn": version},
	}, payload)
}

// Sign signs a payload under a header, to which it adds algorithm and chain.
func (e *Endorser) Sign(t testing.TB, header gocose.ProtectedHeader, payload []byte) []byte {
	t.Helper()
	header.SetAlgorithm(e.alg)
	chain := make([]any, len(e.Chain))
	for i, c := range e.Chain {
		chain[i] = c
	}
	header[int64(33)] = chain
	if e.Header != nil {
		e.Header(header)
	}
	signer, err := gocose.NewSigner(e.alg, e.key)
	if err != nil {
		t.Fatal(err)
	}
	msg := gocose.NewSign1Message()
	msg.Headers.Protected, msg.Payload = header, payload
	if err := msg.Sign(rand.Reader, nil, signer); err != nil {
		t.Fatal(err)
	}
	out, err := msg.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
