package server

import (
	"context"
	"encoding/json"
	"net/http"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/server/api"
)

// refreshRequest is what the primary sends to itself when it has fetched an issuer's keys.
type refreshRequest struct {
	Issuer string          `json:"issuer"`
	JWKS   json.RawMessage `json:"jwks"`
}

// postRefresh replaces the keys of an issuer that is refreshed automatically. Only the
// primary itself may ask; everything that is wrong with the request is its own fault,
// and answered 500 as in CCF.
func (s *Server) postRefresh(_ context.Context, c *Call) (any, error) {
	refused := func(format string, args ...any) error {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, format, args...)
	}
	if c.Caller.ID != s.node.Info().PrimaryID {
		return nil, refused("Keys can be refreshed by the primary only.")
	}
	var in refreshRequest
	if err := c.DecodeJSON(&in); err != nil {
		return nil, refused("The request does not parse: %s", err)
	}
	issuer, ok, err := tables.JWTIssuers.Get(c.Tx, in.Issuer)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, refused("%s is not a valid issuer", in.Issuer)
	case !issuer.AutoRefresh:
		return nil, refused("%s does not have auto_refresh enabled", in.Issuer)
	}
	if err := gov.SetJWTKeys(c.Tx, in.Issuer, in.JWKS); err != nil {
		return nil, refused("The keys of %s were not taken: %s", in.Issuer, err)
	}
	return true, nil
}
