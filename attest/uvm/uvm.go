package uvm

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"chancery/attest"
	"chancery/internal/cose"
)

// maxSize bounds an endorsement, in bytes; real ones are about 11 KB.
const maxSize = 128 << 10

// Why an endorsement says nothing.
var (
	// ErrMalformed: it is no message of either form.
	ErrMalformed = errors.New("malformed UVM endorsement")
	// ErrIssuer: its chain does not hold, or is not that of its issuer's DID.
	ErrIssuer = errors.New("the signer of the UVM endorsement is not its issuer")
	// ErrSignature: it is not signed with the chain's first certificate.
	ErrSignature = errors.New("the UVM endorsement is not signed by its signer")
	// ErrMeasurement: it is about another measurement.
	ErrMeasurement = errors.New("the UVM endorsement is about another measurement")
)

// The labels and values of the header.
const (
	labelContentType  = 3
	labelCWT          = 15
	labelChain        = 33
	labelPreimage     = 259
	cwtIssuer         = 1
	cwtSubject        = 2
	contentJSON       = "application/json"
	contentOctets     = "application/octet-stream"
	maxChain          = 10
	launchMeasurement = "x-ms-sevsnpvm-launchmeasurement"
	guestSVN          = "x-ms-sevsnpvm-guestsvn"
)

// Verify returns who endorses a measurement (96 hex digits): issuer, feed and version,
// which are for a policy to judge. It panics on no bytes.
func Verify(endorsement []byte, measurement string) (attest.UVM, error) {
	if len(endorsement) > maxSize {
		return attest.UVM{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(endorsement))
	}
	msg, err := cose.Parse(endorsement)
	if err != nil {
		return attest.UVM{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s, err := parse(msg)
	if err != nil {
		return attest.UVM{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := checkIssuer(s.chain, s.uvm.DID); err != nil {
		return attest.UVM{}, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	if err := verifySignature(msg, s.chain[0]); err != nil {
		return attest.UVM{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if err := s.readPayload(msg.Payload); err != nil {
		return attest.UVM{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if s.measurement != measurement {
		return attest.UVM{}, fmt.Errorf("%w: %.100q, want %s", ErrMeasurement, s.measurement, measurement)
	}
	return s.uvm, nil
}

// statement is an endorsement taken apart.
type statement struct {
	chain       []*x509.Certificate
	uvm         attest.UVM
	claims      bool // the version stands in CWT claims, and the payload is the measurement
	contentType string
	measurement string
}

func parse(msg *cose.Sign1) (*statement, error) {
	if msg.Payload == nil {
		return nil, errors.New("no payload")
	}
	header, err := cose.DecodeMap(msg.Protected)
	if err != nil {
		return nil, fmt.Errorf("protected header: %w", err)
	}
	s := new(statement)
	if s.chain, err = parseChain(header); err != nil {
		return nil, err
	}
	if _, s.claims = header.Get(labelCWT); s.claims {
		return s, s.readClaims(header)
	}
	return s, errors.Join(
		text(header, "iss", &s.uvm.DID), text(header, "feed", &s.uvm.Feed), text(header, labelContentType, &s.contentType))
}

// readClaims reads the newer form.
func (s *statement) readClaims(header cose.Map) error {
	v, _ := header.Get(labelCWT)
	claims, ok := v.(cose.Map)
	if !ok {
		return errors.New("the CWT claims are no map")
	}
	v, _ = claims.Get("svn")
	svn, ok := v.(int64)
	if !ok || svn < 0 {
		return errors.New("the CWT claims have no version")
	}
	s.uvm.SVN = uint64(svn)
	return errors.Join(
		text(claims, cwtIssuer, &s.uvm.DID), text(claims, cwtSubject, &s.uvm.Feed), text(header, labelPreimage, &s.contentType))
}

func text(m cose.Map, key any, out *string) error {
	v, _ := m.Get(key)
	t, ok := v.(string)
	if !ok {
		return fmt.Errorf("header %v is no text", key)
	}
	*out = t
	return nil
}

// parseChain reads x5chain: one certificate, or an array of them.
func parseChain(header cose.Map) ([]*x509.Certificate, error) {
	v, _ := header.Get(labelChain)
	items, ok := v.(cose.Array)
	if one, single := v.([]byte); single {
		items, ok = cose.Array{one}, true
	}
	if !ok || len(items) == 0 || len(items) > maxChain {
		return nil, fmt.Errorf("x5chain is no list of 1 to %d certificates", maxChain)
	}
	out := make([]*x509.Certificate, len(items))
	for i, item := range items {
		der, ok := item.([]byte)
		if !ok {
			return nil, fmt.Errorf("x5chain[%d] is no byte string", i)
		}
		var err error
		if out[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("x5chain[%d]: %w", i, err)
		}
	}
	return out, nil
}

func verifySignature(msg *cose.Sign1, signer *x509.Certificate) error {
	switch key := signer.PublicKey.(type) {
	case *rsa.PublicKey:
		return msg.VerifyPSS(key)
	case *ecdsa.PublicKey:
		return msg.Verify(key)
	}
	return fmt.Errorf("a key of type %T", signer.PublicKey)
}

// readPayload takes the measurement, and in the older form the version, out of a payload
// whose signature holds.
func (s *statement) readPayload(payload []byte) error {
	if s.claims {
		if s.contentType != contentOctets {
			return fmt.Errorf("content type %.64q, want %s", s.contentType, contentOctets)
		}
		s.measurement = hex.EncodeToString(payload)
		return nil
	}
	if s.contentType != contentJSON {
		return fmt.Errorf("content type %.64q, want %s", s.contentType, contentJSON)
	}
	var p map[string]json.RawMessage
	if err := json.Unmarshal(payload, &p); err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	if err := json.Unmarshal(p[launchMeasurement], &s.measurement); err != nil {
		return fmt.Errorf("payload: %s: %w", launchMeasurement, err)
	}
	version := string(p[guestSVN])
	if json.Unmarshal(p[guestSVN], &version) != nil {
		version = string(p[guestSVN]) // a number
	}
	var err error
	if s.uvm.SVN, err = strconv.ParseUint(version, 10, 64); err != nil {
		return fmt.Errorf("payload: %s: %w", guestSVN, err)
	}
	return nil
}
