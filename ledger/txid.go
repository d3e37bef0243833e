package ledger

import (
	"crypto/sha256"

	"chancery/kv/writeset"
)

// TxID is a transaction's position: view and seqno, in text "<view>.<seqno>".
type TxID = writeset.TxID

// ParseTxID reads the text form of a TxID.
func ParseTxID(s string) (TxID, error) { return writeset.ParseTxID(s) }

// Digest is a SHA-256 digest.
type Digest = [sha256.Size]byte

// Flags are the flags in an entry's header.
type Flags uint8

// The flags that exist. Both are part of what is signed.
const (
	// ForceChunkAfter closes the chunk behind this entry, which is a signature.
	ForceChunkAfter Flags = 1
	// ForceChunkBefore closes the chunk before this entry, which begins a recovery.
	ForceChunkBefore Flags = 2

	allFlags = ForceChunkAfter | ForceChunkBefore
)

// EntryType says which digests an entry carries.
type EntryType uint8

// The entry types. This package writes WriteSetWithEvidenceAndClaims only.
const (
	WriteSet                      EntryType = 0
	snapshotType                  EntryType = 1 // in snapshot files, never in a ledger
	WriteSetWithClaims            EntryType = 2
	WriteSetWithEvidence          EntryType = 3
	WriteSetWithEvidenceAndClaims EntryType = 4
)

func (t EntryType) hasClaims() bool {
	return t == WriteSetWithClaims || t == WriteSetWithEvidenceAndClaims
}

func (t EntryType) hasEvidence() bool {
	return t == WriteSetWithEvidence || t == WriteSetWithEvidenceAndClaims
}
