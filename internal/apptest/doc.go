// Package apptest runs the tests that a developer wrote for an application, in the engine
// that the service has, over a key-value store in memory.
//
// A test is an exported function whose name begins with "test" (samples/types/test.d.ts
// has what it can call). Each finds a store with the application in it, put there by the
// default constitution's set_js_app, which so judges app.json as members' services do,
// and nothing else. A request runs as on a service: matched by method and path, over a
// transaction that is committed on 2xx, with the limits that a service begins with.
//
// What is not there: authentication (the test says who asks; a caller whose policy the
// endpoint does not list is refused with 401), consensus beyond one node that commits at
// once, and the ledger. Endpoints of mode historical and ccf.historical are refused by
// name; a local service (chancery app dev) has them.
package apptest
