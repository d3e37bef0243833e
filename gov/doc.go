// Package gov is the governance of a service: who its members are, what they propose
// and how their votes decide it, and the changes that follow. Every function works on
// one transaction, [kv.Tx]; what it changed is in the transaction's writes, and beyond
// them only in the [Effects] that the caller gave.
//
// # A proposal
//
// A member sends the text of a proposal in a COSE_Sign1 envelope. The caller has checked
// envelope and signer ([Signed]); then, in one transaction:
//
//  1. Its id is the hex SHA-256 of the ledger's root at the position that the transaction
//     reads, followed by the SHA-256 of the envelope's signature.
//  2. validate, in the constitution, says whether it is well formed.
//  3. Its text, its state Open and the envelope are recorded.
//  4. The envelope must not be a replay: the signature must be new to the window of
//     recent proposals, and created_at not before the median of those in it.
//  5. It is resolved: each ballot's vote is called, then the constitution's resolve with
//     the votes, and when that says Accepted, apply.
//
// A ballot or a withdrawal names the proposal in a signed header, so it needs no window:
// sending it again changes nothing. Every new ballot resolves the proposal anew, with all
// ballots, since what they read may have changed.
//
// When a proposal leaves the state Open, all other proposals that are not Open are
// deleted: the ledger remembers them, the tables hold one.
//
// # Failure
//
// Errors that a client is to see are [*Error]s, with CCF's code and text; the caller
// then discards the transaction, so that nothing is recorded (but see [Error.Apply]).
// An envelope that validate, resolve or apply threw on leaves no trace, and a ballot that
// threw counts as no vote. All other errors say that the tables hold what they must not,
// or that the context ended.
//
// # Shares
//
// The ledger secret in force is wrapped with a fresh key, the key is shared among the
// active recovery members (internal/shamir), and each share encrypted for its member.
// Opening the service, rekeying, a change of threshold and the activation of a recovery
// member issue shares. A rekey is a function of the position: the writing transaction is
// still sealed with the old secret, the new one is in force from the next seqno on.
//
// # Example
//
//	view, err := gov.Propose(ctx, tx, fx, gov.Signed{Member: id, Envelope: env, Raw: body})
//	var refused *gov.Error
//	switch {
//	case errors.As(err, &refused): // answer refused.Kind, refused.Code, refused.Message
//	case err != nil: // the service is broken
//	default: // submit tx with fx; answer view
//	}
package gov
