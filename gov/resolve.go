package gov

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/dop251/goja"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/kv"
)

// resolve evaluates the ballots of a proposal, asks the constitution what follows from
// the votes, writes the proposal's row, and applies an accepted one. A proposal that
// fails on the way is an error, so that its transaction is thrown away whole.
func (c *constitution) resolve(ctx context.Context, tx *kv.Tx, fx Effects, id string, text []byte, p tables.Proposal) (*ProposalView, error) {
	votes, failures, err := c.evaluate(ctx, tx, fx, id, text, p)
	if err != nil {
		return nil, err
	}
	p.State, err = c.decide(ctx, tx, fx, id, text, p, votes)
	if err != nil {
		return nil, err
	}
	if p.State == tables.ProposalOpen {
		if err := tables.ProposalsInfo.Put(tx, id, p); err != nil {
			return nil, err
		}
		return proposalView(id, p), nil
	}
	if err := forgetClosed(tx, id); err != nil {
		return nil, err
	}
	p.FinalVotes, p.VoteFailures = votes, failures
	// Written before apply runs, which may look at it.
	if err := tables.ProposalsInfo.Put(tx, id, p); err != nil {
		return nil, err
	}
	if p.State == tables.ProposalAccepted {
		if err := c.apply(ctx, tx, fx, id, text); err != nil {
			return nil, err
		}
	}
	return proposalView(id, p), nil
}

// evaluate calls each ballot's vote. A ballot that throws is a failure and no vote; one
// that is no module, or exports no vote, is an error.
func (c *constitution) evaluate(ctx context.Context, tx *kv.Tx, fx Effects, id string, text []byte, p tables.Proposal) (map[string]bool, map[string]tables.Failure, error) {
	votes, failures := map[string]bool{}, map[string]tables.Failure{}
	for _, member := range slices.Sorted(maps.Keys(p.Ballots)) {
		name := fmt.Sprintf("%s[%s].ballots[%s]", tables.NameProposalsInfo, id, memberText(member))
		ballot, err := js.Compile(name, p.Ballots[member])
		if err != nil {
			return nil, nil, failed("Failed to compile %s", name)
		}
		v, err := ballot.Call(ctx, c.env(tx, fx, js.GovReadOnly), "vote", string(text), p.ProposerID)
		if err != nil {
			thrown, err := thrownBy(err)
			if err != nil {
				return nil, nil, err
			}
			failures[member] = failure(thrown)
			continue
		}
		votes[member] = truthy(v)
	}
	return votes, failures, nil
}

func failure(thrown *js.Exception) tables.Failure {
	f := tables.Failure{Reason: thrown.Reason}
	if thrown.Trace != "" {
		f.Trace = &thrown.Trace
	}
	return f
}

// decide calls the constitution's resolve.
func (c *constitution) decide(ctx context.Context, tx *kv.Tx, fx Effects, id string, text []byte, p tables.Proposal, votes map[string]bool) (tables.ProposalState, error) {
	list := make([]any, 0, len(votes))
	for _, member := range slices.Sorted(maps.Keys(votes)) {
		list = append(list, js.Object{{Name: "member_id", Value: member}, {Name: "vote", Value: votes[member]}})
	}
	v, err := c.module.Call(ctx, c.env(tx, fx, js.GovReadOnly), "resolve", string(text), p.ProposerID, list, id)
	if err != nil {
		return "", failedIn("resolve", err)
	}
	switch state := tables.ProposalState(v.String()); state {
	case tables.ProposalOpen, tables.ProposalAccepted, tables.ProposalRejected:
		return state, nil
	default:
		return "", failed("resolve() returned invalid status value: \"%s\"\nTrace: N/A", state)
	}
}

// apply calls the constitution's apply, the only function that may change anything.
func (c *constitution) apply(ctx context.Context, tx *kv.Tx, fx Effects, id string, text []byte) error {
	before, err := takingPart(tx)
	if err != nil {
		return err
	}
	env := c.env(tx, fx, js.GovReadWrite)
	h := &host{tx: tx, fx: fx}
	env.Extend = func(vm *goja.Runtime, ccf *goja.Object) { h.install(vm, ccf) }
	if _, err := c.module.Call(ctx, env, "apply", string(text), id); err != nil {
		return failedIn("apply", err)
	}
	after, err := takingPart(tx)
	if err == nil && before > 0 && after == 0 {
		// Whatever the constitution says: nobody could ever again write, this included.
		err = failed("Failed to apply(): no trusted node would be left, and the service would be lost with its last one. Trust another node first.\nTrace: N/A")
	}
	return err
}

// failedIn is the error for an exception in a function of the constitution.
func failedIn(function string, err error) error {
	thrown, err := thrownBy(err)
	if err != nil {
		return err
	}
	trace := thrown.Trace
	if trace == "" {
		trace = "N/A"
	}
	return failed("Failed to %s(): %s\nTrace: %s", function, thrown.Reason, trace)
}
