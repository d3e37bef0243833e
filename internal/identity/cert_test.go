package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/ccftest"
)

var start = time.Date(2026, 11, 25, 3, 10, 32, 0, time.UTC)

func mustKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := GenerateKey(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSubject(t testing.TB, s string) []byte {
	t.Helper()
	b, err := ParseSubject(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustValid(t testing.TB, days int) Validity {
	t.Helper()
	v, err := ValidFor(start, days)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustCert(t testing.TB, pem []byte, err error) *x509.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCertificate(pem)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustNames(t testing.TB, names ...string) []AltName {
	t.Helper()
	var out []AltName
	for _, n := range names {
		a, err := ParseAltName(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// newService returns a service key with its certificate.
func newService(t testing.TB, c elliptic.Curve) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key := mustKey(t, c)
	pem, err := SelfSignedService(key, mustSubject(t, "CN=CCF Service"), mustValid(t, 90))
	return key, mustCert(t, pem, err)
}

// oids returns the extensions of c in order, critical ones with an exclamation
// mark.
func oids(c *x509.Certificate) string {
	names := map[string]string{
		"2.5.29.14": "ski", "2.5.29.15": "usage", "2.5.29.17": "san", "2.5.29.19": "basic", "2.5.29.35": "aki",
	}
	var out []string
	for _, e := range c.Extensions {
		n := names[e.Id.String()]
		if e.Critical {
			n += "!"
		}
		out = append(out, n)
	}
	return strings.Join(out, " ")
}

// TestProfiles builds each kind of certificate on each curve and checks what
// CCF's have: extensions and their order, identifiers, dates, hash.
func TestProfiles(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		t.Run(curve.Params().Name, func(t *testing.T) {
			serviceKey, service := newService(t, curve)
			nodeKey := mustKey(t, elliptic.P384())
			names := mustNames(t, "iPAddress:127.0.0.1", "dNSName:localhost", "iPAddress:::1")
			subject := mustSubject(t, "CN=CCF Node")
			csr, err := NewRequest(nodeKey, subject, names)
			if err != nil {
				t.Fatal(err)
			}
			selfPEM, err := SelfSignedNode(nodeKey, subject, names, mustValid(t, 1))
			self := mustCert(t, selfPEM, err)
			nodePEM, err := EndorseNode(csr, serviceKey, service, mustValid(t, 1))
			node := mustCert(t, nodePEM, err)
			user, err := NewParticipant("user0", curve, start, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			oldKey, _ := newService(t, elliptic.P384())
			endorsedPEM, err := EndorseService(&oldKey.PublicKey, serviceKey, service)
			endorsed := mustCert(t, endorsedPEM, err)

			for _, c := range []struct {
				name      string
				cert      *x509.Certificate
				key       *ecdsa.PrivateKey
				issuer    *x509.Certificate
				issuerKey *ecdsa.PrivateKey
				exts      string
				ca        bool
				days      int
			}{
				{"service", service, serviceKey, service, serviceKey, "basic! usage! ski aki", true, 90},
				{"node self-signed", self, nodeKey, self, nodeKey, "basic! usage! ski aki san", true, 1},
				{"node", node, nodeKey, service, serviceKey, "basic! ski aki san", false, 1},
				{"user", mustCert(t, user.Cert, nil), user.Key, mustCert(t, user.Cert, nil), user.Key, "ski aki basic!", true, 365},
				{"previous service", endorsed, oldKey, service, serviceKey, "basic! usage! ski aki", true, 90},
			} {
				t.Run(c.name, func(t *testing.T) {
					checkProfile(t, c.cert, c.key, c.issuer, c.issuerKey, c.days)
					if got := oids(c.cert); got != c.exts {
						t.Errorf("extensions %q, want %q", got, c.exts)
					}
					if c.cert.IsCA != c.ca {
						t.Errorf("CA is %t", c.cert.IsCA)
					}
				})
			}
			if len(node.IPAddresses) != 2 || len(node.DNSNames) != 1 {
				t.Errorf("names of the node: %v %v", node.IPAddresses, node.DNSNames)
			}
		})
	}
}

func checkProfile(t *testing.T, c *x509.Certificate, key *ecdsa.PrivateKey, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, days int) {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if id := sha1.Sum(point); string(c.SubjectKeyId) != string(id[:]) {
		t.Errorf("SKI %x, want %x", c.SubjectKeyId, id)
	}
	issuerPoint, err := issuerKey.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if id := sha1.Sum(issuerPoint); string(c.AuthorityKeyId) != string(id[:]) {
		t.Errorf("AKI %x, want %x", c.AuthorityKeyId, id)
	}
	if !c.NotBefore.Equal(start) || !c.NotAfter.Equal(start.AddDate(0, 0, days).Add(-time.Second)) {
		t.Errorf("valid from %s to %s", c.NotBefore, c.NotAfter)
	}
	if want := hashFor(issuerKey.Curve); c.SignatureAlgorithm != want {
		t.Errorf("signed with %s, want %s", c.SignatureAlgorithm, want)
	}
	if n := c.SerialNumber.BitLen(); n > 128 || n < 64 || c.SerialNumber.Sign() <= 0 {
		t.Errorf("serial of %d bits", n)
	}
	if err := IssuedBy(c, issuer); err != nil {
		t.Error(err)
	}
	if !key.PublicKey.Equal(c.PublicKey) {
		t.Error("certificate over another key")
	}
}

// TestAgainstVectors compares our certificates, field by field, with those that
// a CCF node wrote.
func TestAgainstVectors(t *testing.T) {
	dir := filepath.Join(ccftest.Vectors(t), "seven_service", "common")
	load := func(name string) *x509.Certificate {
		b, err := os.ReadFile(filepath.Join(dir, name))
		return mustCert(t, b, err)
	}
	_, service := newService(t, elliptic.P384())
	key := mustKey(t, elliptic.P384())
	self, err := SelfSignedNode(key, mustSubject(t, "CN=CCF Node"), mustNames(t, "iPAddress:127.0.0.1", "dNSName:localhost"), mustValid(t, 365))
	member, merr := NewParticipant("member0", elliptic.P384(), start, 3650, false)
	if merr != nil {
		t.Fatal(merr)
	}
	for _, c := range []struct{ ours, theirs *x509.Certificate }{
		{service, load("service_cert_1.pem")},
		{mustCert(t, self, err), load("node_self_signed_cert_1.pem")},
		{mustCert(t, member.Cert, nil), load("member0_cert.pem")},
	} {
		if got, want := oids(c.ours), oids(c.theirs); got != want {
			t.Errorf("%s: extensions %q, CCF has %q", c.theirs.Subject, got, want)
		}
		if string(c.ours.RawSubject) != string(c.theirs.RawSubject) {
			t.Errorf("%s: subject encodes differently", c.theirs.Subject)
		}
		for i, e := range c.ours.Extensions {
			theirs := c.theirs.Extensions[i].Value
			if id := e.Id.String(); id == "2.5.29.14" || id == "2.5.29.35" {
				if len(e.Value) != len(theirs) {
					t.Errorf("%s: key identifier of %d bytes, CCF has %d", c.theirs.Subject, len(e.Value), len(theirs))
				}
			} else if string(e.Value) != string(theirs) {
				t.Errorf("%s: extension %s is %x, CCF has %x", c.theirs.Subject, id, e.Value, theirs)
			}
		}
	}
	for _, n := range []string{"0", "1"} {
		cert := load("service_cert_" + n + ".pem")
		if err := IssuedBy(cert, cert); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenSSL lets openssl, when it is there, verify a chain and read the text.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIPPED: no openssl here")
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) string {
		out, err := exec.Command(openssl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	key := mustKey(t, elliptic.P384())
	now, err := ValidFor(time.Now(), 2)
	if err != nil {
		t.Fatal(err)
	}
	servicePEM, err := SelfSignedService(key, mustSubject(t, "CN=CCF Service,O=Contoso"), now)
	service := mustCert(t, servicePEM, err)
	nodeKey := mustKey(t, elliptic.P384())
	csr, err := NewRequest(nodeKey, mustSubject(t, "CN=CCF Node"), mustNames(t, "iPAddress:127.0.0.1", "dNSName:localhost"))
	if err != nil {
		t.Fatal(err)
	}
	nodePEM, err := EndorseNode(csr, key, service, now)
	if err != nil {
		t.Fatal(err)
	}
	ca, leaf := write("service.pem", servicePEM), write("node.pem", nodePEM)
	run("verify", "-x509_strict", "-CAfile", ca, "-verify_ip", "127.0.0.1", leaf)
	run("req", "-in", write("node.csr", csr), "-noout", "-verify")
	keyPEM, err := PrivateKeyPEM(nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	run("pkey", "-in", write("node.key", keyPEM), "-noout", "-check")
	text := run("x509", "-in", ca, "-noout", "-text")
	for _, want := range []string{
		"CA:TRUE, pathlen:1", "Digital Signature, Certificate Sign", "ecdsa-with-SHA384", "CN = CCF Service, O = Contoso",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("openssl does not show %q in\n%s", want, text)
		}
	}
}

func TestEndorseRefuses(t *testing.T) {
	key, service := newService(t, elliptic.P384())
	good, err := NewRequest(key, mustSubject(t, "CN=x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(good)
	b.Bytes[len(b.Bytes)-1] ^= 1
	for name, csr := range map[string][]byte{
		"junk":          []byte("junk"),
		"certificate":   CertificatePEM(service.Raw),
		"bad signature": pem.EncodeToMemory(b),
		"empty":         nil,
	} {
		if _, err := EndorseNode(csr, key, service, mustValid(t, 1)); err == nil {
			t.Errorf("%s: endorsed", name)
		}
	}
}

// TestRequestCannotAsk: only the names of a request count; a wish to be a CA, or
// to have other uses, is passed over.
func TestRequestCannotAsk(t *testing.T) {
	serviceKey, service := newService(t, elliptic.P384())
	key := mustKey(t, elliptic.P384())
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		RawSubject: mustSubject(t, "CN=me"),
		DNSNames:   []string{"node.example"},
		ExtraExtensions: []pkix.Extension{
			{Id: oidBasicConstraints, Critical: true, Value: caPathLen1},
			{Id: oidKeyUsage, Critical: true, Value: signUsage},
		},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: blockRequest, Bytes: der})
	text, err := EndorseNode(csr, serviceKey, service, mustValid(t, 1))
	node := mustCert(t, text, err)
	if got := oids(node); got != "basic! ski aki san" || node.IsCA || node.DNSNames[0] != "node.example" {
		t.Errorf("extensions %q, CA %t, names %v", got, node.IsCA, node.DNSNames)
	}
}

func TestIssuedByRefuses(t *testing.T) {
	_, a := newService(t, elliptic.P384())
	_, b := newService(t, elliptic.P384())
	if err := IssuedBy(a, b); err == nil {
		t.Error("a certificate of another issuer was accepted")
	}
}
