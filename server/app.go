package server

import (
	"context"
	"net/http"

	"chancery/gov/tables"
	"chancery/ledger"
)

// App is an application written in Go and compiled into the node. Build it before New;
// its endpoints must not change afterwards. Its zero value has none.
//
//	app := &server.App{}
//	app.Handle("POST", "/log", server.ReadWrite, []server.Policy{server.UserCert}, server.Typed(put))
//
// What a handler can do beside reading and writing: CheckETag (conditional requests),
// OnExecuted and OnCommitted (after the local and the global commit), Claims, AboutPast
// and Past (earlier transactions), TrustedKeys and VerifyReceipt (the service's identities);
// NewPolicy makes an authentication policy of its own.
type App struct {
	// Indexes are the application's indexing strategies. An App that has some serves one
	// server.
	Indexes Indexes

	// CreateClaims returns the claims digest of the first transaction of each of the
	// service's lives, over that transaction; nil, or a zero digest: none.
	CreateClaims func(tx tables.Reader) (ledger.Digest, error)

	// Custom are JavaScript endpoints that the application installs at run time; nil: none.
	Custom *CustomEndpoints

	endpoints []*Route
}

// Handle adds an endpoint under /app. The path may have templates ("/log/{id}"); auth
// lists the policies of which one must accept the caller, none asks nobody. What else a
// route has (Forwarding, Redirection, Query, ...) can be set in the one that is returned,
// before New.
func (a *App) Handle(method, path string, mode Mode, auth []Policy, h Handler) *Route {
	r := &Route{Frontend: AppFrontend, Method: method, Path: path, Mode: mode, Auth: auth, Handler: h}
	a.endpoints = append(a.endpoints, r)
	return r
}

func (a *App) routes() []*Route {
	if a == nil {
		return nil
	}
	out := make([]*Route, len(a.endpoints))
	for i, r := range a.endpoints {
		c := *r // so that one App can serve several servers
		out[i] = &c
	}
	return out
}

// Typed makes a Handler of a function over JSON documents. The body of any request
// but a GET is decoded into In (400 InvalidInput when it does not fit; no body leaves
// In zero), and Out becomes the answer. A nil Out is 204.
func Typed[In, Out any](h func(ctx context.Context, c *Call, in In) (Out, error)) Handler {
	return func(ctx context.Context, c *Call) error {
		var in In
		if c.Method != http.MethodGet && len(c.Body) > 0 {
			if err := c.DecodeJSON(&in); err != nil {
				return err
			}
		}
		out, err := h(ctx, c, in)
		if err != nil {
			return err
		}
		if any(out) == nil {
			c.Response.Status = http.StatusNoContent
			return nil
		}
		if err := checkAccept(c.Header["Accept"]); err != nil {
			return err
		}
		return c.Response.JSON(out)
	}
}
