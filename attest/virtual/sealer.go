package virtual

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"chancery/attest"
	"chancery/internal/durable"
)

// Sealer seals with a key that lies in a file in the clear. It protects nothing: whoever
// reads the file opens what is sealed.
type Sealer struct {
	key      [32]byte
	hostData [32]byte
}

var _ attest.Sealer = (*Sealer)(nil)

// sealingFile is the content of the file.
type sealingFile struct {
	Warning string `json:"warning"`
	Key     string `json:"sealing_key"` // hex
}

const sealingWarning = "INSECURE: the sealing key of a development node in the clear. Whoever reads this file and the ledger can read everything that the service holds."

// NewSealer reads the key from a file, or makes it where there is none. hostData is the
// digest of the code, normally BinaryDigest.
func NewSealer(fsys durable.FS, path string, hostData [32]byte) (*Sealer, error) {
	s := &Sealer{hostData: hostData}
	text, err := fsys.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.make(fsys, path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key: %w", err)
	}
	var f sealingFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("reading the sealing key in %s: %w", path, err)
	}
	key, err := hex.DecodeString(f.Key)
	if err != nil || len(key) != len(s.key) {
		return nil, fmt.Errorf("reading the sealing key in %s: it is not 32 bytes of hex", path)
	}
	copy(s.key[:], key)
	clear(key)
	return s, nil
}

func (s *Sealer) make(fsys durable.FS, path string) error {
	if _, err := rand.Read(s.key[:]); err != nil {
		return fmt.Errorf("making a sealing key: %w", err)
	}
	text, err := json.MarshalIndent(sealingFile{sealingWarning, hex.EncodeToString(s.key[:])}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the sealing key: %w", err)
	}
	if err := durable.WriteFileAtomic(fsys, path, text, 0o600); err != nil {
		return fmt.Errorf("writing the sealing key: %w", err)
	}
	return nil
}

// Algorithm says that the key protects nothing.
func (*Sealer) Algorithm() string { return attest.SealedVirtual }

// SealingKey binds the key of the file to the code and the version.
func (s *Sealer) SealingKey(tcb string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.key[:], s.hostData[:], Measurement+"\n"+tcb, 32)
}
