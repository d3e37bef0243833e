package ledger

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"

	"github.com/cbergoon/merkletree"

	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// SnapshotRootsMap is our map in which the evidence transaction of a snapshot commits
// to the snapshot's maps, beside CCF's evidence. Its value is the JSON of SnapshotRoots.
const SnapshotRootsMap = "public:chancery.internal.snapshot_roots"

// SnapshotRoots commit to every key of a snapshot, so that one of them can be shown
// without the rest. They are roots of Merkle trees as of RFC 6962 (with its prefixes;
// package merkletree), one over the public and one over the private maps, sorted by
// name. A leaf is the SHA-256 of
//
//	u64‖name, u64 number of keys, and the root of the map's own tree,
//
// whose leaves, in the bytewise order of the keys, are the SHA-256 of
//
//	u64‖salt, u64‖key, u64 version, u64‖value
//
// The salt of a public key is empty. That of a private key is 32 bytes derived from
// the ledger secret, the seqno, the map and the key: without it the root would tell
// whoever guesses a value whether the guess is right.
type SnapshotRoots struct {
	Version uint64 `json:"version"`           // seqno of the snapshot
	Public  string `json:"public"`            // hex
	Private string `json:"private,omitempty"` // hex; absent if there is no private map
}

// digestLeaf is a leaf of a merkletree.
type digestLeaf Digest

func (d digestLeaf) CalculateHash() ([]byte, error) { return d[:], nil }

func (d digestLeaf) Equals(other merkletree.Content) (bool, error) {
	o, ok := other.(digestLeaf)
	return ok && o == d, nil
}

func treeOver(leaves []Digest) (*merkletree.MerkleTree, error) {
	contents := make([]merkletree.Content, len(leaves))
	for i, d := range leaves {
		contents[i] = digestLeaf(d)
	}
	return merkletree.NewTreeWithOptions(contents, merkletree.WithRFC6962())
}

// RootOver is the root of the tree over at least one leaf, as of RFC 6962 with its
// prefixes. It is for a bounded number of leaves: the ledger's own tree is package merkle's.
func RootOver(leaves []Digest) (Digest, error) {
	t, err := treeOver(leaves)
	if err != nil {
		return Digest{}, fmt.Errorf("tree over %d leaves: %w", len(leaves), err)
	}
	return Digest(t.MerkleRoot()), nil
}

// salter derives the salts of a snapshot's private keys. Not safe for concurrent use.
type salter struct {
	mac   hash.Hash
	seqno uint64
	buf   []byte
}

func newSalter(s *Secret, seqno uint64) *salter {
	mac := hmac.New(sha256.New, s.Key())
	mac.Write([]byte("chancery snapshot salt"))
	return &salter{mac: hmac.New(sha256.New, mac.Sum(nil)), seqno: seqno}
}

func (s *salter) salt(name string, key []byte) []byte {
	s.mac.Reset()
	s.buf = binary.LittleEndian.AppendUint64(s.buf[:0], s.seqno)
	s.buf = appendSized(appendSized(s.buf, []byte(name)), key)
	s.mac.Write(s.buf)
	return s.mac.Sum(nil)
}

func appendSized(b, data []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(data))), data...)
}

func keyLeaf(salt []byte, e SnapshotEntry) Digest {
	b := make([]byte, 0, 4*8+len(salt)+len(e.Key)+len(e.Value))
	b = appendSized(appendSized(b, salt), e.Key)
	b = binary.LittleEndian.AppendUint64(b, e.Version)
	return sha256.Sum256(appendSized(b, e.Value))
}

func mapLeaf(name string, count uint64, root []byte) Digest {
	b := appendSized(nil, []byte(name))
	b = binary.LittleEndian.AppendUint64(b, count)
	return sha256.Sum256(append(b, root...))
}

// mapTree is the tree over one map, with the entries in the order of its leaves.
func mapTree(m *SnapshotMap, salts *salter) (*merkletree.MerkleTree, []int, error) {
	order := keyOrder(m.Entries)
	leaves := make([]Digest, len(order))
	for i, at := range order {
		var salt []byte
		if salts != nil {
			salt = salts.salt(m.Name, m.Entries[at].Key)
		}
		leaves[i] = keyLeaf(salt, m.Entries[at])
	}
	t, err := treeOver(leaves)
	return t, order, err
}

// domainTree is the tree over the maps that have a key.
func domainTree(maps []SnapshotMap, salts *salter) (*merkletree.MerkleTree, error) {
	var leaves []Digest
	for i := range maps {
		if len(maps[i].Entries) == 0 {
			continue
		}
		t, _, err := mapTree(&maps[i], salts)
		if err != nil {
			return nil, fmt.Errorf("tree of a map: %w", err)
		}
		leaves = append(leaves, mapLeaf(maps[i].Name, uint64(len(maps[i].Entries)), t.MerkleRoot()))
	}
	if len(leaves) == 0 {
		return nil, nil
	}
	return treeOver(leaves)
}

