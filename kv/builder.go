package kv

import (
	"errors"
	"fmt"
)

// Builder makes a store out of a snapshot, where each key comes with the seqno
// of its last write. Keys may come in any order; table by table and ascending
// is fastest. A Builder belongs to one goroutine and is used once.
type Builder struct {
	w      writer
	newest uint64 // greatest version so far
	err    error  // the first mistake; what follows it is ignored
}

// NewBuilder returns a builder without any keys.
func NewBuilder() *Builder { return new(Builder) }

// Put adds a key with its value and the seqno of the transaction that wrote it,
// which is at least 1. Key and value are copied.
func (b *Builder) Put(table string, key, value []byte, version uint64) {
	if b.err != nil {
		return
	}
	if version == 0 {
		b.err = errors.New("a key has version 0")
		return
	}
	if string(b.w.name) != table || b.w.name == nil {
		b.w.open([]byte(table))
	}
	b.w.version = version
	b.newest = max(b.newest, version)
	k, v := copyPair(key, value)
	if b.w.put(k, v) {
		b.err = errors.New("a key occurs twice")
	}
}

// Store returns a store that begins with the keys that were put, at position
// id, as head and as committed state. It is an error if a key was put twice,
// without a version, or with one beyond id.
func (b *Builder) Store(id TxID) (*Store, error) {
	switch {
	case b.err != nil:
	case id.View == 0 || id.Seqno == 0:
		b.err = errors.New("not a position")
	case b.newest > id.Seqno:
		b.err = fmt.Errorf("a key has version %d", b.newest)
	}
	if b.err != nil {
		return nil, fmt.Errorf("building state at %v: %w", id, b.err)
	}
	return newStore(&State{id: id, tables: b.w.finish()}), nil
}
