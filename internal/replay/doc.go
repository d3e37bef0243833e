// Package replay executes a request again that its transaction recorded (js.Record), over
// the state before it, and compares what it writes with what the ledger says that it wrote.
//
// It runs outside of a service, over ledger files and the ledger secrets, where whoever has
// both could read every private value anyway: a node offers nothing of the kind, so that
// recording requests lets nothing out.
//
// The state is made of all transactions before. The application is the one that was
// deployed then, or one that a developer is working on. Date stands at the time of the
// record and Math.random begins at its seed, as they did; keys that the application
// generates are others. What an interpreter kept from earlier requests (interpreter_reuse)
// is not there, nor is ccf.historical, whose functions throw. Nothing is verified but the
// seals of the entries: chancery ledger verify does that.
package replay