// RootsOf computes what the evidence of a snapshot commits to. secret is the one in
// force at its seqno.
func RootsOf(secret *Secret, s *SnapshotState) (SnapshotRoots, error) {
	roots := SnapshotRoots{Version: s.Seqno}
	public, err := domainTree(s.Public, nil)
	if err != nil || public == nil {
		return roots, errors.Join(errors.New("the snapshot has no public map"), err)
	}
	roots.Public = hex.EncodeToString(public.MerkleRoot())
	private, err := domainTree(s.Private, newSalter(secret, s.Seqno))
	if err != nil {
		return roots, err
	}
	if private != nil {
		roots.Private = hex.EncodeToString(private.MerkleRoot())
	}
	return roots, nil
}

// SnapshotProof shows offline the value of one key at a snapshot. It holds the
// transaction that committed to the snapshot and its receipt. It marshals as JSON.
type SnapshotProof struct {
	Map     string      `json:"map"`
	Key     []byte      `json:"key"`
	Value   []byte      `json:"value"`
	Version uint64      `json:"version"`        // seqno of the transaction that wrote the value
	Salt    []byte      `json:"salt,omitempty"` // of a private key
	Keys    uint64      `json:"keys"`           // in the map
	Path    []proofStep `json:"path"`           // from the key to the map's root
	MapPath []proofStep `json:"map_path"`       // from the map to the root that is committed to
	// Evidence is the ledger entry that holds the roots, Receipt that of its transaction.
	Evidence []byte `json:"evidence"`
	Receipt  []byte `json:"receipt"`
}

// proofStep is a sibling on the way up: exactly one of the two, hex.
type proofStep struct {
	Left  string `json:"left,omitempty"`
	Right string `json:"right,omitempty"`
}

// ErrNoProof is returned by ProveKey when the snapshot has no such key, or its evidence
// commits to no roots: CCF's own snapshots don't.
var ErrNoProof = errors.New("there is nothing to prove it with")

// ProveKey makes the proof of a key. evidence is the ledger entry of the transaction
// that committed to the snapshot. The secret in force at the snapshot's seqno is needed
// for a private map alone, and the snapshot must have been opened with it.
func ProveKey(s *Snapshot, evidence *Entry, secret *Secret, name string, key []byte) (*SnapshotProof, error) {
	if _, err := rootsIn(evidence, s.Seqno); err != nil {
		return nil, err
	}
	m := s.Map(name)
	if m == nil {
		return nil, fmt.Errorf("%w: no map %s in the snapshot", ErrNoProof, name)
	}
	maps, salts := s.Public, (*salter)(nil)
	if !writeset.IsPublic(name) {
		if secret == nil {
			return nil, errors.New("proving a private key takes the ledger secret")
		}
		maps, salts = s.Private, newSalter(secret, s.Seqno)
	}
	p := &SnapshotProof{Map: name, Evidence: evidence.Raw, Receipt: s.Receipt, Keys: uint64(len(m.Entries))}
	if err := p.proveIn(m, salts, key); err != nil {
		return nil, err
	}
	return p, p.proveMap(maps, salts, name)
}

// proveIn fills in the key's part.
func (p *SnapshotProof) proveIn(m *SnapshotMap, salts *salter, key []byte) error {
	tree, order, err := mapTree(m, salts)
	if err != nil {
		return err
	}
	for i, at := range order {
		e := m.Entries[at]
		if !bytes.Equal(e.Key, key) {
			continue
		}
		p.Key, p.Value, p.Version = e.Key, e.Value, e.Version
		if salts != nil {
			p.Salt = salts.salt(m.Name, key)
		}
		p.Path, err = stepsTo(tree, i)
		return err
	}
	return fmt.Errorf("%w: the map %s has no such key in the snapshot", ErrNoProof, m.Name)
}

// proveMap fills in the map's part.
func (p *SnapshotProof) proveMap(maps []SnapshotMap, salts *salter, name string) error {
	tree, err := domainTree(maps, salts)
	if err != nil {
		return err
	}
	i := 0
	for _, m := range maps {
		if m.Name == name {
			break
		}
		if len(m.Entries) > 0 {
			i++
		}
	}
	p.MapPath, err = stepsTo(tree, i)
	return err
}

