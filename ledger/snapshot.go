package ledger

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chancery/kv/writeset"
)

// SnapshotEvidenceMap is the map in which a transaction commits to a snapshot: its
// value is the JSON of {"hash": hex SHA-256 of the snapshot's body, "version": seqno},
// and its claims digest is the same hash.
const SnapshotEvidenceMap = "public:ccf.internal.snapshot_evidence"

// ErrSnapshot marks bytes that are not a snapshot, or one whose receipt does not fit.
var ErrSnapshot = errors.New("the snapshot is not valid")

// SnapshotState is what a snapshot holds: all maps as of one signature transaction, and
// what it takes to go on from there.
type SnapshotState struct {
	Seqno uint64
	// Leaf is that of the entry at Seqno: the maps hold the tree over those before.
	Leaf Digest
	// Views holds at i the first seqno of view i+1, as History.Views does.
	Views []uint64
	// Public and Private are the maps, sorted by name. Private is nil after
	// ParseSnapshot: see Snapshot.Open.
	Public, Private []SnapshotMap
}

// SnapshotMap is a map with all its keys.
type SnapshotMap struct {
	Name string
	// Version is the seqno of the last write to the map. Nothing depends on it.
	Version uint64
	Entries []SnapshotEntry
}

// SnapshotEntry is a key, its value, and the seqno of the transaction that wrote it.
type SnapshotEntry struct {
	Key, Value []byte
	Version    uint64
}

// Snapshot is a snapshot file taken apart. Its slices are parts of the file's bytes.
type Snapshot struct {
	SnapshotState
	// Body is the snapshot without its receipt; evidence is over it.
	Body []byte
	// Receipt follows the body: COSE, or JSON from CCF before 7.0. It is empty while
	// the snapshot's evidence is not committed.
	Receipt []byte

	public, private []byte
	digest          Digest
}

// Digest is the SHA-256 of the body.
func (s *Snapshot) Digest() Digest { return s.digest }

// SealSnapshot makes the body of a snapshot, sealed with the secret in force at its
// seqno. The bytes are a function of state and secret: the nonce is the seqno, so that
// two different states must never be sealed for one seqno.
func SealSnapshot(s *Secret, state *SnapshotState) ([]byte, error) {
	if state.Seqno == 0 || len(state.Views) == 0 {
		return nil, fmt.Errorf("sealing a snapshot at %d of %d views: %w", state.Seqno, len(state.Views), ErrSnapshot)
	}
	size := publicOffset + 1 + 8 + 8 + 8 + sha256.Size + 8 + 8*len(state.Views) + tagSize
	for _, m := range slices.Concat(state.Public, state.Private) {
		size += 3*8 + len(m.Name) + m.entriesLen()
	}
	b := make([]byte, publicOffset, size)
	b[0] = entryVersion
	binary.LittleEndian.PutUint64(b[ivOffset:], state.Seqno)
	binary.LittleEndian.PutUint32(b[ivOffset+8:], snapshotBit)

	b = append(b, byte(snapshotType))
	b = binary.LittleEndian.AppendUint64(b, state.Seqno)
	b = binary.LittleEndian.AppendUint64(b, 0) // max_conflict_version
	b = binary.LittleEndian.AppendUint64(b, sha256.Size)
	b = append(b, state.Leaf[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(8*len(state.Views)))
	for _, v := range state.Views {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, m := range state.Public {
		b = m.append(b)
	}
	end := len(b)
	binary.LittleEndian.PutUint64(b[publicLenOffset:], uint64(end-publicOffset))
	// As in an entry, the plaintext is encrypted where it stands.
	for _, m := range state.Private {
		b = m.append(b)
	}
	b = s.aead.Seal(b[:end], b[ivOffset:publicLenOffset], b[end:], b[publicOffset:end])
	n := len(b) - tagSize
	copy(b[entryHeaderSize:], b[n:])
	b = b[:n:n]
	putSize(b)
	return b, nil
}

// entriesLen is how many bytes the entries take.
func (m *SnapshotMap) entriesLen() int {
	n := 0
	for _, e := range m.Entries {
		n += 8 + padded(len(e.Key)) + 8 + padded(8+len(e.Value))
	}
	return n
}

func padded(n int) int { return (n + 7) &^ 7 }

// append writes the map's record. Entries stand in the order of CCF's hash trie.
func (m *SnapshotMap) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(m.Name)))
	b = append(b, m.Name...)
	b = binary.LittleEndian.AppendUint64(b, m.Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.entriesLen()))
	for _, i := range trieOrder(m.Entries) {
		e := &m.Entries[i]
		b = binary.LittleEndian.AppendUint64(b, uint64(len(e.Key)))
		b = appendPadded(b, e.Key)
		b = binary.LittleEndian.AppendUint64(b, uint64(8+len(e.Value)))
		b = binary.LittleEndian.AppendUint64(b, e.Version)
		b = appendPadded(b, e.Value)
	}
	return b
}

