package ledger

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"chancery/kv/writeset"
)

const historicalSecretMap = "public:ccf.internal.historical_encrypted_ledger_secret"

// secretChain is what the writes to historicalSecretMap have said so far.
type secretChain struct {
	seqno   uint64          // of the last write, 0 if there was none
	current uint64          // first seqno of the secret that it introduced
	before  map[uint64]bool // first seqnos of the secrets that were sealed under later ones
}

// secretRow is the JSON value in historicalSecretMap.
type secretRow struct {
	NextVersion uint64 `json:"next_version"` // 0: the new secret follows this write
	Previous    *struct {
		EncryptedData string  `json:"encrypted_data"`
		Version       uint64  `json:"version"`
		StoredVersion *uint64 `json:"previous_secret_stored_version"`
	} `json:"previous_ledger_secret"`
}

// secretWritten follows the chain of ledger secrets: each write introduces a secret
// and seals the one before it under it.
func (a *auditor) secretWritten(e *Entry, m *writeset.MapWrites) error {
	value, err := singleValue(*m)
	if err != nil {
		return err
	}
	var row secretRow
	if err := json.Unmarshal(value, &row); err != nil {
		return err
	}
	c := &a.secrets
	introduced := row.NextVersion
	if introduced == 0 {
		introduced = e.ID.Seqno + 1
	}
	switch {
	case introduced > e.ID.Seqno+1:
		return fmt.Errorf("a ledger secret is to be in force from seqno %d, in the future", introduced)
	case c.seqno == 0 && row.Previous != nil:
		return errors.New("the first ledger secret has one before it")
	case c.seqno != 0 && row.Previous == nil:
		return errors.New("a ledger secret without the one before it")
	}
	if p := row.Previous; p != nil {
		if p.StoredVersion != nil && *p.StoredVersion != c.seqno {
			return fmt.Errorf("it says that the table was last written at seqno %d, and that was at %d", *p.StoredVersion, c.seqno)
		}
		switch {
		case c.before[p.Version]:
			a.finding(e.ID, "the ledger secret from seqno %d is sealed a second time: an old fault of CCF (double-sealed)", p.Version)
		case p.Version != c.current:
			return fmt.Errorf("the ledger secret from seqno %d is sealed, the one before is that from %d", p.Version, c.current)
		}
		if err := a.checkSealed(introduced, p.Version, p.EncryptedData); err != nil {
			return err
		}
		if c.before == nil {
			c.before = map[uint64]bool{}
		}
		c.before[p.Version] = true
	}
	c.seqno, c.current = e.ID.Seqno, introduced
	return nil
}

// checkSealed decrypts an earlier ledger secret with a later one, when both are known.
func (a *auditor) checkSealed(newer, older uint64, text string) error {
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("sealed ledger secret: %w", err)
	}
	if len(blob) != tagSize+ivSize+SecretSize {
		return fmt.Errorf("sealed ledger secret of %d bytes", len(blob))
	}
	if a.opts.Secrets == nil {
		return nil
	}
	by, known := a.opts.Secrets.from(newer)
	want, also := a.opts.Secrets.from(older)
	if !known || !also {
		return nil
	}
	raw, err := by.unwrap(blob)
	if err != nil {
		return fmt.Errorf("sealed ledger secret: %w", err)
	}
	defer clear(raw)
	if subtle.ConstantTimeCompare(raw, want.Key()) != 1 {
		return fmt.Errorf("what is sealed is not the ledger secret from seqno %d", older)
	}
	return nil
}

// unwrap opens a blob tag[16] || iv[12] || ciphertext that was sealed under s without
// associated data.
func (s *Secret) unwrap(blob []byte) ([]byte, error) {
	sealed := append(append([]byte(nil), blob[tagSize+ivSize:]...), blob[:tagSize]...)
	raw, err := s.aead.Open(sealed[:0], blob[tagSize:tagSize+ivSize], sealed, nil)
	if err != nil {
		return nil, ErrTag
	}
	return raw, nil
}
