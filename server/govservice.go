package server

import (
	"context"
	"net/http"

	"chancery/gov"
	"chancery/server/api"
)

func (s *Server) getShare(_ context.Context, c *Call) (any, error) {
	return gov.Share(c.Tx, c.Params.Get("memberId"))
}

// postShare takes a recovery share.
func (s *Server) postShare(_ context.Context, c *Call) (any, error) {
	return gov.SubmitShare(c.Tx, c.govEffects(), c.signed(), c.Params.Get("memberId"))
}

// getRecovery says how far the members' part of a recovery has come.
func (s *Server) getRecovery(_ context.Context, c *Call) (any, error) {
	v, err := gov.RecoveryStatus(c.Tx)
	if err != nil {
		return nil, err
	}
	if last := s.node.Info().RecoveryTarget; last != nil {
		v.LastTransactionID = TxID{View: s.node.Position().ViewOf(*last), Seqno: *last}.String()
	}
	return v, nil
}

func (s *Server) getServiceInfo(_ context.Context, c *Call) (any, error) {
	return gov.ServiceInfo(c.Tx, s.node.Position().ViewOf)
}

func (s *Server) getConstitution(_ context.Context, c *Call) error {
	text, err := gov.Constitution(c.Tx)
	if err != nil {
		return err
	}
	c.Response.Raw(api.TypeJS, []byte(text))
	return nil
}

func (s *Server) getMembers(_ context.Context, c *Call) (any, error) {
	return listOf(gov.Members(c.Tx))
}

func (s *Server) getMember(_ context.Context, c *Call) (any, error) {
	return gov.GetMember(c.Tx, c.Params.Get("memberId"))
}

func (s *Server) getUsers(_ context.Context, c *Call) (any, error) {
	return listOf(gov.Users(c.Tx))
}

func (s *Server) getUser(_ context.Context, c *Call) (any, error) {
	return gov.GetUser(c.Tx, c.Params.Get("userId"))
}

func (s *Server) getGovNodes(_ context.Context, c *Call) (any, error) {
	return listOf(gov.Nodes(c.Tx))
}

func (s *Server) getGovNode(_ context.Context, c *Call) (any, error) {
	return gov.GetNode(c.Tx, c.Params.Get("nodeId"))
}

func (s *Server) getJoinPolicy(_ context.Context, c *Call) (any, error) {
	return gov.JoinPolicy(c.Tx)
}

func (s *Server) getJWK(_ context.Context, c *Call) (any, error) { return gov.JWK(c.Tx) }

// getJSApp shows the endpoints of the deployed application, with defaults filled in or
// (case=original) as the proposal had them.
func (s *Server) getJSApp(_ context.Context, c *Call) (any, error) {
	how, original := c.Query.Get("case")
	if original && how != "original" {
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Accepted values for the 'case' query parameter are: original")
	}
	return gov.JSApp(c.Tx, original)
}

func (s *Server) getModules(_ context.Context, c *Call) (any, error) {
	return listOf(gov.Modules(c.Tx))
}

// getModule shows a module's source. Names begin with a slash, so that the path holds
// them encoded.
func (s *Server) getModule(_ context.Context, c *Call) error {
	text, err := gov.Module(c.Tx, decodeQuery(c.Params.Get("moduleName")))
	if err != nil {
		return err
	}
	c.Response.Raw(api.TypeJS, []byte(text))
	return nil
}