func appendPadded(b, data []byte) []byte {
	var zeros [8]byte
	return append(append(b, data...), zeros[:padded(len(data))-len(data)]...)
}

// ParseSnapshot reads a snapshot file, which may lack its receipt. Form and sizes are
// checked; what authenticates it is VerifyReceipt. Every error is ErrSnapshot.
func ParseSnapshot(data []byte) (*Snapshot, error) {
	s := &Snapshot{}
	if err := s.parse(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s, nil
}

func (s *Snapshot) parse(data []byte) error {
	size, err := EntrySize(data)
	switch {
	case err != nil:
		return err
	case data[1] != 0:
		return fmt.Errorf("flags %d", data[1])
	case size > int64(len(data)):
		return fmt.Errorf("it takes %d bytes, of which %d are there", size, len(data))
	}
	s.Body, s.Receipt = data[:size:size], data[size:]
	s.digest = sha256.Sum256(s.Body)
	s.Seqno = binary.LittleEndian.Uint64(s.Body[ivOffset:])
	if v := binary.LittleEndian.Uint32(s.Body[ivOffset+8:]); v != snapshotBit || s.Seqno == 0 {
		return fmt.Errorf("its nonce is of view %#x, seqno %d", v, s.Seqno)
	}
	public := binary.LittleEndian.Uint64(s.Body[publicLenOffset:])
	if public > uint64(len(s.Body)-publicOffset) {
		return fmt.Errorf("public domain of %d bytes in %d", public, len(s.Body)-publicOffset)
	}
	s.public = s.Body[publicOffset : publicOffset+int(public)]
	s.private = s.Body[publicOffset+int(public):]
	return s.parsePublic()
}

// parsePublic reads the public domain.
func (s *Snapshot) parsePublic() error {
	r := snapshotReader{b: s.public}
	kind := r.bytes(1)
	version, _, hash := r.word(), r.word(), r.bytes(r.word())
	views := r.bytes(r.word())
	switch {
	case r.err != nil:
		return fmt.Errorf("its head: %w", r.err)
	case EntryType(kind[0]) != snapshotType:
		return fmt.Errorf("entry type %d", kind[0])
	case version != s.Seqno:
		return fmt.Errorf("version %d under a nonce of seqno %d", version, s.Seqno)
	case len(hash) != sha256.Size:
		return fmt.Errorf("leaf of %d bytes", len(hash))
	case len(views) == 0 || len(views)%8 != 0:
		return fmt.Errorf("view history of %d bytes", len(views))
	}
	s.Leaf = Digest(hash)
	s.Views = make([]uint64, len(views)/8)
	for i := range s.Views {
		s.Views[i] = binary.LittleEndian.Uint64(views[8*i:])
		if s.Views[i] > s.Seqno || i > 0 && s.Views[i] < s.Views[i-1] {
			return fmt.Errorf("view %d begins at %d", i+1, s.Views[i])
		}
	}
	var err error
	s.Public, err = r.maps(s.Seqno, true)
	return err
}

// ID is the transaction that the snapshot is of.
func (s *Snapshot) ID() TxID { return TxID{View: uint64(len(s.Views)), Seqno: s.Seqno} }

// Open decrypts the private maps with the secret in force at Seqno and keeps them in
// Private. Errors: ErrTag, ErrSnapshot.
func (s *Snapshot) Open(secret *Secret) error {
	sealed := slices.Concat(s.private, s.Body[entryHeaderSize:ivOffset])
	plain, err := secret.aead.Open(sealed[:0], s.Body[ivOffset:publicLenOffset], sealed, s.public)
	if err != nil {
		return fmt.Errorf("snapshot %d: %w", s.Seqno, ErrTag)
	}
	r := snapshotReader{b: plain}
	if s.Private, err = r.maps(s.Seqno, false); err != nil {
		return fmt.Errorf("%w: private maps: %w", ErrSnapshot, err)
	}
	return nil
}

// Map returns a map by its name, nil when the snapshot has none.
func (s *SnapshotState) Map(name string) *SnapshotMap {
	maps := s.Private
	if writeset.IsPublic(name) {
		maps = s.Public
	}
	i, ok := slices.BinarySearchFunc(maps, name, func(m SnapshotMap, name string) int { return strings.Compare(m.Name, name) })
	if !ok {
		return nil
	}
	return &maps[i]
}

// Single returns the value of a map that holds one.
func (s *SnapshotState) Single(name string) ([]byte, bool) {
	m := s.Map(name)
	if m == nil {
		return nil, false
	}
	for _, e := range m.Entries {
		if string(e.Key) == string(singleKey) {
			return e.Value, true
		}
	}
	return nil, false
}

// VerifyReceipt checks that the service of the given certificate committed to the
// snapshot, and returns the transaction that did. Of the certificate only the key
// counts for a COSE receipt. Errors: ErrSnapshot, and those of the receipt's Verify.
func (s *Snapshot) VerifyReceipt(service *x509.Certificate) (TxID, error) {
	id, err := s.verifyReceipt(service)
	if err != nil {
		return id, fmt.Errorf("%w: its receipt: %w", ErrSnapshot, err)
	}
	return id, nil
}

func (s *Snapshot) verifyReceipt(service *x509.Certificate) (TxID, error) {
	want := ExpectClaims(s.digest)
	switch {
	case len(s.Receipt) == 0:
		return TxID{}, errors.New("it has none: its evidence was not committed")
	case s.Receipt[0] == '{':
		r, err := ParseReceipt(s.Receipt)
		if err != nil {
			return TxID{}, err
		}
		id, _ := r.TxID()
		return id, r.Verify(service, want)
	default:
		r, err := VerifyCOSEReceipt(s.Receipt, service, want)
		if err != nil {
			return TxID{}, err
		}
		return r.TxID(), nil
	}
}

// Service returns the service certificate in the snapshot's own tables, which is to be
// compared with one that is trusted.
func (s *SnapshotState) Service() (*x509.Certificate, error) {
	value, ok := s.Single(serviceInfoMap)
	if !ok {
		return nil, fmt.Errorf("%w: no service is described in it", ErrSnapshot)
	}
	var info struct{ Cert string }
	if err := json.Unmarshal(value, &info); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSnapshot, serviceInfoMap, err)
	}
	cert, err := parsePEMCert(info.Cert)
	if err != nil {
		return nil, fmt.Errorf("%w: service certificate: %w", ErrSnapshot, err)
	}
	return cert, nil
}

