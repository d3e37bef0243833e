package virtual

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"chancery/attest"
)

// Measurement is the measurement of every virtual node.
const Measurement = "Insecure hard-coded virtual measurement v1"

// maxQuote bounds a quote; a real one is about 200 bytes.
const maxQuote = 64 << 10

// quote is the JSON of a virtual quote.
type quote struct {
	HostData    string `json:"host_data"`
	Measurement string `json:"measurement"`
	ReportData  []byte `json:"report_data"`
}

// Issuer makes virtual evidence.
type Issuer struct{ hostData [32]byte }

var (
	_ attest.Issuer   = (*Issuer)(nil)
	_ attest.Verifier = Verifier{}
)

// NewIssuer returns an Issuer whose host data is the given digest, normally
// BinaryDigest.
func NewIssuer(hostData [32]byte) *Issuer { return &Issuer{hostData: hostData} }

// HostData returns the digest that the issuer puts into its evidence.
func (i *Issuer) HostData() [32]byte { return i.hostData }

// Issue returns evidence with reportData in it. It does not fail.
func (i *Issuer) Issue(_ context.Context, reportData [32]byte) (attest.Evidence, error) {
	q, err := json.Marshal(quote{
		HostData:    hex.EncodeToString(i.hostData[:]),
		Measurement: Measurement,
		ReportData:  reportData[:],
	})
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("virtual quote: %w", err)
	}
	return attest.Evidence{Format: attest.FormatVirtual, Quote: q, Endorsements: []byte{}}, nil
}

// Verifier reads virtual evidence. There is nothing to verify but its form.
type Verifier struct{}

// Verify returns the claims of virtual evidence. Evidence of another format, or
// whose quote does not have the form above, is attest.ErrNotGenuine.
func (Verifier) Verify(_ context.Context, e attest.Evidence) (attest.Claims, error) {
	if e.Format != attest.FormatVirtual {
		return attest.Claims{}, fmt.Errorf("%w: format is not %s", attest.ErrNotGenuine, attest.FormatVirtual)
	}
	if len(e.Quote) > maxQuote {
		return attest.Claims{}, fmt.Errorf("%w: %d bytes", attest.ErrNotGenuine, len(e.Quote))
	}
	var q quote
	d := json.NewDecoder(bytes.NewReader(e.Quote))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return attest.Claims{}, fmt.Errorf("%w: %v", attest.ErrNotGenuine, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return attest.Claims{}, fmt.Errorf("%w: more than one JSON value", attest.ErrNotGenuine)
	}
	if q.Measurement == "" {
		return attest.Claims{}, fmt.Errorf("%w: no measurement", attest.ErrNotGenuine)
	}
	c := attest.Claims{Format: attest.FormatVirtual, Measurement: q.Measurement}
	if q.HostData == "" {
		return attest.Claims{}, fmt.Errorf("%w: %w", attest.ErrNotGenuine, attest.ErrNoHostData)
	}
	host, err := hex.DecodeString(q.HostData)
	if err != nil || copy(c.HostData[:], host) != len(host) || len(host) != len(c.HostData) {
		return attest.Claims{}, fmt.Errorf("%w: host_data is not 32 bytes of hex", attest.ErrNotGenuine)
	}
	if len(q.ReportData) != len(c.ReportData) {
		return attest.Claims{}, fmt.Errorf("%w: report_data is not 32 bytes", attest.ErrNotGenuine)
	}
	copy(c.ReportData[:], q.ReportData)
	return c, nil
}

// BinaryDigest returns the SHA-256 of the running binary: of the file that the
// kernel started, even when another one has taken its path since.
func BinaryDigest() ([32]byte, error) {
	path := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			return [32]byte{}, fmt.Errorf("finding the running binary: %w", err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return [32]byte{}, fmt.Errorf("opening the running binary: %w", err)
	}
	defer f.Close()
	return digest(f)
}

func digest(r io.Reader) ([32]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return [32]byte{}, fmt.Errorf("reading the running binary: %w", err)
	}
	return [32]byte(h.Sum(nil)), nil
}
