package identity

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// attributes are the short names that a subject may use, with their OIDs.
var attributes = map[string]asn1.ObjectIdentifier{
	"CN":           {2, 5, 4, 3},
	"SN":           {2, 5, 4, 4},
	"serialNumber": {2, 5, 4, 5},
	"C":            {2, 5, 4, 6},
	"L":            {2, 5, 4, 7},
	"ST":           {2, 5, 4, 8},
	"street":       {2, 5, 4, 9},
	"O":            {2, 5, 4, 10},
	"OU":           {2, 5, 4, 11},
	"DC":           {0, 9, 2342, 19200300, 100, 1, 25},
	"emailAddress": {1, 2, 840, 113549, 1, 9, 1},
}

// ParseSubject encodes a subject such as "CN=CCF Service,O=Contoso" as DER, in
// the order given, one attribute per relative name. Commas and equal signs
// cannot be quoted. Values are UTF8String, as CCF writes them, except those that
// X.520 and RFC 5280 bind to another type (C and serialNumber printable, DC and
// emailAddress IA5).
func ParseSubject(subject string) ([]byte, error) {
	var seq pkix.RDNSequence
	for part := range strings.SplitSeq(subject, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		oid, known := attributes[name]
		if !ok || !known || value == "" {
			return nil, fmt.Errorf("subject name %q: %q is not NAME=VALUE with a known name", subject, part)
		}
		tag, ok := stringType(name, value)
		if !ok {
			return nil, fmt.Errorf("subject name %q: %q has characters that %s cannot have", subject, part, name)
		}
		seq = append(seq, pkix.RelativeDistinguishedNameSET{{
			Type:  oid,
			Value: asn1.RawValue{Tag: tag, Bytes: []byte(value)},
		}})
	}
	der, err := asn1.Marshal(seq)
	if err != nil {
		return nil, fmt.Errorf("subject name %q: %w", subject, err)
	}
	return der, nil
}

// printable are the characters of a PrintableString.
const printable = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"

// stringType returns the ASN.1 string type of an attribute, and whether value
// fits into it.
func stringType(name, value string) (tag int, ok bool) {
	switch name {
	case "C", "serialNumber":
		return asn1.TagPrintableString, strings.Trim(value, printable) == ""
	case "DC", "emailAddress":
		ascii := func(r rune) bool { return r < utf8.RuneSelf }
		return asn1.TagIA5String, strings.TrimLeftFunc(value, ascii) == ""
	}
	return asn1.TagUTF8String, utf8.ValidString(value)
}

// AltName is one name of a certificate: exactly one field is set.
type AltName struct {
	IP  netip.Addr
	DNS string
}

// ParseAltName reads an entry of node_certificate.subject_alt_names:
// "iPAddress:ADDRESS" or "dNSName:NAME".
func ParseAltName(s string) (AltName, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch kind {
	case "iPAddress":
		ip, err := netip.ParseAddr(value)
		if err != nil || ip.Zone() != "" {
			return AltName{}, fmt.Errorf("subject alternative name %q: not an IP address", s)
		}
		return AltName{IP: ip.Unmap()}, nil
	case "dNSName":
		if !hostName(value) {
			return AltName{}, fmt.Errorf("subject alternative name %q: not a DNS name", s)
		}
		return AltName{DNS: value}, nil
	}
	return AltName{}, fmt.Errorf("subject alternative name %q: want iPAddress:ADDRESS or dNSName:NAME", s)
}

// HostAltName returns the name for the host of an address such as
// "127.0.0.1:8000", "[::1]:8000" or "example.com:443".
func HostAltName(address string) (AltName, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return AltName{}, fmt.Errorf("address %q: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		return AltName{IP: ip.Unmap()}, nil
	}
	if !hostName(host) {
		return AltName{}, fmt.Errorf("address %q: host is neither an IP address nor a DNS name", address)
	}
	return AltName{DNS: host}, nil
}

// hostName reports whether s can stand in a certificate as a DNS name. It is
// lax: OpenSSL takes any IA5 string.
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == ',' {
			return false
		}
	}
	return true
}

// altNames encodes the content of a subjectAltName extension, in order.
func altNames(names []AltName) ([]byte, error) {
	var values []asn1.RawValue
	for _, n := range names {
		v := asn1.RawValue{Class: asn1.ClassContextSpecific}
		switch {
		case n.IP.IsValid():
			v.Tag, v.Bytes = 7, n.IP.AsSlice()
		case n.DNS != "":
			v.Tag, v.Bytes = 2, []byte(n.DNS)
		default:
			return nil, errors.New("empty subject alternative name")
		}
		values = append(values, v)
	}
	return asn1.Marshal(values)
}
