// Package writeset is the value that the key-value store and the ledger share:
// what one transaction wrote, per named map, and the position at which it did.
//
// # Maps and domains
//
// A map is named by a string and holds byte keys and byte values. A name that
// begins with "public:" belongs to the public domain, which the ledger stores
// in the clear; every other name is private and leaves process memory only as
// ciphertext. [WriteSet.Split] takes a write set apart along that line.
//
// # Canonical order
//
// A write set is canonical when its maps are in bytewise order of their names,
// each name once, and in each map the writes and the removes are each in
// bytewise order of their keys, with no key twice and none in both. What
// package kv produces is canonical, and [WriteSet.Sort] makes a hand-built one
// so. Parsing keeps whatever order it finds, since an entry must be written
// again with the bytes that were hashed.
//
// # Bytes
//
// [AppendMaps] and [ParseMaps] speak CCF's map records, the body of both
// domains of a ledger entry. All integers are 64-bit little-endian; a record is
//
//	len(name)  name
//	read version            zero since CCF 2.0, kept as found
//	read count              always zero
//	write count   then, per write:  len(key) key len(value) value
//	remove count  then, per remove: len(key) key
//
// and records follow each other without padding until the end of the domain.
// So a map "m" in which key "k" became "v" is these 59 bytes:
//
//	0100000000000000 6d
//	0000000000000000
//	0000000000000000
//	0100000000000000 0100000000000000 6b 0100000000000000 76
//	0000000000000000
//
// An empty domain is no bytes at all. Read counts other than zero, which no
// released version of CCF wrote to a ledger, are refused.
package writeset
