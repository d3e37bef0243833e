// Command native is a node with the logging application compiled in: CCF's C++ logging
// application in Go, and so a tour of what applications in Go can do. Handlers run over
// one transaction each, which the service commits after them; they may run again when it
// conflicts. samples/logging/README.md lists the endpoints.
//
// Run it with
//
//	go build -o bin/logging ./samples/logging/native
//	bin/chancery up --node bin/logging
package main

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"os"

	"chancery/gov/tables"
	"chancery/ledger"
	"chancery/node/daemon"
	"chancery/server"
)

func main() {
	os.Exit(daemon.Run(os.Args[1:], os.Stdout, logging()))
}

// The tables, those of the JavaScript application. A table whose name begins with
// "public:" is readable in the ledger, any other is encrypted. The query parameter scope
// chooses tables of their own.
const (
	privateRecords = "records"
	publicRecords  = "public:records"
)

// logging is the application.
func logging() *server.App {
	app := &server.App{CreateClaims: constitutionClaim}
	a := &application{App: app, users: []server.Policy{server.JWT, server.UserCert, server.UserCOSE}}
	a.records("/log/private", privateRecords)
	a.records("/log/public", publicRecords)
	a.callers()
	a.commits()
	a.committedIndex()
	a.cose()
	return app
}

// constitutionClaim has the receipt of a service's first transaction show by which
// constitution it began.
func constitutionClaim(tx tables.Reader) (ledger.Digest, error) {
	text, ok, err := tables.Constitution.Get(tx)
	if err == nil && !ok {
		err = errors.New("the service has no constitution")
	}
	return sha256.Sum256([]byte(text)), err
}

// application is what the handlers share.
type application struct {
	*server.App
	users []server.Policy
}

// The shorthands by which endpoints are added.
func (a *application) get(path string, auth []server.Policy, h server.Handler) *server.Route {
	return a.Handle(http.MethodGet, path, server.ReadOnly, auth, h)
}

func (a *application) post(path string, auth []server.Policy, h server.Handler) *server.Route {
	return a.Handle(http.MethodPost, path, server.ReadWrite, auth, h)
}

func (a *application) delete(path string, auth []server.Policy, h server.Handler) *server.Route {
	return a.Handle(http.MethodDelete, path, server.ReadWrite, auth, h)
}
