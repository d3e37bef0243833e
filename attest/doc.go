// Package attest is what a node shows to prove on what it runs, and what a
// service asks of it: evidence, claims, policy. Platforms live below it
// (attest/virtual, attest/snp).
//
// Three questions are kept apart:
//
//   - Verifier: is this evidence genuine, and what does it claim? It needs the
//     platform's roots, and no tables.
//   - Policy: does the service trust such claims? It needs the trust tables, and
//     no cryptography.
//   - the report data: is the evidence about this key? The claims carry 32 bytes
//     that must be the SHA-256 of the node's public key in DER.
//
// Check asks them in CCF's order: genuine, host data, measurement (or UVM
// endorsement), TCB, report data. Each has its sentinel, since CCF answers each
// with its own message.
//
// An Issuer makes evidence for the machine that it runs on.
package attest
