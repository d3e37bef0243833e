package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"

	"chancery/kv/writeset"
)

// maxEntrySize keeps every offset in a chunk within the 32 bits that the positions
// table has for it.
const maxEntrySize = 1 << 31

// fixedPublicSize is what a public domain takes before its maps, at most.
const fixedPublicSize = 1 + 8 + 2*sha256.Size + 8

// Seal makes the entry of a transaction. The write set must be canonical (maps and
// keys sorted bytewise). Claims are zero when the application set none.
//
// The AES-GCM nonce is the id: the caller must never seal two different write sets
// under one id and secret.
func Seal(s *Secret, id TxID, ws writeset.WriteSet, claims Digest, flags Flags) (*Entry, error) {
	e := &Entry{
		ID: id, Flags: flags, Type: WriteSetWithEvidenceAndClaims,
		Claims: claims, CommitEvidence: CommitEvidenceDigest(s, id),
	}
	if id.View == 0 || id.View > maxView || id.Seqno == 0 {
		return nil, fmt.Errorf("sealing %v: the id is out of range", id)
	}
	if flags&^allFlags != 0 {
		return nil, fmt.Errorf("sealing %v: unknown flags %#x", id, flags)
	}
	public, private := ws.Split()
	e.Public = public
	if err := e.encode(s, private); err != nil {
		return nil, fmt.Errorf("sealing %v: %w", id, err)
	}
	return e, nil
}

// encode writes Raw from the other fields and the private maps, and hashes it.
func (e *Entry) encode(s *Secret, private writeset.WriteSet) error {
	b := make([]byte, publicOffset, publicOffset+fixedPublicSize+writeset.EncodedLen(e.Public)+writeset.EncodedLen(private)+tagSize)
	b[0], b[1] = entryVersion, byte(e.Flags)
	binary.LittleEndian.PutUint64(b[ivOffset:], e.ID.Seqno)
	binary.LittleEndian.PutUint32(b[ivOffset+8:], uint32(e.ID.View))

	b = append(b, byte(e.Type))
	b = binary.LittleEndian.AppendUint64(b, e.ID.Seqno)
	if e.Type.hasClaims() {
		b = append(b, e.Claims[:]...)
	}
	if e.Type.hasEvidence() {
		b = append(b, e.CommitEvidence[:]...)
	}
	b = binary.LittleEndian.AppendUint64(b, e.MaxConflictVersion)
	b = writeset.AppendMaps(b, e.Public)
	e.publicEnd = len(b)
	binary.LittleEndian.PutUint64(b[publicLenOffset:], uint64(e.publicEnd-publicOffset))

	// The plaintext is encrypted where it stands: it never leaves this buffer.
	b = writeset.AppendMaps(b, private)
	b = s.aead.Seal(b[:e.publicEnd], b[ivOffset:publicLenOffset], b[e.publicEnd:], b[publicOffset:e.publicEnd])
	end := len(b) - tagSize
	copy(b[entryHeaderSize:], b[end:])
	b = b[:end:end]
	if len(b) > maxEntrySize {
		return fmt.Errorf("%d bytes, more than a ledger entry holds", len(b))
	}
	putSize(b)
	e.Raw = b
	e.hash()
	return nil
}

// putSize writes the 48-bit size field of the entry b.
func putSize(b []byte) {
	head := uint64(len(b)-entryHeaderSize)<<16 | uint64(b[1])<<8 | uint64(b[0])
	binary.LittleEndian.PutUint64(b, head)
}

// appendTxID appends the text form of id.
func appendTxID(dst []byte, id TxID) []byte {
	dst = strconv.AppendUint(dst, id.View, 10)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, id.Seqno, 10)
}
