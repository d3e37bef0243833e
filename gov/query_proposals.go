package gov

import (
	"maps"
	"slices"

	"chancery/gov/tables"
)

// ProposalView is a proposal as the API shows it. Votes and failures are there, if only
// empty, once it was resolved to anything but Open.
type ProposalView struct {
	BallotCount int `json:"ballotCount"`
	// BallotSubmitters are the ids of those who sent a ballot, sorted.
	BallotSubmitters []string                  `json:"ballotSubmitters"`
	Failure          *tables.Failure           `json:"failure,omitempty"`
	FinalVotes       map[string]bool           `json:"finalVotes,omitzero"`
	ProposalID       string                    `json:"proposalId"`
	ProposalState    tables.ProposalState      `json:"proposalState"`
	ProposerID       string                    `json:"proposerId"`
	VoteFailures     map[string]tables.Failure `json:"voteFailures,omitzero"`
}

func proposalView(id string, p tables.Proposal) *ProposalView {
	submitters := slices.Sorted(maps.Keys(p.Ballots))
	if submitters == nil {
		submitters = []string{}
	}
	return &ProposalView{
		ProposalID: id, ProposerID: p.ProposerID, ProposalState: p.State,
		BallotCount: len(p.Ballots), BallotSubmitters: submitters,
		FinalVotes: p.FinalVotes, VoteFailures: p.VoteFailures, Failure: p.Failure,
	}
}

// Proposals returns every proposal that the tables hold, by id.
func Proposals(r tables.Reader) ([]*ProposalView, error) {
	all, err := tables.ProposalsInfo.All(r)
	if err != nil {
		return nil, err
	}
	out := make([]*ProposalView, len(all))
	for i, p := range all {
		out[i] = proposalView(p.Key, p.Value)
	}
	return out, nil
}

// GetProposal returns one proposal.
func GetProposal(r tables.Reader, id string) (*ProposalView, error) {
	if err := checkProposalID(id); err != nil {
		return nil, err
	}
	p, ok, err := tables.ProposalsInfo.Get(r, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(Missing, CodeProposalNotFound, "Could not find proposal %s.", id)
	}
	return proposalView(id, p), nil
}

// ProposalText returns the text of a proposal as it was submitted.
func ProposalText(r tables.Reader, id string) ([]byte, error) {
	if err := checkProposalID(id); err != nil {
		return nil, err
	}
	text, ok, err := tables.Proposals.Get(r, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(Missing, CodeProposalNotFound, "Could not find proposal %s.", id)
	}
	return text, nil
}

// Ballot returns the source of a member's ballot.
func Ballot(r tables.Reader, proposalID, memberID string) (string, error) {
	if err := checkProposalID(proposalID); err != nil {
		return "", err
	}
	if err := checkMemberID(memberID); err != nil {
		return "", err
	}
	p, ok, err := tables.ProposalsInfo.Get(r, proposalID)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", refuse(Missing, CodeProposalNotFound, "Proposal %s does not exist.", proposalID)
	}
	ballot, ok := p.Ballots[memberID]
	if !ok {
		return "", refuse(Missing, CodeVoteNotFound, "Member %s has not voted for proposal %s.", memberText(memberID), proposalID)
	}
	return ballot, nil
}
