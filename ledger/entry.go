package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"chancery/kv/writeset"
)

// Sizes and offsets of an entry; see the package comment.
const (
	entryVersion    = 1
	entryHeaderSize = 8
	tagSize         = 16
	ivOffset        = entryHeaderSize + tagSize
	ivSize          = 12
	publicLenOffset = ivOffset + ivSize
	publicOffset    = publicLenOffset + 8
	minEntrySize    = publicOffset + 1 + 8 + 8 // type, version, max_conflict_version

	maxView     = 1<<31 - 1
	snapshotBit = 1 << 31
)

// ErrMalformed marks bytes that are not a ledger entry.
var ErrMalformed = errors.New("malformed ledger entry")

// ErrTag is returned by Open when an entry does not decrypt: another secret sealed
// it, or its public part, its ciphertext or its tag were changed.
var ErrTag = errors.New("the entry's authentication tag does not fit")

// Entry is one transaction as it stands in the ledger. It is immutable; its byte
// slices, those inside Public too, are parts of Raw.
type Entry struct {
	Raw                []byte // the whole entry, header included
	ID                 TxID
	Flags              Flags
	Type               EntryType
	Claims             Digest // zero if the type has none
	CommitEvidence     Digest // zero if the type has none
	MaxConflictVersion uint64 // zero but in ledgers of CCF 1.x
	Public             writeset.WriteSet

	publicEnd int
	digest    Digest
	leaf      Digest

	// What Open gives for openedBy, if it was done beforehand.
	opened   writeset.WriteSet
	openedBy *Secret
}

