// Package server answers HTTP requests: it finds the endpoint, authenticates the
// caller, executes the endpoint over a transaction, and hands the transaction to the
// node. It speaks CCF 7.0's HTTP, quirks included where a client can see them.
//
// # The order of checks
//
//  1. Session caps. Beyond the hard cap a connection is closed; beyond the soft cap its
//     first request is answered 503 SessionCapExhausted, and it is closed.
//  2. Limits of the interface: 431 for header fields, 413 for the body, 400 (text) for
//     what is no HTTP or could be read in two ways (see framing), 408 for a body that
//     does not arrive in time. The connection is closed.
//  3. The first segment of the path chooses the frontend: app, gov or node. Anything
//     else goes to app.
//  4. Back-pressure (not /node): 503 TooManyPendingTransactions.
//  5. A transaction over the head.
//  6. Is the frontend open? 404 FrontendNotOpen. Gov opens when the service has endorsed
//     this node, app when the service is open; both in the committed state, for good.
//  7. The endpoint: 404 ResourceNotFound, 405 with allow, 204 with allow for OPTIONS.
//  8. What the interface lets through: 404 without a body where an operator feature is
//     off, 503 without a body where no accepted endpoint matches.
//  9. Authentication: 401 with one detail for each policy.
//  10. The handler.
//  11. The session's view: 500 SessionConsistencyLost, and the connection is closed.
//  12. Unless the status is 2xx, or the endpoint decided otherwise, nothing is written.
//  13. The transaction is ordered. A conflict starts again at 4, at most 30 times, then
//     503 TransactionCommitAttemptsExceedLimit with retry-after.
//
// An answer carries x-ms-ccf-transaction-id when the transaction touched the KV and was
// applied: the position of a write, the position that a read saw.
//
// # Waiting
//
// By default an answer is given on execution, as in CCF; the configuration key
// "respond": "committed" makes it wait. Per request the Prefer header decides:
//
//	Prefer: respond-async          answer on execution
//	Prefer: wait=commit            answer once the transaction is committed
//	Prefer: wait=receipt           … and put the receipt into the answer
//	Prefer: wait=commit, wait=10   … but wait at most 10 seconds
//
// What was honoured is named by Preference-Applied. A wait ends with the truth:
//
//	committed             the endpoint's own answer; for wait=receipt 200 with
//	                      {"transaction_id", "status", "content_type", "body", "receipt"}
//	invalidated           500 TransactionInvalid; nothing was written
//	bound reached         202 {"transaction_id", "status"}, retry-after: 1
//	the node stops        503 TransactionPendingOrUnknown
//
// A read with wait=commit or wait=receipt is executed by the primary, where a backup may
// forward it, and answered once a majority has confirmed that it is the primary: reads
// and writes that wait are linearizable. No entry is written for it.
//
// The TxID is in x-ms-ccf-transaction-id in each case. Endpoints of /node, and answers
// other than 2xx, do not wait.
//
// # Paths and queries
//
// Paths are matched raw, without decoding or cleaning. Templates are CCF's: see
// template. The query is decoded as a whole before it is split; the first of several
// parameters of a name counts.
//
// # Trust
//
// A client certificate proves the possession of a key and nothing else; policies look
// it up in the tables, in the same transaction that the endpoint runs in. Nothing of a
// request goes into a log or a metric but its endpoint's template.
package server
