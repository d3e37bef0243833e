package gov

import (
	"context"

	"chancery/kv"
)

// unsubmitted is the id under which a proposal is simulated that nobody has submitted.
const unsubmitted = "0000000000000000000000000000000000000000000000000000000000000000"

// Simulate does what an accepted proposal would do now: tx has its writes then, and is to
// be discarded. They are those that the acceptance will make on the same state, but for
// what is drawn at random or made with the service's key. The votes are not looked at.
func Simulate(ctx context.Context, tx *kv.Tx, fx Effects, proposal []byte) error {
	return simulate(ctx, tx, fx, unsubmitted, proposal)
}

// SimulateOpen is Simulate for a proposal that is open.
func SimulateOpen(ctx context.Context, tx *kv.Tx, fx Effects, id string) error {
	if err := checkProposalID(id); err != nil {
		return err
	}
	_, text, err := openProposal(tx, id)
	if err != nil {
		return err
	}
	return simulate(ctx, tx, fx, id, text)
}

func simulate(ctx context.Context, tx *kv.Tx, fx Effects, id string, text []byte) error {
	c, err := loadConstitution(tx)
	if err != nil {
		return err
	}
	if c == nil {
		return failed("No constitution is set - proposals cannot be evaluated")
	}
	if err := c.validate(ctx, tx, fx, text); err != nil {
		return err
	}
	return c.apply(ctx, tx, fx, id, text)
}
