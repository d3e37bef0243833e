package identity

import (
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

func TestParseSubject(t *testing.T) {
	for in, want := range map[string]string{ // RFC 4514 prints the last name first
		"CN=CCF Service":           "CN=CCF Service",
		"CN=a,O=b,OU=c,C=GB":       "C=GB,OU=c,O=b,CN=a",
		"O=Contoso, CN=node = 1":   "CN=node = 1,O=Contoso",
		"CN=Zürich,L=Zürich":       "L=Zürich,CN=Zürich",
		"CN=x,serialNumber=1,ST=y": "ST=y,SERIALNUMBER=1,CN=x",
		"street=a,CN=b":            "CN=b,STREET=a",
	} {
		der, err := ParseSubject(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		var seq pkix.RDNSequence
		if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) != 0 {
			t.Errorf("%q: not a name: %v", in, err)
		}
		if got := seq.String(); got != want {
			t.Errorf("%q reads back as %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"", "CN", "CN=", "=x", "XX=y", "CN=a,", "cn=a", "C=ü", "C=a_b", "DC=ü", "CN=\xff"} {
		if _, err := ParseSubject(in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

// TestSubjectTypes: the string types that OpenSSL chooses.
func TestSubjectTypes(t *testing.T) {
	for in, tag := range map[string]int{
		"CN=x": asn1.TagUTF8String, "O=x": asn1.TagUTF8String, "C=GB": asn1.TagPrintableString,
		"serialNumber=1": asn1.TagPrintableString, "DC=com": asn1.TagIA5String, "emailAddress=a@b": asn1.TagIA5String,
	} {
		var seq []asn1.RawValue // sets of one attribute
		if _, err := asn1.Unmarshal(mustSubject(t, in), &seq); err != nil {
			t.Fatal(err)
		}
		var attribute struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		if _, err := asn1.Unmarshal(seq[0].Bytes, &attribute); err != nil {
			t.Fatal(err)
		}
		if attribute.Value.Tag != tag {
			t.Errorf("%s has string type %d, want %d", in, attribute.Value.Tag, tag)
		}
	}
}

func TestAltNames(t *testing.T) {
	for in, want := range map[string]string{
		"iPAddress:127.0.0.1":        "127.0.0.1",
		"iPAddress:::1":              "::1",
		"iPAddress:::ffff:127.0.0.1": "127.0.0.1",
		"dNSName:localhost":          "localhost",
		"dNSName:*.example.com":      "*.example.com",
	} {
		n, err := ParseAltName(in)
		if err != nil || (n.DNS != want && n.IP.String() != want) {
			t.Errorf("%q: %+v, %v", in, n, err)
		}
	}
	for _, in := range []string{
		"", "localhost", "IP:127.0.0.1", "iPAddress:localhost", "iPAddress:", "dNSName:", "dNSName:a b",
		"dNSName:a,b", "iPAddress:fe80::1%eth0", "uniformResourceIdentifier:x",
	} {
		if n, err := ParseAltName(in); err == nil {
			t.Errorf("%q was accepted as %+v", in, n)
		}
	}
	for in, want := range map[string]string{
		"127.0.0.1:8000": "127.0.0.1", "[::1]:80": "::1", "example.com:443": "example.com", "localhost:0": "localhost",
	} {
		n, err := HostAltName(in)
		if err != nil || (n.DNS != want && n.IP.String() != want) {
			t.Errorf("%q: %+v, %v", in, n, err)
		}
	}
	for _, in := range []string{"", "localhost", ":80", "a b:80"} {
		if n, err := HostAltName(in); err == nil {
			t.Errorf("%q was accepted as %+v", in, n)
		}
	}
}

// TestDuplicateNames: duplicates stay, in order, as CCF leaves them.
func TestDuplicateNames(t *testing.T) {
	key := mustKey(t, elliptic.P256())
	names := mustNames(t, "iPAddress:127.0.0.1", "iPAddress:127.0.0.1")
	pem, err := SelfSignedNode(key, mustSubject(t, "CN=n"), names, mustValid(t, 1))
	if c := mustCert(t, pem, err); len(c.IPAddresses) != 2 {
		t.Errorf("names %v", c.IPAddresses)
	}
	if _, err := SelfSignedNode(key, mustSubject(t, "CN=n"), []AltName{{}}, mustValid(t, 1)); err == nil {
		t.Error("an empty name was accepted")
	}
}

func TestCurveByName(t *testing.T) {
	for name, want := range map[string]elliptic.Curve{
		"Secp384R1": elliptic.P384(), "Secp384r1": elliptic.P384(), "secp384r1": elliptic.P384(),
		"Secp256R1": elliptic.P256(), "secp256r1": elliptic.P256(), "secp521r1": elliptic.P521(),
	} {
		if got, err := CurveByName(name); err != nil || got != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := CurveByName("curve25519"); err == nil {
		t.Error("curve25519 was accepted")
	}
	if _, err := GenerateKey(elliptic.P224()); err == nil {
		t.Error("a key on P-224 was made")
	}
}
