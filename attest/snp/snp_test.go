package snp_test

import (
	"bytes"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	fake "github.com/google/go-sev-guest/testing"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/google/go-sev-guest/verify/trust"

	"chancery/attest"
	"chancery/attest/snp"
	"chancery/attest/snp/snptest"
	"chancery/internal/durable"
	"chancery/internal/durable/memfs"
)

var key = [32]byte{1, 2, 3}

// TestGenuine verifies a report of each line of processors, and reads its claims.
func TestGenuine(t *testing.T) {
	for product, id := range map[attest.Product]string{attest.Milan: "00a00f11", attest.Genoa: "00a10f11", attest.Turin: "00b00f21"} {
		m := snptest.New(t, product)
		c, err := m.Verifier().Verify(t.Context(), m.Evidence(t, key))
		if err != nil {
			t.Fatalf("%s: %v", product, err)
		}
		if c.ReportData != key || c.HostData != m.Report.HostData || len(c.Measurement) != 96 || c.TCB.CPU.ID() != id {
			t.Errorf("%s: claims %+v, CPUID %s", product, c, c.TCB.CPU.ID())
		}
		if c.TCB.Value != m.Report.ReportedTCB.String() || c.Format != attest.FormatSNP || c.UVM != nil {
			t.Errorf("%s: claims %+v", product, c)
		}
		if _, err := (snp.Verifier{}).Verify(t.Context(), m.Evidence(t, key)); !errors.Is(err, snp.ErrRoot) {
			t.Errorf("%s: under AMD's roots: %v", product, err)
		}
	}
}

// TestRefused changes one thing at a time; each has its name.
func TestRefused(t *testing.T) {
	add := func(e pkix.Extension) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, e) }
	}
	hour := time.Hour
	for _, c := range []struct {
		name string
		edit func(m *snptest.Machine, v *snp.Verifier)
		want error
	}{
		{"version 2", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.Version = 2 }, snp.ErrVersion},
		{"unknown family", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.Family = 0x17 }, snp.ErrProcessor},
		{"unknown model", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.Model = 0x44 }, snp.ErrProcessor},
		{"another root", func(_ *snptest.Machine, v *snp.Verifier) { v.Roots = snp.AMD }, snp.ErrRoot},
		{"root of another line", func(_ *snptest.Machine, v *snp.Verifier) { delete(v.Roots, attest.Milan) }, snp.ErrRoot},
		{"intermediate no authority", func(m *snptest.Machine, _ *snp.Verifier) {
			m.Intermediate = func(c *x509.Certificate) { c.IsCA = false }
		}, snp.ErrChain},
		{"VCEK expired", func(m *snptest.Machine, _ *snp.Verifier) {
			m.Certificate = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
		}, snp.ErrValidity},
		{"ASK expired", func(m *snptest.Machine, _ *snp.Verifier) {
			m.Intermediate = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
		}, snp.ErrValidity},
		{"ARK expired", func(m *snptest.Machine, _ *snp.Verifier) {
			m.Root = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
		}, snp.ErrValidity},
		{"before its time", func(_ *snptest.Machine, v *snp.Verifier) {
			v.Now = func() time.Time { return time.Now().Add(-2 * hour) }
		}, snp.ErrValidity},
		{"ASK revoked", func(m *snptest.Machine, v *snp.Verifier) {
			v.Revocations = snp.Lists{m.RevocationList(t, 2)}
		}, snp.ErrRevoked},
		{"VCEK revoked", func(m *snptest.Machine, v *snp.Verifier) {
			v.Revocations = snp.Lists{m.RevocationList(t, 7), m.ChipRevocationList(t, 0)}
		}, snp.ErrRevoked},
		{"list of another line", func(_ *snptest.Machine, v *snp.Verifier) {
			v.Revocations = snp.Lists{snptest.Foreign(t, attest.Milan).RevocationList(t, 2)}
		}, snp.ErrNoList},
		{"no list", func(_ *snptest.Machine, v *snp.Verifier) { v.Revocations = snp.Lists{} }, snp.ErrNoList},
		{"lists that do not read", func(_ *snptest.Machine, v *snp.Verifier) {
			v.Revocations = snp.ListDir{FS: listDir(t, map[string]string{"Milan.crl": "?"}), Dir: "lists"}
		}, snp.ErrNoList},
		{"list out of date", func(m *snptest.Machine, v *snp.Verifier) {
			v.Revocations = snp.Lists{m.RevocationList(t, 7)}
			v.Now = func() time.Time { return time.Now().Add(2 * hour) }
		}, snp.ErrValidity},
		{"signature algorithm", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.SignatureAlgo = 0 }, snp.ErrSignature},
		{"signed by VLEK", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.Flags = 1 << 2 }, snp.ErrSigningKey},
		{"chip key masked", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.Flags = 2 }, snp.ErrMaskedKey},
		{"made by the host", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.VMPL = 4 }, snp.ErrVMPL},
		{"debug", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.PolicyFlags |= 8 }, snp.ErrDebug},
		{"migration", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.PolicyFlags |= 4 }, snp.ErrMigration},
		{"TCB below the key's", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.ReportedTCB-- }, snp.ErrEndorsedTCB},
		{"TCB above the key's", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.ReportedTCB++ }, snp.ErrEndorsedTCB},
		{"no TCB component", func(m *snptest.Machine, _ *snp.Verifier) { delete(m.TCB, 3) }, snp.ErrEndorsedTCB},
		{"another chip", func(m *snptest.Machine, _ *snp.Verifier) { m.Report.ChipID[0]++ }, snp.ErrChip},
		{"chip id too short", func(m *snptest.Machine, _ *snp.Verifier) { m.Chip = m.Chip[:8] }, snp.ErrChip},
		{"TCB component twice", func(m *snptest.Machine, _ *snp.Verifier) {
			m.Certificate = add(pkix.Extension{Id: []int{1, 3, 6, 1, 4, 1, 3704, 1, 3, 1}, Value: []byte{2, 1, 4}})
		}, snp.ErrEndorsements}, // Go's x509 refuses to read such a certificate
		{"TCB component in a long form", func(m *snptest.Machine, _ *snp.Verifier) {
			delete(m.TCB, 1)
			m.Certificate = add(pkix.Extension{Id: []int{1, 3, 6, 1, 4, 1, 3704, 1, 3, 1}, Value: []byte{2, 2, 0, 4}})
		}, snp.ErrEndorsedTCB},
		{"TCB component with more behind", func(m *snptest.Machine, _ *snp.Verifier) {
			delete(m.TCB, 1)
			m.Certificate = add(pkix.Extension{Id: []int{1, 3, 6, 1, 4, 1, 3704, 1, 3, 1}, Value: []byte{2, 1, 4, 0}})
		}, snp.ErrEndorsedTCB},
	} {
		m := snptest.New(t, attest.Milan)
		v := m.Verifier()
		c.edit(m, &v)
		claims, err := v.Verify(t.Context(), m.Evidence(t, key))
		if !errors.Is(err, attest.ErrNotGenuine) || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if claims.Format != "" || claims.Measurement != "" {
			t.Errorf("%s: claims %+v", c.name, claims)
		}
	}
}

