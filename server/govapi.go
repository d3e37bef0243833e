package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"chancery/gov"
	"chancery/internal/cose"
	"chancery/server/api"
)

// The versions of the governance API. Both have one meaning; the endpoints that show
// the JavaScript application came with the second.
var (
	allVersions = []string{"2023-06-01-preview", "2024-07-01"}
	jsVersions  = []string{"2024-07-01"}
)

func supportsVersion(versions []string, v string) bool { return slices.Contains(versions, v) }

func unsupportedVersion(v string, versions []string) error {
	return api.Errorf(http.StatusBadRequest, api.UnsupportedAPIVersionValue,
		"Unsupported api-version '%s'. The supported api-versions are: %s", v, strings.Join(versions, ", "))
}

// checkVersion checks the api-version that a governance request must name.
func checkVersion(c *Call, versions []string) error {
	v, ok := c.Query.Get("api-version")
	switch {
	case !ok:
		return api.Errorf(http.StatusBadRequest, api.MissingAPIVersionParameter,
			"The api-version query parameter (?api-version=) is required for all requests. The supported api-versions are: %s", strings.Join(versions, ", "))
	case !supportsVersion(versions, v):
		return unsupportedVersion(v, versions)
	}
	return nil
}

// versioned makes a governance endpoint of a handler: it checks the api-version, and
// keeps the writes of a refusal that asks for it.
func versioned(versions []string, h Handler) Handler {
	return func(ctx context.Context, c *Call) error {
		if err := checkVersion(c, versions); err != nil {
			return err
		}
		err := h(ctx, c)
		if e := (*gov.Error)(nil); errors.As(err, &e) && e.Apply {
			c.Response.setError(govAnswer(e))
			c.ApplyWrites(true)
			return nil
		}
		return err
	}
}

// govStatus maps the kinds of refusal of package gov to HTTP.
var govStatus = map[gov.Kind]int{
	gov.Failed:  http.StatusInternalServerError,
	gov.Invalid: http.StatusBadRequest,
	gov.Denied:  http.StatusForbidden,
	gov.Missing: http.StatusNotFound,
}

func govAnswer(e *gov.Error) *api.Error {
	return &api.Error{Status: govStatus[e.Kind], Code: api.Code(e.Code), Message: e.Message}
}

// govFailure is the answer for an error of package gov, nil for any other.
func govFailure(err error) *api.Error {
	if e := (*gov.Error)(nil); errors.As(err, &e) {
		return govAnswer(e)
	}
	return nil
}

// govEffects returns the carrier for what a governance action does beside its writes.
func (c *Call) govEffects() gov.Effects {
	if c.effects == nil {
		c.effects = c.server.node.Effects(c.Tx)
	}
	return c.effects
}

// signed is the request of a member, as package gov takes it.
func (c *Call) signed() gov.Signed {
	return gov.Signed{Member: c.Caller.ID, Envelope: c.Caller.COSE, Raw: c.Body}
}

// govRoutes are the endpoints of /gov, beside the common ones.
func (s *Server) govRoutes() []*Route {
	version := []QueryParam{{Name: "api-version", Required: true}}
	add := func(method, path string, versions []string, auth []Policy, h Handler) *Route {
		r := &Route{Frontend: GovFrontend, Method: method, Path: path, Auth: auth, versions: versions, Query: version, Handler: versioned(versions, h)}
		if method == http.MethodGet {
			r.Mode = ReadOnly
		}
		return r
	}
	get := func(path string, h jsonHandler) *Route { return add("GET", path, allVersions, nil, s.json(h)) }
	raw := func(path, contentType string, versions []string, h Handler) *Route {
		r := add("GET", path, versions, nil, h)
		r.Type = contentType
		return r
	}
	active := func(path, msgType string, h jsonHandler) *Route {
		return add("POST", path, allVersions, []Policy{ActiveMemberCOSE(msgType)}, s.json(h))
	}
	member := func(path, msgType string, h jsonHandler) *Route {
		return add("POST", path, allVersions, []Policy{MemberCOSE(msgType)}, s.json(h))
	}
	js := add("GET", "/service/javascript-app", jsVersions, nil, s.json(s.getJSApp))
	js.Query = []QueryParam{version[0], {Name: "case"}}
	ack := member("/members/state-digests/{memberId}:ack", cose.TypeAck, s.postAck)
	ack.Success = http.StatusNoContent
	simulate := func(path string, h jsonHandler) *Route {
		r := add("POST", path, allVersions, []Policy{MemberCert}, s.json(h))
		r.Mode, r.Local = ReadOnly, true
		return r
	}
	return []*Route{
		simulate("/chancery/proposals:simulate", s.simulateNew),
		simulate("/chancery/proposals/{proposalId}:simulate", s.simulateOpen),
		get("/chancery/recovery", s.getRecovery),
		get("/members/proposals", s.getProposals),
		active("/members/proposals:create", cose.TypeProposal, s.postProposal),
		get("/members/proposals/{proposalId}", s.getProposal),
		raw("/members/proposals/{proposalId}/actions", api.TypeJSON, allVersions, s.getActions),
		active("/members/proposals/{proposalId}:withdraw", cose.TypeWithdrawal, s.postWithdraw),
		active("/members/proposals/{proposalId}/ballots/{memberId}:submit", cose.TypeBallot, s.postBallot),
		raw("/members/proposals/{proposalId}/ballots/{memberId}", api.TypeJS, allVersions, s.getBallot),
		get("/members/state-digests/{memberId}", s.getStateDigest),
		member("/members/state-digests/{memberId}:update", cose.TypeStateDigest, s.postStateDigest),
		ack,
		get("/recovery/encrypted-shares/{memberId}", s.getShare),
		active("/recovery/members/{memberId}:recover", cose.TypeRecoveryShare, s.postShare),
		get("/service/info", s.getServiceInfo),
		raw("/service/constitution", api.TypeJS, allVersions, s.getConstitution),
		get("/service/members", s.getMembers),
		get("/service/members/{memberId}", s.getMember),
		get("/service/users", s.getUsers),
		get("/service/users/{userId}", s.getUser),
		get("/service/nodes", s.getGovNodes),
		get("/service/nodes/{nodeId}", s.getGovNode),
		get("/service/join-policy", s.getJoinPolicy),
		get("/service/jwk", s.getJWK),
		js,
		add("GET", "/service/javascript-modules", jsVersions, nil, s.json(s.getModules)),
		raw("/service/javascript-modules/{moduleName}", api.TypeJS, jsVersions, s.getModule),
		get("/service/transactions/commit", s.getGovCommit),
		get("/service/transactions/{transactionId}", s.getGovTx),
	}
}
