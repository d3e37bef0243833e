// Package client is the Go SDK for a service: it sends requests to its nodes,
// waits until writes are committed, fetches receipts and verifies them offline,
// and signs the governance calls of members. It works with Chancery and with CCF
// 7.0.
//
// # Trust
//
// A client is given the service's certificate, by hand or out of the workspace of
// whoever started the service. A node is believed if its TLS certificate was
// issued by that service for the name or address it was dialled by; redirects lead
// to nodes of which the same is true, and to https only. Receipts verify under the
// same certificate. There is no option to skip the check.
//
// # Requests
//
//	c, err := client.New(client.Config{URLs: []string{"https://127.0.0.1:8000"}, Service: cert})
//	resp, err := c.Do(ctx, client.Request{Method: "POST", Path: "/app/log/private", JSON: record, Wait: client.ForCommit})
//
// resp.TxID is the position of the transaction. Wait says when Do returns: on
// execution, once the transaction is committed, or with its receipt, verified. The
// node is asked to hold its answer (Prefer: wait=commit); where it does not do so,
// as CCF's do not, the client polls.
//
// # Errors
//
//	*Error             the service refused; it has CCF's code, status and message
//	ErrUnreachable     no node could be reached; nothing was sent
//	ErrOutcomeUnknown  a write was sent and no answer came; it may have happened
//	ErrRolledBack      the transaction was executed and then rolled back
//	ErrUntrusted       an answer did not prove what it should (receipts)
//
// # Retries
//
// A request is sent again when it is known not to have taken effect: nothing was
// sent; or the service says that it did not execute it (codes
// TransactionCommitAttemptsExceedLimit, TooManyPendingTransactions,
// SessionCapExhausted, PrimaryNotFound; SessionConsistencyLost outside of a
// Session). A request without effect (GET, HEAD, OPTIONS, or Idempotent) is also
// sent again after 503, 504 and broken connections. Retry-After is honoured;
// otherwise the pause doubles, with jitter. The context bounds it all.
//
// # Sessions
//
// A Client spreads its requests over connections. Session returns one that uses a
// single connection, on which the service promises that reads see the writes
// before them; when that connection ends, so does the session (ErrSessionLost).
//
// # Governance
//
//	m, err := c.Member(cert, key)
//	p, err := m.Propose(ctx, proposal)
//	p, err = m.Vote(ctx, p.ID, client.BallotYes)
//
// Each call is one COSE_Sign1 message; the private key does not leave the process
// and may be any crypto.Signer.
package client