// TestAccepted are things that may differ.
func TestAccepted(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	v := m.Verifier()
	v.Revocations = snp.Lists{m.RevocationList(t, 7)}
	m.Report.PolicyFlags, m.Report.VMPL, m.Report.Version = 0x12, 3, 5
	e := m.Evidence(t, key)
	e.EndorsedTCB = strings.ToUpper(m.Report.ReportedTCB.String())
	if _, err := v.Verify(t.Context(), e); err != nil {
		t.Error(err)
	}
	// One byte without a tag is an encoding that AMD has used.
	delete(m.TCB, 8)
	m.Certificate = func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{1, 3, 6, 1, 4, 1, 3704, 1, 3, 8}, Value: []byte{219}})
	}
	if _, err := v.Verify(t.Context(), m.Evidence(t, key)); err != nil {
		t.Error(err)
	}
}

// TestEveryBit flips each bit of the signed part and of the signature: the signature,
// or an earlier check, refuses it. What lies behind the signature is nobody's.
func TestEveryBit(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	v, e := m.Verifier(), m.Evidence(t, key)
	step := 1
	if testing.Short() {
		step = 7
	}
	for i := 0; i < 0x2A0+48; i += step {
		changed := e
		changed.Quote = bytes.Clone(e.Quote)
		changed.Quote[i] ^= 1 << (i % 8)
		if _, err := v.Verify(t.Context(), changed); !errors.Is(err, attest.ErrNotGenuine) {
			t.Errorf("byte %#x changed: %v", i, err)
		}
	}
}

