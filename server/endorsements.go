package server

import (
	"context"

	"chancery/ledger"
	"chancery/server/api"
)

// getEndorsements answers with the statements, newest first, that lead from the service's
// present identity to the one that signed a transaction: what a COSE receipt of an earlier
// life needs to be verified under the present certificate.
func (s *Server) getEndorsements(ctx context.Context, c *Call) error {
	text, _ := c.Query.Get("transaction_id")
	id, err := s.historicalID(c, text)
	if err != nil {
		return err
	}
	written, err := s.node.Endorsements(ctx)
	if err != nil {
		return s.historicalError(c, id, err)
	}
	chain, err := ledger.EndorsementsFor(written, id)
	if err != nil {
		return s.historicalError(c, id, err)
	}
	out := api.Endorsements{Endorsements: [][]byte{}}
	for _, e := range chain {
		out.Endorsements = append(out.Endorsements, e.Raw)
	}
	return c.Response.JSON(out)
}
