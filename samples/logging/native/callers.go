package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"chancery/server"
	"chancery/server/api"
)

// callers adds the endpoints whose answer depends on who is asking.
func (a *application) callers() {
	private := records{privateRecords}
	userCert := []server.Policy{server.UserCert}
	a.post("/log/private/prefix_cert", userCert, server.Typed(private.prefixed))
	a.post("/log/private/admin_only", userCert, server.Typed(private.adminOnly))
	a.post("/log/private/anonymous", nil, server.Typed(private.anonymous))
	a.post("/log/private/raw_text/{id}", a.users, private.rawText)

	everything, err := server.AllOf(server.UserCert, server.JWT, server.UserCOSE)
	if err != nil {
		panic(err) // the policies differ
	}
	// The first comes first, or one that asks for less would accept its callers.
	a.post("/multi_auth", []server.Policy{
		everything, server.UserCert, server.MemberCert, server.AnyCert, server.JWT, server.UserCOSE, server.NoAuth,
	}, multiAuth)
	// Always executed by the primary, so that the policy works there too.
	a.get("/custom_auth", []server.Policy{server.NewPolicy("custom_auth", nameAndAge)}, customAuth).Forwarding = server.ForwardAlways
	a.get("/log/request_query", nil, requestQuery)
}

func (r records) prefixed(_ context.Context, c *server.Call, in entry) (bool, error) {
	if err := in.check(); err != nil {
		return false, err
	}
	return r.store(c, in, c.Caller.ID+": "+in.Msg)
}

func (r records) anonymous(_ context.Context, c *server.Call, in entry) (bool, error) {
	if err := in.check(); err != nil {
		return false, err
	}
	return r.store(c, in, "Anonymous: "+in.Msg)
}

func (r records) adminOnly(_ context.Context, c *server.Call, in entry) (bool, error) {
	var data struct {
		IsAdmin bool `json:"isAdmin"`
	}
	if err := json.Unmarshal(c.Caller.Data, &data); err != nil || !data.IsAdmin {
		return false, api.Errorf(http.StatusForbidden, api.AuthorizationFailed, "Only admins may access this endpoint.")
	}
	if err := in.check(); err != nil {
		return false, err
	}
	return r.store(c, in, in.Msg)
}

func (r records) rawText(_ context.Context, c *server.Call) error {
	if actual := c.Get("Content-Type"); actual != api.TypeText {
		return api.Errorf(http.StatusUnsupportedMediaType, api.InvalidHeaderValue, "Expected content-type '%s'. Got '%s'.", api.TypeText, actual)
	}
	n, err := strconv.ParseUint(c.Params.Get("id"), 10, 64)
	if err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "The id in the path is not a number")
	}
	c.Tx.Put(r.table(c), keyOf(n), c.Body)
	return c.Response.JSON(true)
}

func multiAuth(_ context.Context, c *server.Call) error {
	c.Response.Raw(api.TypeText, []byte(identity(c.Caller)))
	return nil
}

// identity describes a caller in lines of text, by the policy that let it in.
func identity(who *server.Caller) string {
	data := "null"
	if len(who.Data) > 0 {
		data = string(who.Data)
	}
	switch {
	case who.All != nil:
		var parts []string
		for name := range strings.SplitSeq(who.Policy, "+") {
			parts = append(parts, identity(who.All[name]))
		}
		return fmt.Sprintf("Conjoined auth policy: %s\n%s", who.Policy, strings.Join(parts, "\n"))
	case who.Policy == server.NoAuth.Name():
		return "Unauthenticated"
	case who.Policy == server.AnyCert.Name():
		return "Any TLS cert\nThe caller's cert is:\n" + who.Cert
	case who.COSE != nil:
		return fmt.Sprintf("User COSE Sign1\nThe caller is identified by a COSE Sign1 signed by kid: %s\nThe caller is identified by a COSE Sign1 with content of size: %d", who.ID, len(who.COSE.Payload))
	case who.JWT != nil:
		return fmt.Sprintf("JWT\nThe caller is identified by a JWT issued by: %s\nThe JWT header is:\n%s\nThe JWT payload is:\n%s", who.JWT.Issuer, who.JWT.Header, who.JWT.Payload)
	}
	kind, role := "User TLS cert", "user"
	if who.Policy == server.MemberCert.Name() {
		kind, role = "Member TLS cert", "member"
	}
	return fmt.Sprintf("%[1]s\nThe caller is a %[2]s with ID: %[3]s\nThe caller's %[2]s data is: %[4]s\nThe caller's cert is:\n%[5]s", kind, role, who.ID, data, who.Cert)
}

// person is what the policy of this application finds out.
type person struct {
	name string
	age  uint64
}

// minAge is that from which on people are let in.
const minAge = 16

// nameAndAge is an authentication policy: whoever sends a name and an age in headers of
// its own is believed.
func nameAndAge(c *server.Call) (*server.Caller, error) {
	const nameHeader, ageHeader = "x-custom-auth-name", "x-custom-auth-age"
	if text := c.Get("x-custom-auth-explode"); text != "" {
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "Exception: %s", text)
	}
	names, ages := c.Header.Values(nameHeader), c.Header.Values(ageHeader)
	switch {
	case names == nil:
		return nil, server.Refuse("Missing required header "+nameHeader, "")
	case names[0] == "":
		return nil, server.Refuse("Name must not be empty", "")
	case ages == nil:
		return nil, server.Refuse("Missing required header "+ageHeader, "")
	}
	age, err := strconv.ParseUint(ages[0], 10, 64)
	if err != nil {
		return nil, server.Refuse("Unable to parse age header as a number: "+ages[0], "")
	}
	if age < minAge {
		return nil, server.Refuse(fmt.Sprintf("Caller age must be at least %d", minAge), "")
	}
	return &server.Caller{Own: person{names[0], age}}, nil
}

func customAuth(_ context.Context, c *server.Call) error {
	p := c.Caller.Own.(person) // the route's only policy
	return c.Response.JSON(map[string]any{"name": p.name, "age": p.age, "description": fmt.Sprintf("Your name is %s and you are %d", p.name, p.age)})
}

func requestQuery(_ context.Context, c *server.Call) error {
	c.Response.Raw(api.TypeText, []byte(c.Query))
	return nil
}
