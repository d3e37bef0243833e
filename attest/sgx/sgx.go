package sgx

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"chancery/attest"
)

// ErrNotBuilt says that the program has nothing of EGo in it.
var ErrNotBuilt = errors.New("this program is not built with EGo (ego-go build -tags ego)")

// report is what the processor says of an enclave.
type report struct {
	data     []byte // that the enclave bound to it
	uniqueID []byte // MRENCLAVE
	debug    bool
	current  bool   // the processor's TCB is up to date
	status   string // of the TCB, in words
}

// runtime is what EGo gives to a program.
type runtime interface {
	self() (report, error)
	quote(data []byte) ([]byte, error)
	verify(quote []byte) (report, error)
	uniqueKey() (key, info []byte, err error)
	key(info []byte) ([]byte, error)
}

// Enclave is the one that the program runs in.
type Enclave struct {
	rt   runtime
	self report
}

var (
	_ attest.Issuer = (*Enclave)(nil)
	_ attest.Sealer = (*Enclave)(nil)
)

// Open returns the enclave. It fails outside of one, and in one that may be debugged.
func Open() (*Enclave, error) {
	rt, err := ego()
	if err != nil {
		return nil, err
	}
	return open(rt)
}

func open(rt runtime) (*Enclave, error) {
	self, err := rt.self()
	if err != nil {
		return nil, fmt.Errorf("this program does not run in an SGX enclave: %w", err)
	}
	if self.debug {
		return nil, errors.New("the enclave may be debugged by its host")
	}
	if len(self.uniqueID) != sha256.Size || isZero(self.uniqueID) {
		return nil, errors.New("the processor does not measure this enclave: it is simulated")
	}
	return &Enclave{rt: rt, self: self}, nil
}

func isZero(b []byte) bool {
	var all byte
	for _, v := range b {
		all |= v
	}
	return all == 0
}

// Measurement is the enclave's unique id.
func (e *Enclave) Measurement() []byte { return e.self.uniqueID }

// Issue binds reportData to the enclave.
func (e *Enclave) Issue(_ context.Context, reportData [32]byte) (attest.Evidence, error) {
	quote, err := e.rt.quote(reportData[:])
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("asking the processor for a quote: %w", err)
	}
	return attest.Evidence{Format: attest.FormatSGX, Quote: quote, Endorsements: []byte{}}, nil
}

// Algorithm is Chancery's own: CCF no longer runs on SGX.
func (*Enclave) Algorithm() string { return attest.SealedSGX }

// Version names the key that the enclave seals with now, in hex: EGo's key information,
// which holds the processor's and the program's security versions.
func (e *Enclave) Version() (string, error) {
	key, info, err := e.rt.uniqueKey()
	if err != nil {
		return "", fmt.Errorf("asking the processor for a key: %w", err)
	}
	defer clear(key)
	if isZero(key) {
		return "", errZeroKey
	}
	return hex.EncodeToString(info), nil
}

var errZeroKey = errors.New("asking the processor for a key: all zeros came")

// SealingKey derives the key from the processor's, which is bound to the unique id.
func (e *Enclave) SealingKey(version string) ([]byte, error) {
	info, err := hex.DecodeString(version)
	if err != nil || len(info) == 0 {
		return nil, errors.New("this names no key of an enclave")
	}
	key, err := e.rt.key(info)
	if err != nil {
		return nil, fmt.Errorf("asking the processor for a key: %w", err)
	}
	defer clear(key)
	if isZero(key) {
		return nil, errZeroKey
	}
	return hkdf.Key(sha256.New, key, e.self.uniqueID, "Chancery SGX sealing key", 32)
}

// Verifier verifies SGX evidence, where the program runs with EGo.
type Verifier struct {
	rt runtime // in place of EGo's, in tests
}

var _ attest.Explainer = Verifier{}

// Verify returns the claims of a quote that holds.
func (v Verifier) Verify(_ context.Context, e attest.Evidence) (attest.Claims, error) {
	return attest.Judge(v, e)
}

// maxQuote bounds a quote in bytes; real ones have about 5000.
const maxQuote = 64 << 10

// Explain is Verify check by check.
func (v Verifier) Explain(e attest.Evidence) (attest.Claims, []attest.Finding) {
	var out []attest.Finding
	check := func(name, says string, err error) bool {
		if err != nil {
			says, err = "", fmt.Errorf("%w: SGX: %w", attest.ErrNotGenuine, err)
		}
		out = append(out, attest.Finding{Check: name, Says: says, Err: err})
		return err == nil
	}
	rt, err := v.rt, error(nil)
	if rt == nil {
		if rt, err = ego(); err != nil {
			err = fmt.Errorf("evidence of format %s cannot be verified here: %w", attest.FormatSGX, err)
		}
	}
	if !check("format", string(attest.FormatSGX), err) {
		return attest.Claims{}, out
	}
	switch {
	case len(e.Quote) == 0 || len(e.Quote) > maxQuote:
		err = fmt.Errorf("a quote of %d bytes", len(e.Quote))
	}
	if !check("size", fmt.Sprintf("%d bytes", len(e.Quote)), err) {
		return attest.Claims{}, out
	}
	r, err := rt.verify(e.Quote)
	if !check("quote", "by EGo, up to Intel's root", err) {
		return attest.Claims{}, out
	}
	if !r.current {
		err = fmt.Errorf("the processor's TCB is %s", r.status)
	}
	if !check("TCB", r.status, err) {
		return attest.Claims{}, out
	}
	if r.debug {
		err = errors.New("the enclave may be debugged by its host")
	}
	if !check("debug", "off", err) {
		return attest.Claims{}, out
	}
	if len(r.data) < sha256.Size || len(r.uniqueID) != sha256.Size {
		err = errors.New("the report data or the unique id is too short")
	}
	if !check("report", hex.EncodeToString(r.uniqueID), err) {
		return attest.Claims{}, out
	}
	return attest.Claims{
		Format: attest.FormatSGX, Measurement: hex.EncodeToString(r.uniqueID), ReportData: [32]byte(r.data[:32]),
	}, out
}