// TestEvidence are the parts around the report.
func TestEvidence(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	v, good := m.Verifier(), m.Evidence(t, key)
	certs := bytes.SplitAfter(good.Endorsements, []byte("-----END CERTIFICATE-----\n"))[:3]
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	other := snptest.New(t, attest.Milan).Evidence(t, key)
	for _, c := range []struct {
		name string
		edit func(e *attest.Evidence)
		want error
	}{
		{"another format", func(e *attest.Evidence) { e.Format = attest.FormatVirtual }, attest.ErrNotGenuine},
		{"no quote", func(e *attest.Evidence) { e.Quote = nil }, snp.ErrSize},
		{"quote too short", func(e *attest.Evidence) { e.Quote = e.Quote[1:] }, snp.ErrSize},
		{"quote too long", func(e *attest.Evidence) { e.Quote = append(bytes.Clone(e.Quote), 0) }, snp.ErrSize},
		{"quote huge", func(e *attest.Evidence) { e.Quote = make([]byte, 8<<20) }, snp.ErrSize},
		{"no endorsements", func(e *attest.Evidence) { e.Endorsements = nil }, snp.ErrEndorsements},
		{"two certificates", func(e *attest.Evidence) { e.Endorsements = join(certs[0], certs[1]) }, snp.ErrEndorsements},
		{"four certificates", func(e *attest.Evidence) { e.Endorsements = join(certs[0], certs[1], certs[2], certs[2]) }, snp.ErrEndorsements},
		{"huge", func(e *attest.Evidence) { e.Endorsements = bytes.Repeat(certs[0], 100) }, snp.ErrEndorsements},
		{"no PEM", func(e *attest.Evidence) { e.Endorsements = []byte("certificates") }, snp.ErrEndorsements},
		{"more than PEM", func(e *attest.Evidence) { e.Endorsements = join(good.Endorsements, []byte("x")) }, snp.ErrEndorsements},
		{"a key for a certificate", func(e *attest.Evidence) {
			e.Endorsements = join(certs[0], certs[1], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}))
		}, snp.ErrEndorsements},
		{"wrong order", func(e *attest.Evidence) { e.Endorsements = join(certs[2], certs[1], certs[0]) }, snp.ErrRoot},
		{"intermediate skipped", func(e *attest.Evidence) { e.Endorsements = join(certs[0], certs[2], certs[2]) }, snp.ErrChain},
		{"another chip's key", func(e *attest.Evidence) { e.Endorsements = other.Endorsements }, snp.ErrSignature},
		{"another TCB", func(e *attest.Evidence) { e.EndorsedTCB = "0000000000000004" }, snp.ErrEndorsedTCB},
		{"TCB no hex", func(e *attest.Evidence) { e.EndorsedTCB = "x" }, snp.ErrEndorsedTCB},
	} {
		e := good
		c.edit(&e)
		if _, err := v.Verify(t.Context(), e); !errors.Is(err, c.want) || !errors.Is(err, attest.ErrNotGenuine) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestExplain names every check in order, and stops at the one that fails.
func TestExplain(t *testing.T) {
	m := snptest.New(t, attest.Genoa)
	_, all := m.Verifier().Explain(m.Evidence(t, key))
	if err := attest.Failed(all); err != nil || len(all) != 17 {
		t.Fatalf("%d findings, %v", len(all), err)
	}
	m.Report.PolicyFlags |= 8
	claims, findings := m.Verifier().Explain(m.Evidence(t, key))
	last := findings[len(findings)-1]
	if last.Check != "debug" || !errors.Is(last.Err, snp.ErrDebug) || claims.Format != "" {
		t.Errorf("ends with %+v, claims %+v", last, claims)
	}
}

// TestRoots compares the roots with those that another implementation embeds.
func TestRoots(t *testing.T) {
	for product, want := range snp.AMD {
		if got := snp.KeyDigest(trust.DefaultRootCerts[string(product)].ProductCerts.Ark); got != want {
			t.Errorf("%s: %s, want %s", product, got, want)
		}
	}
}

// TestRealReport takes a report that a Milan processor made, under AMD's own roots. Its
// version is 2, which is refused by name; that it is whole is checked from there on.
func TestRealReport(t *testing.T) {
	ask, ark, err := kds.ParseProductCertChain(trust.AskArkMilanVcekBytes)
	if err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, der := range [][]byte{testdata.VcekBytes, ask, ark} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	e := attest.Evidence{Format: attest.FormatSNP, Quote: testdata.AttestationBytes, Endorsements: chain}
	at := time.Date(2022, time.September, 24, 1, 0, 0, 0, time.UTC)
	v := snp.Verifier{Now: func() time.Time { return at }}
	if _, err := v.Verify(t.Context(), e); !errors.Is(err, snp.ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
	if err := snp.VerifyOldMilan(v, e); err != nil {
		t.Error(err)
	}
	e.Quote = bytes.Clone(e.Quote)
	e.Quote[0x90] ^= 1
	if err := snp.VerifyOldMilan(v, e); !errors.Is(err, snp.ErrSignature) {
		t.Errorf("measurement changed: %v", err)
	}
}

// TestSecondJudge exchanges evidence with another implementation: its fake chip's report
// verifies here, and a machine's report of ours verifies there.
func TestSecondJudge(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	parts := kds.TCBParts{BlSpl: 4, SnpSpl: 24, UcodeSpl: 219}
	tcb, err := kds.ComposeTCBParts(parts)
	if err != nil {
		t.Fatal(err)
	}
	chip := [64]byte{7}
	extensions := fake.CustomExtensions(parts, chip[:], "", "Milan-B1")
	for i, e := range extensions {
		if e.Id.Equal(kds.OidHwid) {
			extensions[i].Value = chip[:] // AMD's certificates have the bytes alone
		}
	}
	b := &fake.AmdSignerBuilder{
		Keys: fake.DefaultAmdKeys(), ProductName: "Milan-B1", HWID: chip, TCB: tcb,
		ArkCreationTime: at, AskCreationTime: at, VcekCreationTime: at, AsvkCreationTime: at, VlekCreationTime: at,
		VcekCustom: fake.CertOverride{Extensions: extensions},
	}
	signer, err := b.TestOnlyCertChain()
	if err != nil {
		t.Fatal(err)
	}
	var data [64]byte
	copy(data[:], key[:])
	raw := fake.TestRawReportV3(data, 0x00a00f11)
	report := raw[:abi.ReportSize]
	binary.LittleEndian.PutUint64(report[0x08:], abi.SnpPolicyToBytes(abi.SnpPolicy{SMT: true}))
	binary.LittleEndian.PutUint64(report[0x180:], uint64(tcb))
	copy(report[0x1A0:], chip[:])
	r, s, err := signer.Sign(abi.SignedComponent(report))
	if err != nil {
		t.Fatal(err)
	}
	if err := abi.SetSignature(r, s, report); err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, c := range []*x509.Certificate{signer.Vcek, signer.Ask, signer.Ark} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	v := snp.Verifier{Roots: snp.Roots{attest.Milan: snp.KeyDigest(signer.Ark)}}
	claims, err := v.Verify(t.Context(), attest.Evidence{Format: attest.FormatSNP, Quote: report, Endorsements: chain})
	if err != nil || claims.ReportData != key {
		t.Errorf("theirs here: %+v, %v", claims, err)
	}

	m := snptest.New(t, attest.Milan)
	e := m.Evidence(t, key)
	block, _ := pem.Decode(e.Endorsements)
	vcek, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify.SnpReportSignature(e.Quote, vcek); err != nil {
		t.Errorf("ours there: %v", err)
	}
	proto, err := abi.ReportToProto(e.Quote)
	if err != nil {
		t.Fatal(err)
	}
	if proto.ReportedTcb != uint64(m.Report.ReportedTCB) || !slices.Equal(proto.ChipId, m.Report.ChipID[:]) {
		t.Errorf("read there as %v", proto)
	}
}

func FuzzVerify(f *testing.F) {
	m := snptest.New(f, attest.Milan)
	v, e := m.Verifier(), m.Evidence(f, key)
	f.Add(e.Quote, e.Endorsements, "")
	f.Add(e.Quote[:100], []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), "00")
	signed := sha512.Sum384(e.Quote[:0x2A0])
	f.Fuzz(func(t *testing.T, quote, endorsements []byte, tcb string) {
		_, err := v.Verify(t.Context(), attest.Evidence{Format: attest.FormatSNP, Quote: quote, Endorsements: endorsements, EndorsedTCB: tcb})
		if err != nil && !errors.Is(err, attest.ErrNotGenuine) {
			t.Errorf("error %v is not ErrNotGenuine", err)
		}
		if err == nil && sha512.Sum384(quote[:0x2A0]) != signed {
			t.Error("another report verifies")
		}
	})
}

// listDir is a directory "lists" with files.
func listDir(t *testing.T, files map[string]string) *memfs.FS {
	t.Helper()
	fs := memfs.New()
	if err := fs.MkdirAll("lists", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := durable.WriteFileAtomic(fs, "lists/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// TestListDir: lists of a directory are looked into, as they are at the moment.
func TestListDir(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	fs := listDir(t, map[string]string{
		"Milan.crl": string(m.RevocationList(t, 7).Raw), "Genoa.crl": string(snptest.Foreign(t, attest.Genoa).RevocationList(t, 2).Raw), "note.txt": "?",
	})
	v := m.Verifier()
	v.Revocations = snp.ListDir{FS: fs, Dir: "lists"}
	e := m.Evidence(t, key)
	if _, err := v.Verify(t.Context(), e); err != nil {
		t.Error(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: m.RevocationList(t, 2).Raw})
	if err := durable.WriteFileAtomic(fs, "lists/Milan.crl", text, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), e); !errors.Is(err, snp.ErrRevoked) {
		t.Errorf("after the list has changed: %v", err)
	}
	v.Revocations = snp.ListDir{FS: fs, Dir: "nowhere"}
	if _, err := v.Verify(t.Context(), e); !errors.Is(err, snp.ErrNoList) {
		t.Errorf("without a directory: %v", err)
	}
}
