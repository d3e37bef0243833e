package server

import (
	"context"
	"net/http"

	"chancery/gov"
	"chancery/kv/writeset"
	"chancery/server/api"
)

// list is the shape of every governance answer that lists things.
type list[T any] struct {
	Value []T `json:"value"`
}

func listOf[T any](values []T, err error) (any, error) {
	if values == nil {
		values = []T{}
	}
	return list[T]{values}, err
}

func (s *Server) getProposals(_ context.Context, c *Call) (any, error) {
	return listOf(gov.Proposals(c.Tx))
}

func (s *Server) postProposal(ctx context.Context, c *Call) (any, error) {
	return gov.Propose(ctx, c.Tx, c.govEffects(), c.signed())
}

func (s *Server) getProposal(_ context.Context, c *Call) (any, error) {
	return gov.GetProposal(c.Tx, c.Params.Get("proposalId"))
}

// getActions answers with a proposal's text as it was submitted, without a content type.
func (s *Server) getActions(_ context.Context, c *Call) error {
	text, err := gov.ProposalText(c.Tx, c.Params.Get("proposalId"))
	if err != nil {
		return err
	}
	c.Response.Raw("", text)
	return nil
}

// postWithdraw answers 204 for a proposal that is not known: withdrawing is idempotent.
func (s *Server) postWithdraw(_ context.Context, c *Call) (any, error) {
	p, err := gov.Withdraw(c.Tx, c.signed(), c.Params.Get("proposalId"))
	if err != nil || p == nil {
		return nil, err
	}
	return p, nil
}

func (s *Server) postBallot(ctx context.Context, c *Call) (any, error) {
	return gov.Vote(ctx, c.Tx, c.govEffects(), c.signed(), c.Params.Get("proposalId"), c.Params.Get("memberId"))
}

func (s *Server) getBallot(_ context.Context, c *Call) error {
	text, err := gov.Ballot(c.Tx, c.Params.Get("proposalId"), c.Params.Get("memberId"))
	if err != nil {
		return err
	}
	c.Response.Raw(api.TypeJS, []byte(text))
	return nil
}

func (s *Server) getStateDigest(_ context.Context, c *Call) (any, error) {
	return gov.StateDigest(c.Tx, c.Params.Get("memberId"))
}

func (s *Server) postStateDigest(_ context.Context, c *Call) (any, error) {
	return gov.UpdateStateDigest(c.Tx, c.signed(), c.Params.Get("memberId"))
}

func (s *Server) postAck(_ context.Context, c *Call) (any, error) {
	return nil, gov.Ack(c.Tx, c.govEffects(), c.signed(), c.Params.Get("memberId"))
}

// govTx is a transaction's status in the governance API's form.
type govTx struct {
	Status        string `json:"status"`
	TransactionID string `json:"transactionId"`
}

func (s *Server) getGovCommit(context.Context, *Call) (any, error) {
	p := s.node.Position()
	return govTx{Status: string(Committed), TransactionID: p.Committed.String()}, nil
}

func (s *Server) getGovTx(_ context.Context, c *Call) (any, error) {
	text := c.Params.Get("transactionId")
	id, err := writeset.ParseTxID(text)
	if err != nil {
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "'%s' is not a valid transaction ID", text)
	}
	status := s.node.Position().Status(id)
	if status == Pending {
		s.node.RequestSignature()
	}
	return govTx{Status: string(status), TransactionID: id.String()}, nil
}
