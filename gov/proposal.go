package gov

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"chancery/gov/tables"
	"chancery/kv"
)

// Propose records a proposal and resolves it. The state of what it returns is Open, or
// Accepted or Rejected where the constitution needs no vote. fx is used when it is accepted.
func Propose(ctx context.Context, tx *kv.Tx, fx Effects, s Signed) (*ProposalView, error) {
	id, err := proposalID(fx, s)
	if err != nil {
		return nil, err
	}
	return proposeAs(ctx, tx, fx, s, id)
}

// proposeAs is Propose under a given id.
func proposeAs(ctx context.Context, tx *kv.Tx, fx Effects, s Signed, id string) (*ProposalView, error) {
	c, err := loadConstitution(tx)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, failed("No constitution is set - proposals cannot be evaluated")
	}
	if err := c.validate(ctx, tx, fx, s.payload()); err != nil {
		return nil, err
	}
	if tables.Proposals.Has(tx, id) {
		return nil, failed("Proposal ID collision.")
	}
	if err := tables.Proposals.Put(tx, id, s.payload()); err != nil {
		return nil, err
	}
	p := tables.Proposal{ProposerID: s.Member, State: tables.ProposalOpen, Ballots: map[string]string{}}
	if err := tables.ProposalsInfo.Put(tx, id, p); err != nil {
		return nil, err
	}
	if err := tables.COSEHistory.Put(tx, s.Member, s.Raw); err != nil {
		return nil, err
	}
	if err := recordRecent(tx, s, id); err != nil {
		return nil, err
	}
	return c.resolve(ctx, tx, fx, id, s.payload(), p)
}

// proposalID binds a proposal to the state that its proposer could have seen.
func proposalID(fx Effects, s Signed) (string, error) {
	root, err := fx.Root()
	if err != nil {
		return "", fmt.Errorf("binding a proposal to the ledger: %w", err)
	}
	signature := sha256.Sum256(s.Envelope.Signature)
	id := sha256.Sum256(append(root[:], signature[:]...))
	return hex.EncodeToString(id[:]), nil
}

// Vote records a ballot and resolves the proposal with all its ballots. Sending the same
// ballot again changes nothing. proposalID and memberID are those in the request's path.
func Vote(ctx context.Context, tx *kv.Tx, fx Effects, s Signed, proposalID, memberID string) (*ProposalView, error) {
	if err := s.checkProposal(proposalID); err != nil {
		return nil, err
	}
	if err := s.checkMember(memberID); err != nil {
		return nil, err
	}
	p, text, err := openProposal(tx, proposalID)
	if err != nil {
		return nil, err
	}
	fields, refused := parseObject(s.payload())
	if refused != nil {
		return nil, refused
	}
	ballot, ok := stringField(fields, "ballot")
	if !ok {
		return nil, refuse(Invalid, CodeInvalidInput,
			"Signed request body is not a JSON object containing required string field \"ballot\"")
	}
	c, err := loadConstitution(tx)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, failed("No constitution is set - ballots cannot be evaluated")
	}
	if earlier, voted := p.Ballots[memberID]; voted {
		if earlier == ballot {
			return proposalView(proposalID, p), nil
		}
		return nil, refuse(Invalid, CodeVoteAlreadyExists, "Different ballot already submitted by %s for %s.",
			memberText(memberID), proposalID)
	}
	if p.Ballots == nil {
		p.Ballots = map[string]string{}
	}
	p.Ballots[memberID] = ballot
	if err := tables.COSEHistory.Put(tx, memberID, s.Raw); err != nil {
		return nil, err
	}
	return c.resolve(ctx, tx, fx, proposalID, text, p)
}

// openProposal reads a proposal that may still be voted on, and its text.
func openProposal(tx *kv.Tx, id string) (tables.Proposal, []byte, error) {
	p, ok, err := tables.ProposalsInfo.Get(tx, id)
	if err != nil {
		return p, nil, err
	}
	if !ok {
		return p, nil, refuse(Missing, CodeProposalNotFound, "Could not find proposal %s.", id)
	}
	if p.State != tables.ProposalOpen {
		return p, nil, refuse(Invalid, CodeProposalNotOpen,
			"Proposal %s is currently in state %s - only open proposals can receive votes", id, stateText(p.State))
	}
	text, ok, err := tables.Proposals.Get(tx, id)
	if err == nil && !ok {
		err = refuse(Missing, CodeProposalNotFound, "Could not find proposal %s.", id)
	}
	return p, text, err
}

// Withdraw takes an open proposal back; only its proposer can. It returns nil without an
// error for a proposal that is not known: it may have been withdrawn and forgotten.
func Withdraw(tx *kv.Tx, s Signed, proposalID string) (*ProposalView, error) {
	if err := s.checkProposal(proposalID); err != nil {
		return nil, err
	}
	p, ok, err := tables.ProposalsInfo.Get(tx, proposalID)
	if err != nil || !ok {
		return nil, err
	}
	if s.Member != p.ProposerID {
		return nil, refuse(Denied, CodeAuthorizationFailed,
			"Proposal %s can only be withdrawn by proposer %s, not caller %s.",
			proposalID, memberText(p.ProposerID), memberText(s.Member))
	}
	switch p.State {
	case tables.ProposalWithdrawn:
		return proposalView(proposalID, p), nil
	case tables.ProposalOpen:
	default:
		return nil, refuse(Invalid, CodeProposalNotOpen, "Proposal %s is currently in state %s and cannot be withdrawn.",
			proposalID, stateText(p.State))
	}
	p.State = tables.ProposalWithdrawn
	if err := tables.ProposalsInfo.Put(tx, proposalID, p); err != nil {
		return nil, err
	}
	if err := forgetClosed(tx, proposalID); err != nil {
		return nil, err
	}
	if err := tables.COSEHistory.Put(tx, s.Member, s.Raw); err != nil {
		return nil, err
	}
	return proposalView(proposalID, p), nil
}

// forgetClosed deletes all proposals that are not open but the one with the given id.
func forgetClosed(tx *kv.Tx, except string) error {
	all, err := tables.ProposalsInfo.All(tx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Key != except && p.Value.State != tables.ProposalOpen {
			tables.Proposals.Delete(tx, p.Key)
			tables.ProposalsInfo.Delete(tx, p.Key)
		}
	}
	return nil
}

// stateText is a state as messages have it.
func stateText(s tables.ProposalState) string { return strings.ToLower(string(s)) }
