package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"chancery/gov/tables"
	"chancery/internal/cose"
	"chancery/server/api"
)

// Caller is who a policy found behind a request.
type Caller struct {
	// Policy is the name of the policy that accepted the request.
	Policy string
	// ID is the user's or member's id, "" for policies that know none.
	ID string
	// Cert is the caller's certificate, PEM, where the policy has one.
	Cert string
	// Data is the user_data or member_data of the caller's record, nil when there is none.
	Data json.RawMessage
	// JWT is set by the jwt policy.
	JWT *Token
	// COSE is the signed envelope, set by the COSE policies; it is the request's body.
	COSE *cose.Sign1
	// Own is what a policy of an application's own found.
	Own any
	// All holds the callers that the parts of an all_of policy found, by policy name.
	All map[string]*Caller
}

// Token is a verified JSON Web Token.
type Token struct {
	// Issuer is the issuer that registered the key.
	Issuer string
	// Header and Payload are the token's JSON documents.
	Header, Payload json.RawMessage
}

// Policy is one way to authenticate a caller: those of this package, or one that
// NewPolicy made.
type Policy interface {
	// Name is the policy's name, e.g. "user_cert".
	Name() string
	// authenticate returns the caller, or a *refusal. Any other error ends the request
	// with its own answer: no further policy is tried.
	authenticate(s *Server, c *Call) (*Caller, error)
}

// refusal says that a policy does not accept a request.
type refusal struct {
	reason    string
	challenge string // for the www-authenticate header
}

func (r *refusal) Error() string { return r.reason }

func refuse(reason string) error { return &refusal{reason: reason} }

// authenticate tries the policies in order; the first that accepts names the caller.
// When all refuse, the answer is 401 with one detail for each, and the challenge of
// the last.
func (s *Server) authenticate(c *Call, policies []Policy) error {
	if len(policies) == 0 {
		return nil
	}
	var details []any
	var last *refusal
	for _, p := range policies {
		caller, err := p.authenticate(s, c)
		if err == nil {
			c.Caller = caller
			return nil
		}
		if !errors.As(err, &last) {
			return err
		}
		details = append(details, api.AuthDetail{Policy: p.Name(), Code: api.InvalidAuthenticationInfo, Message: last.reason})
	}
	if last.challenge != "" {
		c.Response.Set(api.HeaderAuthenticate, last.challenge)
	}
	return &api.Error{
		Status: http.StatusUnauthorized, Code: api.InvalidAuthenticationInfo,
		Message: "Invalid authentication credentials.", Details: details,
	}
}

// NewPolicy makes an authentication policy of an application's own. decide returns the
// caller, to which the policy's name is given, or what Refuse returns; any other error
// ends the request with its own answer, and no further policy is tried. It runs on each
// attempt, on the node that executes the request.
func NewPolicy(name string, decide func(c *Call) (*Caller, error)) Policy {
	return ownPolicy{name, decide}
}

// Refuse is what a policy of an application's own returns for a request that it does not
// accept. challenge, if not empty, is shown in the header www-authenticate.
func Refuse(reason, challenge string) error { return &refusal{reason: reason, challenge: challenge} }

type ownPolicy struct {
	name   string
	decide func(c *Call) (*Caller, error)
}

func (p ownPolicy) Name() string { return p.name }

func (p ownPolicy) authenticate(_ *Server, c *Call) (*Caller, error) {
	caller, err := p.decide(c)
	if err != nil {
		return nil, err
	}
	caller.Policy = p.name
	return caller, nil
}

// NoAuth accepts everyone and looks at nothing.
var NoAuth Policy = noAuth{}

type noAuth struct{}

func (noAuth) Name() string { return "no_auth" }
func (noAuth) authenticate(*Server, *Call) (*Caller, error) {
	return &Caller{Policy: "no_auth"}, nil
}

// AllOf accepts a caller whom every one of the policies accepts. They are asked in
// the order of their names.
func AllOf(policies ...Policy) (Policy, error) {
	ps := slices.Clone(policies)
	slices.SortFunc(ps, func(a, b Policy) int { return strings.Compare(a.Name(), b.Name()) })
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.Name()
		if i > 0 && names[i] == names[i-1] {
			return nil, errors.New("all_of: " + names[i] + " is there twice")
		}
	}
	return allOf{strings.Join(names, "+"), ps}, nil
}

type allOf struct {
	name  string
	parts []Policy
}

func (a allOf) Name() string { return a.name }

func (a allOf) authenticate(s *Server, c *Call) (*Caller, error) {
	all := &Caller{Policy: a.name, All: make(map[string]*Caller, len(a.parts))}
	for _, p := range a.parts {
		caller, err := p.authenticate(s, c)
		if r := (*refusal)(nil); errors.As(err, &r) {
			return nil, &refusal{reason: p.Name() + ":" + r.reason, challenge: r.challenge}
		}
		if err != nil {
			return nil, err
		}
		all.All[p.Name()] = caller
	}
	return all, nil
}

// appPolicies are the policies that an application may name.
var appPolicies = map[string]Policy{
	"no_auth": NoAuth, "user_cert": UserCert, "member_cert": MemberCert, "any_cert": AnyCert,
	"jwt": JWT, "user_cose_sign1": UserCOSE,
}

// PolicyByName returns a policy that an application may name.
func PolicyByName(name string) (Policy, bool) {
	p, ok := appPolicies[name]
	return p, ok
}

// userData returns the data of a user's record.
func userData(r tables.Reader, id string) (json.RawMessage, error) {
	u, _, err := tables.UsersInfo.Get(r, id)
	return json.RawMessage(u.Data), err
}

// memberData returns the data of a member's record.
func memberData(r tables.Reader, id string) (json.RawMessage, error) {
	m, _, err := tables.MembersInfo.Get(r, id)
	return json.RawMessage(m.Data), err
}
