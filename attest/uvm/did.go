package uvm

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// checkIssuer checks that a chain holds and that its signer's certificate is one that a
// did:x509 stands for. Dates are not looked at.
func checkIssuer(chain []*x509.Certificate, did string) error {
	if len(chain) < 2 {
		return errors.New("the chain has no certificate above the signer's")
	}
	for i, cert := range chain {
		parent := chain[min(i+1, len(chain)-1)] // the last one signs itself
		if err := cert.CheckSignatureFrom(parent); err != nil {
			return fmt.Errorf("certificate %d of the chain: %w", i, err)
		}
		if i > 0 && cert.MaxPathLen >= 0 && (cert.MaxPathLen > 0 || cert.MaxPathLenZero) && i-1 > cert.MaxPathLen {
			return fmt.Errorf("certificate %d of the chain allows %d intermediate certificates", i, cert.MaxPathLen)
		}
	}
	if u := chain[0].KeyUsage; u != 0 && u&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("the signer's certificate is not for signatures")
	}
	prefix, policies, ok := strings.Cut(did, "::")
	if !ok {
		return fmt.Errorf("%.200q is no did:x509 with policies", did)
	}
	if err := checkFingerprint(prefix, chain[1:]); err != nil {
		return err
	}
	for policy := range strings.SplitSeq(policies, "::") {
		name, args, _ := strings.Cut(policy, ":")
		check, known := didPolicies[name]
		if !known {
			return fmt.Errorf("did:x509 policy %.64q is not known", name)
		}
		if err := check(chain[0], strings.Split(args, ":")); err != nil {
			return fmt.Errorf("did:x509 policy %.200q: %w", policy, err)
		}
	}
	return nil
}

var fingerprints = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

// checkFingerprint checks "did:x509:0:ALGORITHM:DIGEST" against the authorities.
func checkFingerprint(prefix string, authorities []*x509.Certificate) error {
	parts := strings.Split(prefix, ":")
	if len(parts) != 5 || parts[0] != "did" || parts[1] != "x509" || parts[2] != "0" {
		return fmt.Errorf("%.200q is not did:x509:0:ALGORITHM:DIGEST", prefix)
	}
	hash, ok := fingerprints[parts[3]]
	if !ok {
		return fmt.Errorf("fingerprint algorithm %.32q is not known", parts[3])
	}
	if !slices.ContainsFunc(authorities, func(c *x509.Certificate) bool {
		h := hash.New()
		h.Write(c.Raw)
		return base64.RawURLEncoding.EncodeToString(h.Sum(nil)) == parts[4]
	}) {
		return errors.New("no authority of the chain has the fingerprint of the DID")
	}
	return nil
}

var didPolicies = map[string]func(signer *x509.Certificate, args []string) error{
	"eku": checkUsage, "subject": checkSubject, "san": checkName, "fulcio-issuer": checkFulcio,
}

// The extended key usages that Go names instead of numbering them.
var namedUsages = map[string]x509.ExtKeyUsage{
	"2.5.29.37.0": x509.ExtKeyUsageAny, "1.3.6.1.5.5.7.3.1": x509.ExtKeyUsageServerAuth,
	"1.3.6.1.5.5.7.3.2": x509.ExtKeyUsageClientAuth, "1.3.6.1.5.5.7.3.3": x509.ExtKeyUsageCodeSigning,
	"1.3.6.1.5.5.7.3.4": x509.ExtKeyUsageEmailProtection, "1.3.6.1.5.5.7.3.8": x509.ExtKeyUsageTimeStamping,
}

func checkUsage(signer *x509.Certificate, args []string) error {
	if len(args) != 1 {
		return errors.New("one usage is wanted")
	}
	for _, id := range signer.UnknownExtKeyUsage {
		if id.String() == args[0] {
			return nil
		}
	}
	if u, ok := namedUsages[args[0]]; ok && slices.Contains(signer.ExtKeyUsage, u) {
		return nil
	}
	return errors.New("the signer's certificate is not for it")
}

// subjectFields are the names that did:x509 gives to the parts of a subject.
var subjectFields = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
}

func checkSubject(signer *x509.Certificate, args []string) error {
	if len(args) == 0 || len(args)%2 != 0 {
		return errors.New("pairs of key and value are wanted")
	}
	seen := map[string]bool{}
	for pair := range slices.Chunk(args, 2) {
		key, value := pair[0], pair[1]
		if key == "S" {
			key = "ST" // as some issuers write it
		}
		value, err := url.PathUnescape(value)
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%s stands there twice", key)
		}
		seen[key] = true
		if !slices.ContainsFunc(signer.Subject.Names, func(a pkix.AttributeTypeAndValue) bool {
			name, ok := subjectFields[a.Type.String()]
			if !ok {
				name = a.Type.String()
			}
			have, isText := a.Value.(string)
			return isText && name == key && have == value
		}) {
			return fmt.Errorf("the signer's subject has no such %s", key)
		}
	}
	return nil
}

func checkName(signer *x509.Certificate, args []string) error {
	if len(args) != 2 {
		return errors.New("a type and a value are wanted")
	}
	value, err := url.PathUnescape(args[1])
	if err != nil {
		return err
	}
	var have []string
	switch args[0] {
	case "dns":
		have = signer.DNSNames
	case "email":
		have = signer.EmailAddresses
	case "uri":
		for _, u := range signer.URIs {
			have = append(have, u.String())
		}
	case "ipaddress":
		for _, ip := range signer.IPAddresses {
			have = append(have, ip.String())
		}
		if ip := net.ParseIP(value); ip != nil {
			value = ip.String() // an address may be written in several ways
		}
	default:
		return fmt.Errorf("names of type %.32q are not known", args[0])
	}
	if !slices.Contains(have, value) {
		return errors.New("the signer's certificate has no such name")
	}
	return nil
}

// fulcioIssuer is the extension in which Fulcio, an authority of Sigstore, names who told
// it who the signer is.
var fulcioIssuer = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}

// checkFulcio compares the extension with "https://" and the argument.
func checkFulcio(signer *x509.Certificate, args []string) error {
	if len(args) != 1 {
		return errors.New("one issuer is wanted")
	}
	want, err := url.PathUnescape(args[0])
	if err != nil {
		return err
	}
	for _, e := range signer.Extensions {
		if e.Id.Equal(fulcioIssuer) && string(e.Value) == "https://"+want {
			return nil
		}
	}
	return errors.New("the signer's certificate names no such issuer")
}
