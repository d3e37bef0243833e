// Package snp verifies evidence of AMD SEV-SNP, on any machine, without a network and
// with the standard library alone.
//
// # Evidence
//
// The quote is the processor's attestation report: 1184 bytes, ATTESTATION_REPORT of
// AMD's SEV-SNP ABI (document 56860), signed with ECDSA on P-384. The endorsements are
// three certificates in PEM, in this order: VCEK, the key of this chip at this TCB
// version; ASK, AMD's intermediate key; ARK, AMD's root for the line of processors.
//
// # Checks
//
// In order, each with an error of its own: size, version, processor, root, chain,
// validity, revocation (where the caller brings a list), signature, signing key, chip
// key, VMPL, debug, migration, endorsed TCB, chip. They are CCF's, with these that are
// stricter: the VCEK must name its chip and each component of its TCB, in the encodings
// that AMD uses, and its TCB must be the reported one and not merely below it (the key
// of an older version could otherwise vouch for a newer one).
//
// AMD's roots are named by the digests of their public keys. A certificate that comes
// with the evidence is worth nothing until it leads to one of them.
//
// # What a report does not say
//
// That it is fresh: a report is bound to a key, and it is the proof of possession of
// that key (the TLS handshake) that is fresh.
package snp
