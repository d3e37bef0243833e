package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// The key under which the hash trie of CCF hashes its keys.
const (
	trieKey0 = 0x7720796f726c694b
	trieKey1 = 0x2165726568207361
)

// trieOrder returns the indexes of entries in the order in which CCF walks over a map:
// by the low 32 bits of SipHash-2-4 of the key. No reader depends on it.
func trieOrder(entries []SnapshotEntry) []int {
	type at struct {
		hash uint32
		i    int
	}
	order := make([]at, len(entries))
	for i := range entries {
		order[i] = at{uint32(sipHash24(trieKey0, trieKey1, entries[i].Key)), i}
	}
	slices.SortFunc(order, func(a, b at) int {
		if c := cmp.Compare(a.hash, b.hash); c != 0 {
			return c
		}
		return bytes.Compare(entries[a.i].Key, entries[b.i].Key)
	})
	out := make([]int, len(order))
	for i, o := range order {
		out[i] = o.i
	}
	return out
}

// sipHash24 is SipHash-2-4 (Aumasson and Bernstein, 2012) of b under the key k0, k1.
func sipHash24(k0, k1 uint64, b []byte) uint64 {
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	length := uint64(len(b)) << 56
	compress := func(m uint64) {
		v[3] ^= m
		sipRound(&v)
		sipRound(&v)
		v[0] ^= m
	}
	for ; len(b) >= 8; b = b[8:] {
		compress(binary.LittleEndian.Uint64(b))
	}
	var last [8]byte
	copy(last[:], b)
	compress(binary.LittleEndian.Uint64(last[:]) | length)
	v[2] ^= 0xff
	for range 4 {
		sipRound(&v)
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func sipRound(v *[4]uint64) {
	v[0] += v[1]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[3]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] += v[3]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] += v[1]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[2] = bits.RotateLeft64(v[2], 32)
}

// keyOrder returns the indexes of entries in the bytewise order of their keys.
func keyOrder(entries []SnapshotEntry) []int {
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(entries[a].Key, entries[b].Key) })
	return order
}
