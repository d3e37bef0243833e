package server

import (
	"context"
	"net/http"

	"chancery/gov"
	"chancery/server/api"
)

// decisionRoutes are the endpoints by which nodes of a lost service decide where it goes
// on. Nobody is asked who they are but for the evidence in the message.
func (s *Server) decisionRoutes() []*Route {
	var out []*Route
	for path, h := range map[string]jsonHandler{
		"gossip": s.decision(func(ctx context.Context, c *Call, key []byte, m gov.DecisionMessage) error {
			return s.cfg.Decision.Gossip(ctx, c.Tx, c.govEffects(), s.cfg.Verifier, key, m)
		}),
		"vote": s.decision(func(ctx context.Context, c *Call, key []byte, m gov.DecisionMessage) error {
			return s.cfg.Decision.Vote(ctx, c.Tx, c.govEffects(), s.cfg.Verifier, key, m)
		}),
		"iamopen": s.decision(func(ctx context.Context, c *Call, key []byte, m gov.DecisionMessage) error {
			return s.cfg.Decision.IAmOpen(ctx, c.Tx, s.cfg.Verifier, key, m)
		}),
		"timeout": s.decisionTimeout,
	} {
		r := &Route{Frontend: NodeFrontend, Method: "PUT", Path: "/recovery_decision_protocol/" + path, Handler: s.json(h), Hidden: true, Local: true}
		if path == "timeout" {
			r.Auth = []Policy{NodeCert}
		} else {
			r.Success, r.NoBody = http.StatusNoContent, true
		}
		out = append(out, r)
	}
	return out
}

// decision takes a message of a node that shows its key in the handshake.
func (s *Server) decision(take func(context.Context, *Call, []byte, gov.DecisionMessage) error) jsonHandler {
	return func(ctx context.Context, c *Call) (any, error) {
		if s.cfg.Decision == nil {
			return nil, noDecision()
		}
		peer := c.Session.Peer()
		if peer == nil {
			return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "A node that decides must show its certificate.")
		}
		var m gov.DecisionMessage
		if err := c.DecodeJSON(&m); err != nil {
			return nil, err
		}
		if err := take(ctx, c, peer.Cert.RawSubjectPublicKeyInfo, m); err != nil {
			return nil, joinRefusal(err)
		}
		return nil, nil
	}
}

func noDecision() error {
	return api.Errorf(http.StatusBadRequest, api.InvalidNodeState, "This node cannot do recovery-decision-protocol")
}

// decisionTimeout goes on without those that were not heard. Only the primary itself may ask.
func (s *Server) decisionTimeout(_ context.Context, c *Call) (any, error) {
	if s.cfg.Decision == nil {
		return nil, noDecision()
	}
	if c.Caller.ID != s.node.Info().PrimaryID {
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "Request does not originate from primary.")
	}
	if err := s.cfg.Decision.Advance(c.Tx, c.govEffects(), true); err != nil {
		return nil, err
	}
	return "Recovery-decision-protocol timeout processed successfully", nil
}
