package snptest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/attest"
	"chancery/attest/snp"
)

// Machine is a processor, with the guest that runs on it.
type Machine struct {
	// Report is what the next report says, but for its report data and signature.
	Report snp.Report
	// TCB are the components that the chip's certificate names, by the last number of
	// their extension; Chip is the id in it.
	TCB  map[int]byte
	Chip []byte
	// Certificate, where not nil, changes the chip's certificate before it is signed,
	// Intermediate and Root those above it.
	Certificate, Intermediate, Root func(*x509.Certificate)
	// UVM is the endorsement that goes with the evidence, nil for none.
	UVM []byte

	root, intermediate *rsa.PrivateKey
	chip               *ecdsa.PrivateKey
}

var _ attest.Issuer = (*Machine)(nil)

// authority makes the keys of the root and the intermediate once for all machines.
var authority = sync.OnceValues(newAuthority)

func newAuthority() (keys [2]*rsa.PrivateKey, err error) {
	for i := range keys {
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return keys, err
		}
	}
	return keys, nil
}

var processors = map[attest.Product]struct {
	cpu attest.CPU
	tcb map[int]byte
	raw snp.TCB
}{
	attest.Milan: {attest.CPU{Family: 0x19, Model: 0x01, Stepping: 1}, map[int]byte{1: 4, 2: 0, 3: 24, 8: 219}, 0xdb18000000000004},
	attest.Genoa: {attest.CPU{Family: 0x19, Model: 0x11, Stepping: 1}, map[int]byte{1: 10, 2: 7, 3: 23, 8: 84}, 0x541700000000070a},
	attest.Turin: {attest.CPU{Family: 0x1A, Model: 0x02, Stepping: 1}, map[int]byte{9: 1, 1: 2, 2: 3, 3: 4, 8: 81}, 0x5100000004030201},
}

// Foreign makes a machine under a root of its own.
func Foreign(t testing.TB, p attest.Product) *Machine {
	t.Helper()
	m := New(t, p)
	keys, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	m.root, m.intermediate = keys[0], keys[1]
	return m
}

// New makes a machine of a line of processors whose reports verify.
func New(t testing.TB, p attest.Product) *Machine {
	t.Helper()
	keys, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{root: keys[0], intermediate: keys[1], TCB: map[int]byte{}}
	if m.chip, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	of := processors[p]
	for k, v := range of.tcb {
		m.TCB[k] = v
	}
	r := &m.Report
	r.Version, r.GuestSVN, r.ABIMajor, r.PolicyFlags, r.SignatureAlgo = 3, 2, 1, 3, 1
	r.PlatformVersion, r.ReportedTCB, r.CommittedTCB, r.LaunchTCB = of.raw, of.raw, of.raw, of.raw
	r.Family, r.Model, r.Stepping = of.cpu.Family, of.cpu.Model, of.cpu.Stepping
	for i := range r.Measurement {
		r.Measurement[i] = byte(i)
	}
	for i := range r.HostData {
		r.HostData[i] = byte(0xA0 + i)
	}
	n := 64
	if p == attest.Turin {
		n = 8
	}
	for i := range r.ChipID[:n] {
		r.ChipID[i] = byte(0x40 + i)
	}
	m.Chip = slices.Clone(r.ChipID[:n])
	return m
}

// Roots is what a verifier must trust in place of AMD's roots.
func (m *Machine) Roots() snp.Roots {
	der, err := x509.MarshalPKIXPublicKey(&m.root.PublicKey)
	if err != nil {
		panic(err)
	}
	digest := snp.KeyDigest(&x509.Certificate{RawSubjectPublicKeyInfo: der})
	return snp.Roots{attest.Milan: digest, attest.Genoa: digest, attest.Turin: digest}
}

// Verifier is one that trusts the machine's root.
func (m *Machine) Verifier() snp.Verifier { return snp.Verifier{Roots: m.Roots()} }

// Issue returns the machine's evidence.
func (m *Machine) Issue(_ context.Context, reportData [32]byte) (attest.Evidence, error) {
	r := m.Report
	copy(r.ReportData[:], reportData[:])
	quote, err := m.Sign(&r)
	if err != nil {
		return attest.Evidence{}, err
	}
	chain, err := m.Endorsements()
	return attest.Evidence{Format: attest.FormatSNP, Quote: quote, Endorsements: chain, UVMEndorsements: m.UVM}, err
}

