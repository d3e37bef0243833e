package client

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"chancery/internal/cose"
	"chancery/server/api"
)

// govVersion is the version of the governance API that this package speaks.
const govVersion = "2024-07-01"

// The two ballots that need no thought.
const (
	BallotYes = "export function vote (rawProposal, proposerId) { return true }"
	BallotNo  = "export function vote (rawProposal, proposerId) { return false }"
)

// Member makes the governance calls of one member. The calls of one Member may run
// at the same time. Each is committed when it returns.
type Member struct {
	client *Client
	id     string
	key    crypto.Signer
}

// Member returns the member with the given certificate and its private key, which
// is ECDSA on P-256, P-384 or P-521.
func (c *Client) Member(cert *x509.Certificate, key crypto.Signer) (*Member, error) {
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(cert.PublicKey) {
		return nil, errors.New("member: the key is not the certificate's")
	}
	if _, err := cose.AlgorithmFor(key.Public()); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	id := sha256.Sum256(cert.Raw)
	return &Member{client: c, id: hex.EncodeToString(id[:]), key: key}, nil
}

// ID returns the member's id: the hex SHA-256 of its certificate in DER.
func (m *Member) ID() string { return m.id }

// UpdateStateDigest has the service record the root of its ledger for the member
// to acknowledge, and returns it, in hex.
func (m *Member) UpdateStateDigest(ctx context.Context) (string, error) {
	var out StateDigest
	_, err := m.call(ctx, "/members/state-digests/"+m.id+":update", cose.TypeStateDigest, "", nil, &out)
	return out.Digest, err
}

// Ack acknowledges a state digest. The first time makes the member active.
func (m *Member) Ack(ctx context.Context, digest string) error {
	body, err := json.Marshal(StateDigest{Member: m.id, Digest: digest})
	if err != nil {
		return err
	}
	_, err = m.call(ctx, "/members/state-digests/"+m.id+":ack", cose.TypeAck, "", body, nil)
	return err
}

// Activate updates the state digest and acknowledges it.
func (m *Member) Activate(ctx context.Context) error {
	digest, err := m.UpdateStateDigest(ctx)
	if err != nil {
		return err
	}
	return m.Ack(ctx, digest)
}

// Propose submits a proposal, a JSON document {"actions": [{"name", "args"}, …]}.
// It may be settled at once: see the state in the answer. If the answer to a
// submission is lost, it is submitted again, which the service recognises.
func (m *Member) Propose(ctx context.Context, proposal []byte) (*Proposal, error) {
	envelope, err := cose.Sign(m.key, m.client.header(m.id, cose.TypeProposal, ""), proposal)
	if err != nil {
		return nil, fmt.Errorf("signing a proposal: %w", err)
	}
	return m.client.Send(ctx, envelope)
}

// Vote submits a ballot for a proposal: the source of a JavaScript module that
// exports vote(rawProposal, proposerId).
func (m *Member) Vote(ctx context.Context, proposal, ballot string) (*Proposal, error) {
	if err := checkID(proposal); err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"ballot": ballot})
	if err != nil {
		return nil, err
	}
	var out Proposal
	_, err = m.call(ctx, "/members/proposals/"+proposal+"/ballots/"+m.id+":submit", cose.TypeBallot, proposal, body, &out)
	return settled(&out, err)
}

// Withdraw withdraws a proposal of the member's own. It returns nil if the service
// does not know the proposal, which is no error.
func (m *Member) Withdraw(ctx context.Context, proposal string) (*Proposal, error) {
	if err := checkID(proposal); err != nil {
		return nil, err
	}
	var out Proposal
	status, err := m.call(ctx, "/members/proposals/"+proposal+":withdraw", cose.TypeWithdrawal, proposal, nil, &out)
	if err == nil && status == http.StatusNoContent {
		return nil, nil
	}
	return settled(&out, err)
}

// SubmitShare submits the member's recovery share, decrypted (DecryptShare).
func (m *Member) SubmitShare(ctx context.Context, share []byte) (*Recovery, error) {
	body, err := json.Marshal(map[string]string{"share": base64.StdEncoding.EncodeToString(share)})
	if err != nil {
		return nil, err
	}
	var out Recovery
	if _, err := m.call(ctx, "/recovery/members/"+m.id+":recover", cose.TypeRecoveryShare, "", body, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

func settled(p *Proposal, err error) (*Proposal, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// call signs a message and posts it. Sending the same message twice does no harm:
// proposals are protected against replay, everything else is idempotent.
func (m *Member) call(ctx context.Context, path, msgType, proposal string, payload []byte, out any) (status int, err error) {
	envelope, err := cose.Sign(m.key, m.client.header(m.id, msgType, proposal), payload)
	if err != nil {
		return 0, fmt.Errorf("signing a %s: %w", msgType, err)
	}
	return m.client.postSigned(ctx, path, envelope, out)
}

// header is the protected header of a message of a member, signed now.
func (c *Client) header(member, msgType, proposal string) cose.Header {
	now := c.cfg.Now().Unix()
	h := cose.Header{KID: member, MsgType: &msgType, CreatedAt: &now}
	if proposal != "" {
		h.ProposalID = &proposal
	}
	return h
}

// postSigned posts a signed message to a governance endpoint.
func (c *Client) postSigned(ctx context.Context, path string, envelope []byte, out any) (status int, err error) {
	resp, err := c.Do(ctx, Request{
		Method: http.MethodPost, Path: govFrontend + path, Query: versioned(), Body: envelope,
		ContentType: api.TypeCOSE, Idempotent: true, Wait: ForCommit,
	})
	if err != nil {
		return 0, err
	}
	if out != nil && len(resp.Body) > 0 {
		return resp.Status, resp.JSON(out)
	}
	return resp.Status, nil
}

func versioned() url.Values { return url.Values{"api-version": {govVersion}} }

// checkID refuses what is no id of a proposal, member, user or node, before it
// gets into a path.
func checkID(id string) error {
	if b, err := hex.DecodeString(id); err != nil || len(b) != sha256.Size {
		return fmt.Errorf("%q is not an id: 64 hex digits", id)
	}
	return nil
}
