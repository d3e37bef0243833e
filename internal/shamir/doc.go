// Package shamir shares the wrapping key of a ledger secret among the recovery
// members of a service, in CCF's field, share bytes and key derivation.
//
// # Scheme
//
// The field is F_p with p = 2^31-1. A secret is ten elements of it ("limbs"),
// each drawn uniformly: 310 bits less a rounding loss. Every limb is shared by
// a polynomial of its own whose constant term is the limb and whose other k-1
// coefficients are uniform. A share is one x and the ten values at x. Any k
// shares with distinct x give the limbs back by Lagrange interpolation at 0;
// k-1 of them say nothing about it.
//
// # Bytes
//
// A share is 44 bytes, all numbers little-endian:
//
//	0   u32      x: 1..n for a share, 0 for the whole secret
//	4   u32[10]  the value of each limb's polynomial at x
//
// The share with x = 0 is the value at 0, which is the secret itself. CCF gives
// it to recovery owners, who recover alone.
//
// # Wrapping key
//
// The limbs as 40 little-endian bytes are both the input key material and the
// info of HKDF-SHA256 with an empty salt; its first 32 bytes are the AES-256
// key that wraps the ledger secret.
//
// # Limits
//
// Combining cannot tell a wrong share from a right one: the result is another
// secret, and only the failing tag of what the wrapping key opens shows it.
// ParseShare refuses what can be refused alone: a wrong length, a limb that is
// no field element. Field arithmetic has no branch or index that depends on a
// secret; Go promises nothing beyond that about timing.
package shamir
