// Package cose reads and writes COSE_Sign1 messages (RFC 9052) as CCF's
// governance, ledger signatures, identity endorsements and receipts use them.
//
// # Message
//
//	18([ protected: bstr, unprotected: map, payload: bstr / nil, signature: bstr ])
//
// The signature is ECDSA as raw r||s over the digest of the CBOR array
//
//	[ "Signature1", protected, h'', payload ]
//
// A nil payload is detached: the verifier brings it. The protected bytes are
// kept and signed as they came, never encoded again, since signers differ in
// the order of the map's keys.
//
// # Algorithms
//
//	ES256   -7  P-256  SHA-256   64 bytes of signature
//	ES384  -35  P-384  SHA-384   96
//	ES512  -36  P-521  SHA-512  132
//
// The algorithm is the one in the protected header and must be the one of the
// key's curve; anything else does not verify. An RSA key never verifies, except by
// VerifyPSS (PS256, PS384, PS512), which is for the endorsements of utility VMs.
//
// # Governance headers
//
// Protected: alg (1), kid (4: the ASCII hex id of the signer's certificate), and
// under text keys ccf.gov.msg.type (text), ccf.gov.msg.created_at (unsigned
// seconds) and ccf.gov.msg.proposal_id (text). Other keys, crit (2) among them,
// carry no meaning here: CCF ignores an unknown crit, and so does Verify;
// Header.Crit says whether one was there.
//
// # Three ways to fail
//
// Callers answer differently (CCF: 500, 401, 401), so there are three sentinels:
// ErrMalformed for bytes that are no such message or headers of the wrong type,
// ErrUnsupportedAlgorithm for a well-formed message under an algorithm outside
// the table, ErrBadSignature for a signature, key or algorithm that do not go
// together.
//
// # Hostile input
//
// The reader is strict where CCF's is: definite lengths only, no floating point,
// integers within int64, valid UTF-8, no duplicate keys, nothing after the
// message, and at most MaxDepth levels of nesting (the outermost item is level
// 0, tags and map keys count). It checks the nesting before it builds anything,
// uses no recursion for that, and allocates in proportion to the input: byte
// strings alias it.
//
// # Example
//
//	msg, err := cose.Sign(key, cose.Header{KID: id, MsgType: &typ, CreatedAt: &now}, payload)
//	...
//	s, err := cose.ParseMember(msg)   // ErrMalformed, ErrUnsupportedAlgorithm
//	err = s.Verify(pub)               // ErrBadSignature
package cose
