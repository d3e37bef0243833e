// Package merkle is the arithmetic of the ledger's Merkle tree. It is pure: no
// I/O, no clock, no goroutine.
//
// # Shape
//
// Leaf i is the digest of the transaction with seqno i; leaf 0 is 32 zero bytes.
// The root over n leaves is the leaf itself for n = 1; otherwise the leaves are
// split at the largest power of two below n, and the root is
// SHA-256(left root || right root). This is the shape of RFC 6962, section 2.1,
// without its prefix bytes. A signature at seqno s signs the root over the
// leaves 0 … s-1, and the tree goes on through recoveries.
//
// # Cost
//
// A [Tree] keeps the root of every perfect subtree: 64 bytes per leaf, one hash
// per appended leaf on average. Root, RootAt and Path cost O(log n), Truncate and
// the choice of an older size nothing.
//
// # The tree table
//
// Each signature transaction records the part of the tree that a verifier needs
// to go on from there, [Tree.AppendTo] and [Parse]. Unlike everything else in the
// ledger it is big-endian:
//
//	0            u64BE  n, leaves that follow
//	8            u64BE  f, index of the first of them
//	16           [32]×n leaves f … f+n-1
//	16+32n       [32]×k one subtree root per set bit of f, from the lowest bit up:
//	                    bit i is the root over the 2^i leaves that end where the
//	                    subtree of the next lower set bit begins (or at f)
//
// Example, leaf 0 and one more:
//
//	0000000000000002 0000000000000000 00×32 d415…eb38
package merkle