// EntrySize returns how many bytes the entry takes that begins with header, of
// which the first 8 bytes are read. It checks version, flags and the smallest
// possible size, so a result is at least 61 and below 2^48+8.
func EntrySize(header []byte) (int64, error) {
	if len(header) < entryHeaderSize {
		return 0, malformed("%d bytes of a header of %d", len(header), entryHeaderSize)
	}
	if header[0] != entryVersion {
		return 0, malformed("version %d, want %d", header[0], entryVersion)
	}
	if f := Flags(header[1]); f&^allFlags != 0 {
		return 0, malformed("unknown flags %#x", f&^allFlags)
	}
	size := entryHeaderSize + int64(binary.LittleEndian.Uint64(header)>>16)
	if size < minEntrySize {
		return 0, malformed("size %d, less than the fixed fields' %d", size, minEntrySize)
	}
	return size, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// ParseEntry reads one entry, which must fill raw. It keeps raw, which must not be
// changed afterwards. Nothing is authenticated: that takes Open, or a signed root
// over Leaf. Every error is ErrMalformed.
func ParseEntry(raw []byte) (*Entry, error) {
	e := new(Entry)
	if err := e.parse(raw); err != nil {
		return nil, err
	}
	return e, nil
}

// parse is ParseEntry into an entry that is zero.
func (e *Entry) parse(raw []byte) error {
	size, err := EntrySize(raw)
	if err != nil {
		return err
	}
	if size != int64(len(raw)) {
		return malformed("size %d in %d bytes", size, len(raw))
	}
	view := binary.LittleEndian.Uint32(raw[ivOffset+8:])
	e.Raw, e.Flags = raw, Flags(raw[1])
	e.ID = TxID{View: uint64(view), Seqno: binary.LittleEndian.Uint64(raw[ivOffset:])}
	if view&snapshotBit != 0 {
		return malformed("a snapshot stands in the ledger")
	}
	if view == 0 || e.ID.Seqno == 0 {
		return malformed("transaction id %d.%d", e.ID.View, e.ID.Seqno)
	}
	public := binary.LittleEndian.Uint64(raw[publicLenOffset:])
	if public > uint64(len(raw)-publicOffset) {
		return malformed("public domain of %d bytes in %d", public, len(raw)-publicOffset)
	}
	e.publicEnd = publicOffset + int(public)
	if err := e.parsePublic(raw[publicOffset:e.publicEnd]); err != nil {
		return err
	}
	e.hash()
	return nil
}

// parsePublic reads the public domain: type, version, digests, maps.
func (e *Entry) parsePublic(b []byte) error {
	if len(b) < 1+8+8 {
		return malformed("public domain of %d bytes", len(b))
	}
	e.Type = EntryType(b[0])
	if e.Type == snapshotType || e.Type > WriteSetWithEvidenceAndClaims {
		return malformed("entry type %d", e.Type)
	}
	if version := binary.LittleEndian.Uint64(b[1:]); version != e.ID.Seqno {
		return malformed("version %d in the entry with seqno %d", version, e.ID.Seqno)
	}
	b = b[9:]
	for _, d := range [...]struct {
		there bool
		to    *Digest
	}{{e.Type.hasClaims(), &e.Claims}, {e.Type.hasEvidence(), &e.CommitEvidence}} {
		if !d.there {
			continue
		}
		if len(b) < sha256.Size {
			return malformed("public domain ends in a digest")
		}
		*d.to = Digest(b)
		b = b[sha256.Size:]
	}
	if len(b) < 8 {
		return malformed("public domain ends before its maps")
	}
	e.MaxConflictVersion = binary.LittleEndian.Uint64(b)
	ws, err := writeset.ParseMaps(b[8:])
	if err != nil {
		return fmt.Errorf("%w: public domain: %w", ErrMalformed, err)
	}
	for _, m := range ws {
		if !writeset.IsPublic(m.Name) {
			return malformed("a private map stands in the public domain")
		}
	}
	e.Public = ws
	return nil
}

// hash computes the entry's digests.
func (e *Entry) hash() {
	e.digest = sha256.Sum256(e.Raw)
	e.leaf = leafOf(e.Type, e.digest, e.CommitEvidence, e.Claims)
}

func leafOf(t EntryType, writeSet, evidence, claims Digest) Digest {
	if t == WriteSet {
		return writeSet
	}
	var b [3 * sha256.Size]byte
	n := copy(b[:], writeSet[:])
	if t.hasEvidence() {
		n += copy(b[n:], evidence[:])
	}
	if t.hasClaims() {
		n += copy(b[n:], claims[:])
	}
	return sha256.Sum256(b[:n])
}

// WriteSetDigest returns the SHA-256 of Raw, the first component of the leaf.
func (e *Entry) WriteSetDigest() Digest { return e.digest }

// Leaf returns the entry's leaf in the Merkle tree.
func (e *Entry) Leaf() Digest { return e.leaf }

// Size returns the entry's size in bytes, header included.
func (e *Entry) Size() int { return len(e.Raw) }

// PrivateSize returns the size of the encrypted private domain in bytes, 0 if there is
// none.
func (e *Entry) PrivateSize() int { return len(e.Raw) - e.publicEnd }

// Open authenticates the entry under the secret in force at its seqno, and returns
// the entry's whole write set: Public, and the writes to private maps. The error is
// ErrTag, or ErrMalformed when what was sealed is no write set.
func (e *Entry) Open(s *Secret) (writeset.WriteSet, error) {
	if e.openedBy != nil && e.openedBy == s {
		return e.opened, nil
	}
	private := e.Raw[e.publicEnd:]
	sealed := make([]byte, 0, len(private)+tagSize)
	sealed = append(append(sealed, private...), e.Raw[entryHeaderSize:ivOffset]...)
	plain, err := s.aead.Open(sealed[:0], e.Raw[ivOffset:publicLenOffset], sealed, e.Raw[publicOffset:e.publicEnd])
	if err != nil {
		return nil, ErrTag
	}
	if len(plain) == 0 {
		return e.Public, nil
	}
	ws, err := writeset.ParseMaps(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: private domain: %w", ErrMalformed, err)
	}
	for _, m := range ws {
		if writeset.IsPublic(m.Name) {
			return nil, malformed("a public map stands in the private domain")
		}
	}
	if len(e.Public) == 0 {
		return ws, nil
	}
	return append(append(make(writeset.WriteSet, 0, len(e.Public)+len(ws)), e.Public...), ws...), nil
}

// openAhead has Open's answer ready, if the secret that is known now turns out to be the
// one that is in force.
func (e *Entry) openAhead(secrets *Secrets) {
	s, err := secrets.At(e.ID.Seqno)
	if err != nil {
		return
	}
	if ws, err := e.Open(s); err == nil {
		e.opened, e.openedBy = ws, s
	}
}