// stepsTo is the path of leaf i.
func stepsTo(tree *merkletree.MerkleTree, i int) ([]proofStep, error) {
	path, sides, err := tree.GetMerklePathByIndex(i)
	if err != nil {
		return nil, fmt.Errorf("path of leaf %d: %w", i, err)
	}
	steps := make([]proofStep, len(path))
	for k := range path {
		if sides[k] == 1 { // the sibling stands on the right
			steps[k].Right = hex.EncodeToString(path[k])
		} else {
			steps[k].Left = hex.EncodeToString(path[k])
		}
	}
	return steps, nil
}

// climb returns the root that leaf and steps lead to.
func climb(leaf Digest, steps []proofStep) (Digest, error) {
	if len(steps) > MaxReceiptPath {
		return Digest{}, fmt.Errorf("path of %d steps", len(steps))
	}
	acc := sha256.Sum256(append([]byte{0}, leaf[:]...))
	for i, s := range steps {
		text := s.Left + s.Right
		h, err := parseHexDigest(text)
		if err != nil || s.Left != "" && s.Right != "" {
			return Digest{}, fmt.Errorf("step %d is not one digest", i)
		}
		step := merkle.Step{Left: s.Left != "", Hash: h}
		pair := append(append([]byte{1}, acc[:]...), step.Hash[:]...)
		if step.Left {
			pair = append(append([]byte{1}, step.Hash[:]...), acc[:]...)
		}
		acc = sha256.Sum256(pair)
	}
	return acc, nil
}

// rootsIn reads the roots that the evidence of the snapshot at seqno commits to.
func rootsIn(evidence *Entry, seqno uint64) (*SnapshotRoots, error) {
	m := evidence.Public.Map(SnapshotRootsMap)
	if m == nil {
		return nil, fmt.Errorf("%w: transaction %v commits to no roots", ErrNoProof, evidence.ID)
	}
	value, err := singleValue(*m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", SnapshotRootsMap, err)
	}
	var roots SnapshotRoots
	if err := json.Unmarshal(value, &roots); err != nil {
		return nil, fmt.Errorf("%s: %w", SnapshotRootsMap, err)
	}
	if seqno != 0 && roots.Version != seqno {
		return nil, fmt.Errorf("%w: transaction %v commits to the snapshot at %d", ErrNoProof, evidence.ID, roots.Version)
	}
	return &roots, nil
}

// ErrWrongProof says that a snapshot proof does not lead to what was committed to.
var ErrWrongProof = errors.New("the proof does not hold")

// ProvenKey is what a verified proof says.
type ProvenKey struct {
	Snapshot uint64 // seqno of the state in which the key has the value
	Evidence TxID   // transaction that committed to it
}

// Verify checks that the key had the value at the snapshot, by the word of the service
// of the given certificate. It needs no network, clock or node. Errors: ErrWrongProof,
// ErrNoProof, ErrMalformed, and those of the receipt.
func (p *SnapshotProof) Verify(service *x509.Certificate) (*ProvenKey, error) {
	e, err := ParseEntry(p.Evidence)
	if err != nil {
		return nil, fmt.Errorf("the evidence: %w", err)
	}
	if err := verifyEvidence(e, p.Receipt, service); err != nil {
		return nil, err
	}
	roots, err := rootsIn(e, 0)
	if err != nil {
		return nil, err
	}
	root := roots.Public
	if !writeset.IsPublic(p.Map) {
		root = roots.Private
	}
	inMap, err := climb(keyLeaf(p.Salt, SnapshotEntry{Key: p.Key, Value: p.Value, Version: p.Version}), p.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: the key's path: %w", ErrWrongProof, err)
	}
	all, err := climb(mapLeaf(p.Map, p.Keys, inMap[:]), p.MapPath)
	if err != nil {
		return nil, fmt.Errorf("%w: the map's path: %w", ErrWrongProof, err)
	}
	if hex.EncodeToString(all[:]) != root {
		return nil, fmt.Errorf("%w: key and paths lead to another root than transaction %v commits to", ErrWrongProof, e.ID)
	}
	return &ProvenKey{Snapshot: roots.Version, Evidence: e.ID}, nil
}

// verifyEvidence checks that the receipt is of the entry.
func verifyEvidence(e *Entry, receipt []byte, service *x509.Certificate) error {
	r, err := VerifyCOSEReceipt(receipt, service, ExpectTx(e.ID), ExpectClaims(e.Claims))
	if err != nil {
		return fmt.Errorf("the receipt of the evidence: %w", err)
	}
	for _, proof := range r.Proofs {
		if proof.Leaf.WriteSet != e.WriteSetDigest() {
			return fmt.Errorf("%w: the receipt is of another entry than the evidence", ErrWrongProof)
		}
	}
	return nil
}
