package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"chancery/ledger"
)

// Batch layout, little-endian:
//
//	0   u8     format = 1
//	1   u64    view of every entry in the batch
//	9   u64    seqno of the first entry
//	17  [32]   leaf digest of the entry before it (zeros before seqno 1)
//	49  u32    number of entries
//	53  …      the entries, as they stand in the ledger, back to back
const (
	batchFormat     = 1
	batchHeaderSize = 53
	entryHeaderSize = 8
)

// errMalformedBatch marks a Raft record that is not a batch of ours.
var errMalformedBatch = errors.New("malformed batch")

// batch is what one Raft entry carries: consecutive ledger entries of one view.
type batch struct {
	view    uint64
	first   uint64
	prev    ledger.Digest
	entries []*ledger.Entry
}

// last returns the seqno of the batch's last entry.
func (b *batch) last() uint64 { return b.first + uint64(len(b.entries)) - 1 }

// encode returns the bytes that go to Raft.
func (b *batch) encode() []byte {
	size := batchHeaderSize
	for _, e := range b.entries {
		size += len(e.Raw)
	}
	out := make([]byte, 0, size)
	out = append(out, batchFormat)
	out = binary.LittleEndian.AppendUint64(out, b.view)
	out = binary.LittleEndian.AppendUint64(out, b.first)
	out = append(out, b.prev[:]...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b.entries)))
	for _, e := range b.entries {
		out = append(out, e.Raw...)
	}
	return out
}

// decodeBatch parses the bytes of a Raft record and checks what a batch promises
// by itself: dense seqnos from first, one view, at least one entry, nothing after
// the last one, and a signature nowhere but at the end.
func decodeBatch(data []byte) (*batch, error) {
	if len(data) < batchHeaderSize || data[0] != batchFormat {
		return nil, fmt.Errorf("%w: %d bytes without the header of format %d", errMalformedBatch, len(data), batchFormat)
	}
	b := &batch{view: binary.LittleEndian.Uint64(data[1:]), first: binary.LittleEndian.Uint64(data[9:])}
	copy(b.prev[:], data[17:49])
	count := binary.LittleEndian.Uint32(data[49:])
	rest := data[batchHeaderSize:]
	if count == 0 || uint64(count) > uint64(len(rest))/entryHeaderSize || b.first == 0 || b.view == 0 {
		return nil, fmt.Errorf("%w: %d entries from %d.%d in %d bytes", errMalformedBatch, count, b.view, b.first, len(rest))
	}
	b.entries = make([]*ledger.Entry, 0, count)
	for i := range uint64(count) {
		size, err := entrySize(rest)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errMalformedBatch, b.first+i, err)
		}
		e, err := ledger.ParseEntry(rest[:size])
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errMalformedBatch, b.first+i, err)
		}
		if want := (ledger.TxID{View: b.view, Seqno: b.first + i}); e.ID != want {
			return nil, fmt.Errorf("%w: entry %v stands where %v belongs", errMalformedBatch, e.ID, want)
		}
		if ledger.IsSignature(e.Public) && i+1 < uint64(count) {
			return nil, fmt.Errorf("%w: signature %v is not the last entry", errMalformedBatch, e.ID)
		}
		b.entries = append(b.entries, e)
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes after the last entry", errMalformedBatch, len(rest))
	}
	return b, nil
}

// entrySize reads how many bytes the entry at the start of b takes.
func entrySize(b []byte) (int, error) {
	if len(b) < entryHeaderSize {
		return 0, errors.New("no room for an entry header")
	}
	body := binary.LittleEndian.Uint64(b) >> 16 // version and flags are the two low bytes
	if body > uint64(len(b)-entryHeaderSize) {
		return 0, fmt.Errorf("entry of %d bytes in %d", body, len(b)-entryHeaderSize)
	}
	return entryHeaderSize + int(body), nil
}

// signed reports whether the batch ends in a signature transaction.
func (b *batch) signed() bool {
	return ledger.IsSignature(b.entries[len(b.entries)-1].Public)
}