// SnapshotEvidence is what a transaction's public writes say of a snapshot.
type SnapshotEvidence struct {
	Hash  Digest
	Seqno uint64
}

// ParseSnapshotEvidence reads the evidence in a transaction's public writes; nil when
// they hold none.
func ParseSnapshotEvidence(ws writeset.WriteSet) (*SnapshotEvidence, error) {
	m := ws.Map(SnapshotEvidenceMap)
	if m == nil {
		return nil, nil
	}
	value, err := singleValue(*m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", SnapshotEvidenceMap, err)
	}
	var row struct {
		Hash    string
		Version uint64
	}
	if err := json.Unmarshal(value, &row); err != nil {
		return nil, fmt.Errorf("%s: %w", SnapshotEvidenceMap, err)
	}
	hash, err := parseHexDigest(row.Hash)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", SnapshotEvidenceMap, err)
	}
	return &SnapshotEvidence{Hash: hash, Seqno: row.Version}, nil
}

// snapshotReader walks over the domains of a snapshot. The first error stays.
type snapshotReader struct {
	b   []byte
	err error
}

func (r *snapshotReader) bytes(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = fmt.Errorf("%d bytes wanted, %d left", n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *snapshotReader) word() uint64 {
	b := r.bytes(8)
	if r.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// pad reads over the zeros behind n bytes.
func (r *snapshotReader) pad(n uint64) {
	for _, c := range r.bytes(-n & 7) {
		if c != 0 && r.err == nil {
			r.err = errors.New("padding that is not zero")
		}
	}
}

// maps reads map records to the end.
func (r *snapshotReader) maps(seqno uint64, public bool) ([]SnapshotMap, error) {
	var out []SnapshotMap
	for len(r.b) > 0 && r.err == nil {
		m := SnapshotMap{Name: string(r.bytes(r.word())), Version: r.word()}
		entries := snapshotReader{b: r.bytes(r.word())}
		for len(entries.b) > 0 && r.err == nil && entries.err == nil {
			e, ok := entries.entry()
			if e.Version > seqno && ok {
				entries.err = fmt.Errorf("a key has version %d", e.Version)
			}
			if ok {
				m.Entries = append(m.Entries, e)
			}
		}
		r.err = errors.Join(r.err, entries.err)
		switch {
		case r.err != nil:
		case writeset.IsPublic(m.Name) != public:
			r.err = errors.New("it is in the wrong domain")
		case len(out) > 0 && out[len(out)-1].Name >= m.Name:
			r.err = errors.New("it is out of order")
		}
		if r.err != nil {
			return nil, fmt.Errorf("map %d: %w", len(out), r.err)
		}
		out = append(out, m)
	}
	return out, r.err
}

// entry reads one key with its value; ok is false for a deleted key, which old
// snapshots keep with a negative version.
func (r *snapshotReader) entry() (e SnapshotEntry, ok bool) {
	klen := r.word()
	e.Key = r.bytes(klen)
	r.pad(klen)
	vlen := r.word()
	if r.err == nil && vlen < 8 {
		r.err = fmt.Errorf("a value of %d bytes has no room for its version", vlen)
	}
	e.Version = r.word()
	e.Value = r.bytes(vlen - 8)
	r.pad(vlen)
	return e, r.err == nil && int64(e.Version) >= 0
}
