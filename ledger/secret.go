package ledger

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"log/slog"
	"sync"

	"chancery/internal/secmem"
)

// SecretSize is the size of a ledger secret in bytes.
const SecretSize = 32

// commitLabel is what CCF hashes: the first 8 bytes of a longer constant.
const commitLabel = "Commit S"

// Secret is a ledger secret: the AES-256-GCM key of all private domains from some
// seqno on. The key lies in locked memory; what the cipher and the MAC derive from
// it lies on Go's heap and lives as long as the Secret. Safe for concurrent use.
type Secret struct {
	key      *secmem.Buffer
	aead     cipher.AEAD
	evidence sync.Pool // of HMACs keyed with the commit secret
}

// NewSecret takes over a ledger secret of SecretSize bytes, and overwrites raw with
// zeros.
func NewSecret(raw []byte) (*Secret, error) {
	if len(raw) != SecretSize {
		clear(raw)
		return nil, fmt.Errorf("ledger secret of %d bytes, want %d", len(raw), SecretSize)
	}
	key, err := secmem.From(raw)
	if err != nil {
		return nil, fmt.Errorf("ledger secret: %w", err)
	}
	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		return nil, fmt.Errorf("ledger secret: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("ledger secret: %w", err)
	}
	mac := hmac.New(sha256.New, key.Bytes())
	mac.Write([]byte(commitLabel))
	commit, err := secmem.From(mac.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("commit secret: %w", err)
	}
	s := &Secret{key: key, aead: aead}
	s.evidence.New = func() any { return hmac.New(sha256.New, commit.Bytes()) }
	return s, nil
}

// Key returns the secret itself, not a copy, for wrapping it. It is never to be
// logged or written in the clear.
func (s *Secret) Key() []byte { return s.key.Bytes() }

// Equal reports whether both are the same secret, in constant time.
func (s *Secret) Equal(o *Secret) bool {
	return subtle.ConstantTimeCompare(s.key.Bytes(), o.key.Bytes()) == 1
}

// String returns a redaction.
func (*Secret) String() string { return "[ledger secret]" }

// GoString returns a redaction.
func (*Secret) GoString() string { return "[ledger secret]" }

// LogValue returns a redaction.
func (*Secret) LogValue() slog.Value { return slog.StringValue("[ledger secret]") }

const (
	evidencePrefix = "ce:"
	maxTxIDLen     = 41 // two 20-digit numbers and a dot
)

// CommitEvidence returns the text that proves, once it is published, that the
// transaction was committed: "ce:<view>.<seqno>:<hex nonce>". Its SHA-256 is part
// of the transaction's leaf.
func CommitEvidence(s *Secret, id TxID) string {
	return string(appendEvidence(make([]byte, 0, len(evidencePrefix)+maxTxIDLen+1+2*sha256.Size), s, id))
}

// CommitEvidenceDigest returns the SHA-256 of CommitEvidence.
func CommitEvidenceDigest(s *Secret, id TxID) Digest {
	var buf [len(evidencePrefix) + maxTxIDLen + 1 + 2*sha256.Size]byte
	return sha256.Sum256(appendEvidence(buf[:0], s, id))
}

func appendEvidence(dst []byte, s *Secret, id TxID) []byte {
	dst = append(dst, evidencePrefix...)
	at := len(dst)
	dst = appendTxID(dst, id)
	mac := s.evidence.Get().(hash.Hash)
	mac.Reset()
	mac.Write(dst[at:])
	var nonce [sha256.Size]byte
	mac.Sum(nonce[:0])
	s.evidence.Put(mac)
	dst = append(dst, ':')
	return hex.AppendEncode(dst, nonce[:])
}
