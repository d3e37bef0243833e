package server

import (
	"context"

	"chancery/gov"
	"chancery/kv/writeset"
)

// simulateNew answers with what a proposal, the request's body, would write if it were
// accepted now. Nothing is written.
func (s *Server) simulateNew(ctx context.Context, c *Call) (any, error) {
	return simulated(c, gov.Simulate(ctx, c.Tx, c.govEffects(), c.Body))
}

// simulateOpen is simulateNew for a proposal that is open.
func (s *Server) simulateOpen(ctx context.Context, c *Call) (any, error) {
	return simulated(c, gov.SimulateOpen(ctx, c.Tx, c.govEffects(), c.Params.Get("proposalId")))
}

func simulated(c *Call, err error) (any, error) {
	c.ApplyWrites(false)
	if err != nil {
		return nil, err
	}
	public, _ := c.Tx.WriteSet().Split()
	return simulation{public.JSON()}, nil
}

// simulation is the answer: the public tables that would be written.
type simulation struct {
	Tables []writeset.MapJSON `json:"tables"`
}
