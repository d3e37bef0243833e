package client

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// StateDigest is what a member acknowledges.
type StateDigest struct {
	Member string `json:"memberId"`
	Digest string `json:"stateDigest"` // hex
}

// Proposal is a proposal and what became of it.
type Proposal struct {
	ID           string             `json:"proposalId"`
	Proposer     string             `json:"proposerId"` // member id
	State        string             `json:"proposalState"`
	Ballots      int                `json:"ballotCount"`
	FinalVotes   map[string]bool    `json:"finalVotes,omitempty"`   // by member id, once settled
	VoteFailures map[string]Failure `json:"voteFailures,omitempty"` // by member id, once settled
	Failure      *Failure           `json:"failure,omitempty"`
}

// The states of a proposal.
const (
	ProposalOpen      = "Open"
	ProposalAccepted  = "Accepted"
	ProposalRejected  = "Rejected"
	ProposalWithdrawn = "Withdrawn"
	ProposalFailed    = "Failed"
	ProposalDropped   = "Dropped"
)

// Failure says why a script failed.
type Failure struct {
	Reason string `json:"reason"`
	Trace  string `json:"trace,omitempty"`
}

// Recovery is how far the recovery of a service has come.
type Recovery struct {
	Message          string `json:"message"`
	Submitted        int    `json:"submittedCount"`
	Threshold        int    `json:"recoveryThreshold"`
	FullKeySubmitted bool   `json:"fullKeySubmitted"`
}

// RecoveryStatus is how far the members' part of a recovery has come.
type RecoveryStatus struct {
	ServiceStatus string   `json:"serviceStatus"`
	LastTxID      string   `json:"lastTransactionId,omitempty"` // of the earlier life, while it is recovered
	Threshold     int      `json:"recoveryThreshold"`
	SubmittedBy   []string `json:"submittedBy"` // member ids
}

// MemberInfo is what the service knows of a member.
type MemberInfo struct {
	ID            string          `json:"memberId"`
	Status        string          `json:"status"` // Accepted or Active
	Data          json.RawMessage `json:"memberData,omitempty"`
	Certificate   string          `json:"certificate,omitempty"`         // PEM
	EncryptionKey string          `json:"publicEncryptionKey,omitempty"` // PEM
	RecoveryRole  string          `json:"recoveryRole"`                  // NonParticipant, Participant or Owner
}

// ServiceInfo is what the service says of itself.
type ServiceInfo struct {
	Status        string          `json:"status"`
	Certificate   string          `json:"certificate"` // PEM
	RecoveryCount uint64          `json:"recoveryCount"`
	CreateTxID    string          `json:"creationTransactionId,omitempty"`
	PreviousTxID  string          `json:"previousServiceCreationTransactionId,omitempty"`
	Data          json.RawMessage `json:"serviceData,omitempty"`
	Configuration *ServiceConfig  `json:"configuration,omitempty"`
}

// ServiceConfig is the configuration that members have agreed on.
type ServiceConfig struct {
	RecoveryThreshold     int `json:"recoveryThreshold"`
	NodeValidityDays      int `json:"maximumNodeCertificateValidityDays"`
	ServiceValidityDays   int `json:"maximumServiceCertificateValidityDays"`
	RecentProposalsWindow int `json:"recentCoseProposalsWindowSize"`
}

// govDocument reads one governance document.
func govDocument[T any](ctx context.Context, c *Client, path string) (*T, error) {
	out := new(T)
	if err := c.Get(ctx, govFrontend+path, versioned(), out); err != nil {
		return nil, err
	}
	return out, nil
}

// govList reads a governance document that lists things.
func govList[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	type list struct {
		Value []T `json:"value"`
	}
	out, err := govDocument[list](ctx, c, path)
	if err != nil {
		return nil, err
	}
	return out.Value, nil
}

// Proposal returns a proposal.
func (c *Client) Proposal(ctx context.Context, id string) (*Proposal, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return govDocument[Proposal](ctx, c, "/members/proposals/"+id)
}

// Proposals lists the proposals that the service still holds.
func (c *Client) Proposals(ctx context.Context) ([]Proposal, error) {
	return govList[Proposal](ctx, c, "/members/proposals")
}

// ProposalText returns a proposal as it was submitted.
func (c *Client) ProposalText(ctx context.Context, id string) ([]byte, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	resp, err := c.Do(ctx, Request{Path: govFrontend + "/members/proposals/" + id + "/actions", Query: versioned()})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// RecoveryStatus returns how far the members' part of a recovery has come.
func (c *Client) RecoveryStatus(ctx context.Context) (*RecoveryStatus, error) {
	return govDocument[RecoveryStatus](ctx, c, "/chancery/recovery")
}

// Members lists the members.
func (c *Client) Members(ctx context.Context) ([]MemberInfo, error) {
	return govList[MemberInfo](ctx, c, "/service/members")
}

// ServiceInfo returns the state of the service.
func (c *Client) ServiceInfo(ctx context.Context) (*ServiceInfo, error) {
	return govDocument[ServiceInfo](ctx, c, "/service/info")
}

// EncryptedShare returns a member's recovery share, encrypted for its encryption
// key.
func (c *Client) EncryptedShare(ctx context.Context, member string) ([]byte, error) {
	if err := checkID(member); err != nil {
		return nil, err
	}
	type share struct {
		Encrypted []byte `json:"encryptedShare"` // base64
	}
	out, err := govDocument[share](ctx, c, "/recovery/encrypted-shares/"+member)
	if err != nil {
		return nil, err
	}
	return out.Encrypted, nil
}

// DecryptShare decrypts a recovery share with the member's encryption key
// (RSA-OAEP, SHA-256). The result is a secret.
func DecryptShare(key *rsa.PrivateKey, encrypted []byte) ([]byte, error) {
	share, err := rsa.DecryptOAEP(sha256.New(), nil, key, encrypted, nil)
	if err != nil {
		return nil, fmt.Errorf("decrypting recovery share: %w", err)
	}
	return share, nil
}

// Constitution returns the text of the constitution in force.
func (c *Client) Constitution(ctx context.Context) (string, error) {
	return c.govText(ctx, "/service/constitution")
}

// Modules returns the modules of the application that is deployed, by name.
func (c *Client) Modules(ctx context.Context) (map[string]string, error) {
	list, err := govList[struct {
		Name string `json:"moduleName"`
	}](ctx, c, "/service/javascript-modules")
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(list))
	for _, m := range list {
		if out[m.Name], err = c.govText(ctx, "/service/javascript-modules/"+url.PathEscape(m.Name)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Ballot returns a member's ballot on a proposal; voted is false where there is none.
func (c *Client) Ballot(ctx context.Context, proposal, member string) (ballot string, voted bool, err error) {
	if err := errors.Join(checkID(proposal), checkID(member)); err != nil {
		return "", false, err
	}
	ballot, err = c.govText(ctx, "/members/proposals/"+proposal+"/ballots/"+member)
	if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
		return "", false, nil
	}
	return ballot, err == nil, err
}

// govText reads a governance document that is text.
func (c *Client) govText(ctx context.Context, path string) (string, error) {
	resp, err := c.Do(ctx, Request{Path: govFrontend + path, Query: versioned()})
	if err != nil {
		return "", err
	}
	return string(resp.Body), nil
}