// Evidence is Issue for a test.
func (m *Machine) Evidence(t testing.TB, reportData [32]byte) attest.Evidence {
	t.Helper()
	e, err := m.Issue(t.Context(), reportData)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Sign returns the bytes of a report with the chip's signature.
func (m *Machine) Sign(r *snp.Report) ([]byte, error) {
	r.R, r.S = [72]byte{}, [72]byte{}
	unsigned, err := binary.Append(nil, binary.LittleEndian, r)
	if err != nil {
		return nil, err
	}
	digest := sha512.Sum384(unsigned[:0x2A0])
	x, y, err := ecdsa.Sign(rand.Reader, m.chip, digest[:])
	if err != nil {
		return nil, err
	}
	x.FillBytes(r.R[:])
	y.FillBytes(r.S[:])
	slices.Reverse(r.R[:])
	slices.Reverse(r.S[:])
	return binary.Append(nil, binary.LittleEndian, r)
}

// Endorsements returns the chain in PEM: VCEK, ASK, ARK.
func (m *Machine) Endorsements() ([]byte, error) {
	ark := authorityCertificate("ARK-Test", 1)
	ask := authorityCertificate("SEV-Test", 2)
	vcek := &x509.Certificate{
		SerialNumber: big.NewInt(0), Subject: pkix.Name{CommonName: "SEV-VCEK"},
		NotBefore: ark.NotBefore, NotAfter: ark.NotAfter, SignatureAlgorithm: x509.SHA384WithRSAPSS,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 4}, Value: m.Chip}},
	}
	for last, v := range m.TCB {
		value, err := asn1.Marshal(int(v))
		if err != nil {
			return nil, err
		}
		vcek.ExtraExtensions = append(vcek.ExtraExtensions,
			pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 3, last}, Value: value})
	}
	var out []byte
	for _, c := range []struct {
		cert, parent *x509.Certificate
		edit         func(*x509.Certificate)
		key          any
		signer       *rsa.PrivateKey
	}{
		{vcek, ask, m.Certificate, &m.chip.PublicKey, m.intermediate},
		{ask, ark, m.Intermediate, &m.intermediate.PublicKey, m.root},
		{ark, ark, m.Root, &m.root.PublicKey, m.root},
	} {
		if c.edit != nil {
			c.edit(c.cert)
		}
		der, err := x509.CreateCertificate(rand.Reader, c.cert, c.parent, c.key, c.signer)
		if err != nil {
			return nil, fmt.Errorf("certifying %s: %w", c.cert.Subject, err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out, nil
}

// RevocationList returns the root's list with the given serial number on it (that of
// the intermediate certificate is 2).
func (m *Machine) RevocationList(t testing.TB, serial int64) *x509.RevocationList {
	t.Helper()
	return revocationList(t, serial, authorityCertificate("ARK-Test", 1), m.root, time.Now().Add(-time.Hour))
}

// LaterRevocationList is a RevocationList of a later time.
func (m *Machine) LaterRevocationList(t testing.TB, serial int64) *x509.RevocationList {
	t.Helper()
	return revocationList(t, serial, authorityCertificate("ARK-Test", 1), m.root, time.Now())
}

// ChipRevocationList returns the intermediate's list with the given serial number on it
// (that of all chips' certificates is 0, as AMD's are).
func (m *Machine) ChipRevocationList(t testing.TB, serial int64) *x509.RevocationList {
	t.Helper()
	return revocationList(t, serial, authorityCertificate("SEV-Test", 2), m.intermediate, time.Now().Add(-time.Hour))
}

func revocationList(t testing.TB, serial int64, by *x509.Certificate, key *rsa.PrivateKey, from time.Time) *x509.RevocationList {
	t.Helper()
	by.KeyUsage |= x509.KeyUsageCRLSign
	by.SubjectKeyId = []byte{1}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: from, NextUpdate: time.Now().Add(time.Hour), SignatureAlgorithm: x509.SHA384WithRSAPSS,
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: from}},
	}, by, key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func authorityCertificate(name string, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SignatureAlgorithm: x509.SHA384WithRSAPSS,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
}

// Measurement is what the machine's report says of its code, in hex.
func Measurement(m *Machine) string { return hex.EncodeToString(m.Report.Measurement[:]) }

// Allow is a policy, as JSON, that trusts what the machine says now.
func Allow(t testing.TB, m *Machine) []byte {
	t.Helper()
	p := &attest.JoinPolicy{}
	product, err := m.Report.CPU().Product()
	if err != nil {
		t.Fatal(err)
	}
	least, err := attest.DecodeTCB(product, m.Report.ReportedTCB.String())
	if err != nil {
		t.Fatal(err)
	}
	p.SNP.HostData = map[string]string{hex.EncodeToString(m.Report.HostData[:]): ""}
	p.SNP.Measurements = []string{Measurement(m)}
	p.SNP.TCBVersions = map[string]attest.TCBVersion{m.Report.CPU().ID(): least}
	out, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// GetRawQuote makes the machine a guest's device, whose host gives no certificates.
func (m *Machine) GetRawQuote(reportData [64]byte) ([]byte, error) {
	r := m.Report
	r.ReportData = reportData
	return m.Sign(&r)
}

// Bundle is the content of a file of endorsements of the machine, as Azure's hosts give it.
func (m *Machine) Bundle(t testing.TB) []byte {
	t.Helper()
	chain, err := m.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	vcek, rest := pem.Decode(chain)
	text, err := json.Marshal(map[string]string{
		"vcekCert": string(pem.EncodeToMemory(vcek)), "certificateChain": string(rest), "tcbm": m.Report.ReportedTCB.String(), "cacheControl": "0",
	})
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(text))
}

// DerivedKey makes the machine a guest's device for keys: each is bound to the chip, the
// guest's measurement and host data, and a TCB version that the chip has reached.
func (m *Machine) DerivedKey(tcb uint64) (key [32]byte, err error) {
	if tcb > uint64(m.Report.CommittedTCB) {
		return key, fmt.Errorf("TCB version %016x is newer than the machine's", tcb)
	}
	chip, err := m.chip.Bytes()
	if err != nil {
		return key, err
	}
	mac := hmac.New(sha256.New, chip)
	mac.Write(m.Report.Measurement[:])
	mac.Write(m.Report.HostData[:])
	mac.Write(binary.LittleEndian.AppendUint64(nil, tcb))
	return [32]byte(mac.Sum(nil)), nil
}
