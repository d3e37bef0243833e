package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"time"

	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/kv/writeset"
	"chancery/server/api"
)

// Message is what a member has to say, to be signed here or elsewhere.
type Message struct {
	// Type is "proposal", "ballot" or "withdrawal".
	Type string
	// Proposal is the id of the proposal concerned; "" for a new one.
	Proposal string
	// Payload is the proposal, or the ballot as {"ballot": source}; empty for a withdrawal.
	Payload []byte
}

// Ballot is the message of a vote.
func Ballot(proposal, source string) (Message, error) {
	body, err := json.Marshal(map[string]string{"ballot": source})
	return Message{Type: cose.TypeBallot, Proposal: proposal, Payload: body}, err
}

// header is the message's protected header for a member, at a time.
func (m Message) header(member string, now time.Time) (cose.Header, error) {
	h := cose.Header{KID: member, MsgType: &m.Type}
	at := now.Unix()
	h.CreatedAt = &at
	switch {
	case m.Type == cose.TypeProposal && m.Proposal == "":
		return h, nil
	case m.Type == cose.TypeBallot || m.Type == cose.TypeWithdrawal:
		h.ProposalID = &m.Proposal
		return h, checkID(m.Proposal)
	}
	return h, fmt.Errorf("no message of type %q about proposal %q", m.Type, m.Proposal)
}

// Sign makes the message one of a member's.
func (m Message) Sign(cert *x509.Certificate, key crypto.Signer, now time.Time) ([]byte, error) {
	h, err := m.header(identity.CertID(cert.Raw), now)
	if err != nil {
		return nil, err
	}
	return cose.Sign(key, h, m.Payload)
}

// PendingMessage is a message that waits for a signature that is made elsewhere. It marshals
// as JSON.
type PendingMessage struct {
	Cert      []byte `json:"certificate"` // DER
	Algorithm string `json:"alg"`         // "ES256", "ES384" or "ES512"
	Digest    []byte `json:"value"`       // what is to be signed, already hashed
	Protected []byte `json:"protected"`   // the encoded protected header
	Payload   []byte `json:"payload"`
}

// Prepare makes the message ready to be signed by whoever holds the certificate's key.
func (m Message) Prepare(cert *x509.Certificate, now time.Time) (*PendingMessage, error) {
	h, err := m.header(identity.CertID(cert.Raw), now)
	if err != nil {
		return nil, err
	}
	alg, err := cose.AlgorithmFor(cert.PublicKey)
	if err != nil {
		return nil, err
	}
	p, err := cose.Prepare(alg, h, m.Payload)
	if err != nil {
		return nil, err
	}
	out := &PendingMessage{Cert: cert.Raw, Algorithm: alg.String(), Protected: p.Protected, Payload: p.Payload}
	out.Digest, err = p.Digest()
	return out, err
}

// Finish puts in the signature, DER (as OpenSSL and most tokens give it) or r‖s, and
// returns the message once it verifies under the certificate.
func (p *PendingMessage) Finish(signature []byte) ([]byte, error) {
	cert, err := x509.ParseCertificate(p.Cert)
	if err != nil {
		return nil, fmt.Errorf("the pending message's certificate: %w", err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the pending message's certificate has no ECDSA key")
	}
	alg, err := cose.AlgorithmFor(key)
	if err != nil {
		return nil, err
	}
	message := &cose.Prepared{Alg: alg, Protected: p.Protected, Payload: p.Payload}
	candidates := [][]byte{signature}
	var der struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &der); err == nil && len(rest) == 0 && der.R.Sign() > 0 && der.S.Sign() > 0 {
		half := alg.SignatureSize() / 2
		if der.R.BitLen() <= 8*half && der.S.BitLen() <= 8*half {
			candidates = append(candidates, append(der.R.FillBytes(make([]byte, half)), der.S.FillBytes(make([]byte, half))...))
		}
	}
	for _, sig := range candidates {
		raw, err := message.Finish(sig)
		if err != nil {
			continue
		}
		if m, err := cose.ParseMember(raw); err == nil && m.Verify(key) == nil {
			return raw, nil
		}
	}
	return nil, errors.New("the signature is not the certificate's over this message")
}

// GovPath is where a signed message is posted: the path and query below the service's
// address.
func GovPath(envelope []byte) (string, error) {
	path, err := govPath(envelope)
	if err != nil {
		return "", err
	}
	return govFrontend + path + "?" + versioned().Encode(), nil
}

func govPath(envelope []byte) (string, error) {
	m, err := cose.ParseMember(envelope)
	if err != nil {
		return "", err
	}
	h := m.Header
	if h.MsgType == nil {
		return "", errors.New("the message does not say of which type it is")
	}
	if *h.MsgType == cose.TypeProposal {
		return "/members/proposals:create", nil
	}
	if h.ProposalID == nil || checkID(*h.ProposalID) != nil || checkID(h.KID) != nil {
		return "", fmt.Errorf("the %s does not name its proposal and its member", *h.MsgType)
	}
	switch *h.MsgType {
	case cose.TypeBallot:
		return "/members/proposals/" + *h.ProposalID + "/ballots/" + h.KID + ":submit", nil
	case cose.TypeWithdrawal:
		return "/members/proposals/" + *h.ProposalID + ":withdraw", nil
	}
	return "", fmt.Errorf("a message of type %q", *h.MsgType)
}

// replayed finds the proposal in the message of a refused repetition.
var replayed = regexp.MustCompile(`already exists as proposal ([0-9a-f]{64})$`)

// Send posts a message that a member has signed. If the answer to a proposal is lost, it
// is submitted again, which the service recognises. It returns nil for the withdrawal of
// a proposal that the service does not know.
func (c *Client) Send(ctx context.Context, envelope []byte) (*Proposal, error) {
	path, err := govPath(envelope)
	if err != nil {
		return nil, err
	}
	var out Proposal
	_, err = c.postSigned(ctx, path, envelope, &out)
	if e := (*Error)(nil); errors.As(err, &e) && e.Code == api.ProposalReplay {
		if found := replayed.FindStringSubmatch(e.Message); found != nil {
			return c.Proposal(ctx, found[1])
		}
	}
	if err != nil {
		return nil, err
	}
	if out.ID == "" {
		return nil, nil
	}
	return &out, nil
}

// Simulation is what a proposal would write to public tables if it were accepted now.
type Simulation struct {
	Tables []writeset.MapJSON `json:"tables"`
}

// Simulate asks what a proposal would do; nothing is done. The client's certificate must
// be a member's.
func (c *Client) Simulate(ctx context.Context, proposal []byte) (*Simulation, error) {
	return c.simulate(ctx, "/chancery/proposals:simulate", proposal)
}

// SimulateOpen is Simulate for a proposal that is open.
func (c *Client) SimulateOpen(ctx context.Context, id string) (*Simulation, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return c.simulate(ctx, "/chancery/proposals/"+id+":simulate", nil)
}

func (c *Client) simulate(ctx context.Context, path string, body []byte) (*Simulation, error) {
	resp, err := c.Do(ctx, Request{
		Method: http.MethodPost, Path: govFrontend + path, Query: versioned(), Body: body, ContentType: api.TypeJSON, Idempotent: true,
	})
	if err != nil {
		return nil, err
	}
	var out Simulation
	return &out, resp.JSON(&out)
}
