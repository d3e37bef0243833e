package backup

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"chancery/ledger"
)

// ErrUnverified is wrapped by errors that say that a backup, read as such, does not hold.
var ErrUnverified = errors.New("the backup does not verify")

const (
	manifestVersion = 1
	// maxManifest bounds what is read as a manifest, in bytes.
	maxManifest = 1 << 28

	ledgerDir    = "ledger/"
	snapshotDir  = "snapshots/"
	manifestDir  = "manifests/"
	progressFile = "progress.json"

	idTime = "20060102T150405.000Z"
)

// Manifest says what belongs to a backup, and what the ledger in it is.
type Manifest struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	// Service is the identity in force at Through.
	Service Service `json:"service"`
	// Through is the last transaction, a signature, and LedgerRoot what it signs (hex).
	Through    string `json:"through"`
	LedgerRoot string `json:"ledger_root"`
	// Files are the chunks, in order, and then the snapshots.
	Files []File `json:"files"`
	// Root is that of the Merkle tree over Files, hex.
	Root string `json:"root"`
	// Checkpoint is what the audit of the chunks established, for the next backup.
	Checkpoint *ledger.Checkpoint `json:"checkpoint"`
}

// Service is a service identity.
type Service struct {
	KeyID       string `json:"key_id"`      // hex SHA-256 of the key's SubjectPublicKeyInfo
	Certificate string `json:"certificate"` // PEM
}

// File is a file of a backup.
type File struct {
	Name   string `json:"name"` // with its directory, which ends in a slash
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// chunk returns which entries a file holds, by its name; ok is false for a snapshot.
func (f File) chunk() (first, last uint64, ok bool) {
	base, ok := strings.CutPrefix(f.Name, ledgerDir)
	if !ok {
		return 0, 0, false
	}
	return ledger.IsCommittedChunk(base)
}

func (f File) snapshot() (ledger.SnapshotName, bool) {
	base, ok := strings.CutPrefix(f.Name, snapshotDir)
	if !ok {
		return ledger.SnapshotName{}, false
	}
	n, ok := ledger.ParseSnapshotName(base)
	return n, ok && n.Committed && n.String() == base
}

func (f File) leaf() (ledger.Digest, error) {
	sum, err := hex.DecodeString(f.SHA256)
	if err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != f.SHA256 {
		return ledger.Digest{}, fmt.Errorf("%s: its SHA-256 is not one in lower case", f.Name)
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(f.Name)))
	b = append(b, f.Name...)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.Size))
	return sha256.Sum256(append(b, sum...)), nil
}

// newManifest describes files whose chunks were audited through the checkpoint.
func newManifest(files []File, c *ledger.Checkpoint, created time.Time) (*Manifest, error) {
	services := c.Services()
	life := services[len(services)-1]
	root := c.Root()
	m := &Manifest{
		Version: manifestVersion, Created: created.UTC().Truncate(time.Millisecond),
		Service: Service{KeyID: life.KeyID, Certificate: pemOf(life.Cert)},
		Through: c.Last().String(), LedgerRoot: hex.EncodeToString(root[:]), Files: files, Checkpoint: c,
	}
	sum, err := rootOf(files)
	if err != nil {
		return nil, err
	}
	m.Root = hex.EncodeToString(sum[:])
	return m, m.check()
}

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func rootOf(files []File) (ledger.Digest, error) {
	leaves := make([]ledger.Digest, len(files))
	for i, f := range files {
		var err error
		if leaves[i], err = f.leaf(); err != nil {
			return ledger.Digest{}, err
		}
	}
	return ledger.RootOver(leaves)
}

// ID names the backup: it is the base name of its manifest, without ending. IDs sort by time.
func (m *Manifest) ID() string { return m.Created.Format(idTime) + "_" + m.Through }

func (m *Manifest) name() string { return manifestDir + m.ID() + ".json" }

// Last is the last transaction.
func (m *Manifest) Last() ledger.TxID { return m.Checkpoint.Last() }

// Bytes is the size of all files.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

func (m *Manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", " ")
	return append(text, '\n'), err
}

// ParseManifest reads a manifest, in the one spelling that it has. That its files are
// what it says, and the ledger in them good, is Verify's to find out.
func ParseManifest(text []byte) (*Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrUnverified, err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrUnverified, err)
	}
	if again, err := m.encode(); err != nil || !bytes.Equal(again, text) {
		return nil, fmt.Errorf("%w: manifest: it is not written as it should be", ErrUnverified)
	}
	return &m, nil
}

// check checks the manifest in itself.
func (m *Manifest) check() error {
	switch {
	case m.Version != manifestVersion:
		return fmt.Errorf("it is of version %d, this program knows %d", m.Version, manifestVersion)
	case m.Checkpoint == nil:
		return errors.New("it has no checkpoint")
	case m.Checkpoint.Last().String() != m.Through:
		return fmt.Errorf("it reaches %s, and its checkpoint %v", m.Through, m.Checkpoint.Last())
	case len(m.Files) == 0:
		return errors.New("it names no file")
	case m.Created.Year() < 1 || m.Created.Year() > 9999 || m.Created != m.Created.UTC().Truncate(time.Millisecond):
		return errors.New("the time when it was made is not one in UTC, to the millisecond")
	}
	if root := m.Checkpoint.Root(); m.LedgerRoot != hex.EncodeToString(root[:]) {
		return errors.New("its ledger root is not that of its checkpoint")
	}
	if err := m.checkFiles(); err != nil {
		return err
	}
	services := m.Checkpoint.Services()
	if life := services[len(services)-1]; life.KeyID != m.Service.KeyID || pemOf(life.Cert) != m.Service.Certificate {
		return errors.New("its service is not that of its checkpoint")
	}
	root, err := rootOf(m.Files)
	if err != nil {
		return err
	}
	if m.Root != hex.EncodeToString(root[:]) {
		return errors.New("its root is not that of its files")
	}
	return nil
}

// checkFiles checks that the chunks follow one another from the first transaction to the
// last, and that snapshots are of transactions in them.
func (m *Manifest) checkFiles() error {
	next := uint64(1)
	through := m.Checkpoint.Last().Seqno
	chunks := true
	var before ledger.SnapshotName
	for _, f := range m.Files {
		if f.Size <= 0 {
			return fmt.Errorf("%q: %d bytes", f.Name, f.Size)
		}
		if first, last, ok := f.chunk(); ok && chunks && path.Clean(f.Name) == f.Name {
			if first != next {
				return fmt.Errorf("%s: it begins at %d, and the chunk before ends at %d", f.Name, first, next-1)
			}
			next = last + 1
			continue
		}
		n, ok := f.snapshot()
		if !ok {
			return fmt.Errorf("%q is neither a chunk nor a snapshot, or out of order", f.Name)
		}
		if n.Seqno < before.Seqno || n == before || n.Evidence > through {
			return fmt.Errorf("%s: it is out of order", f.Name)
		}
		chunks, before = false, n
	}
	if next != through+1 {
		return fmt.Errorf("its chunks end at %d, and it reaches %s", next-1, m.Through)
	}
	return nil
}
