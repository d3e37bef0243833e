package gov

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"chancery/gov/tables"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// auditKeys stand for the service's where an act is done again: what they make is
// compared by its place alone.
type auditKeys struct {
	service *ecdsa.PrivateKey
	secret  *ledger.Secret
}

func newAuditKeys() (*auditKeys, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	secret, err := newSecret()
	if err != nil {
		return nil, err
	}
	return &auditKeys{service: key, secret: secret}, nil
}

// effects are those of an act that was signed at a time, on the audit's present state. In
// the entry stands what the node alone can tell: whether it unsealed the ledger secrets.
func (k *auditKeys) effects(a *audit, e *ledger.Entry, signedAt int64) Effects {
	return auditEffects{k, a, time.Unix(signedAt, 0), unsealed(e)}
}

type auditEffects struct {
	keys     *auditKeys
	a        *audit
	now      time.Time
	unsealed bool
}

var _ Recovery = auditEffects{}

// ReadingPrivate is nothing that an act depends on which is done again.
func (e auditEffects) ReadingPrivate() bool { return false }

// Unseal gives another secret in the place of the one that was unsealed.
func (e auditEffects) Unseal(tables.SealedSharesInfo) ([]byte, bool, error) {
	return bytes.Clone(e.keys.secret.Key()), e.unsealed, nil
}

// SecretHistory is as short as one can be.
func (e auditEffects) SecretHistory() ([]SecretLink, error) {
	first := uint64(1)
	return []SecretLink{{Seqno: first, Entry: tables.SecretHistoryEntry{NextVersion: &first}}}, nil
}

func (e auditEffects) Root() (ledger.Digest, error) { return e.a.tree.Root(), nil }

// LedgerSecrets stands another secret in the place of the one in force, whose first seqno
// the tables tell.
func (e auditEffects) LedgerSecrets() (LedgerSecret, *LedgerSecret, error) {
	current := LedgerSecret{From: 1, Secret: e.keys.secret}
	at := e.a.store.Head()
	if e.PublicOnly() { // that of the present life: the last in the chain is an earlier life's
		s, _, err := tables.ServiceInfo.Get(tables.View(at))
		if err != nil {
			return current, nil, err
		}
		created, err := writeset.ParseTxID(s.CreateTxID)
		current.From = created.Seqno
		return current, nil, err
	}
	link, ok, err := tables.SecretHistory.Get(tables.View(at))
	if err == nil && ok {
		_, written, _ := at.Get(tables.NameSecretHistory, tables.SingletonKey)
		current.From = tables.Or(link.NextVersion, written+1)
	}
	return current, nil, err
}

func (e auditEffects) ForceChunk() {}

func (e auditEffects) RequestSnapshot() {}

// PublicOnly says that the service waits for its secrets, as the tables have it.
func (e auditEffects) PublicOnly() bool {
	s, _, err := tables.ServiceInfo.Get(tables.View(e.a.store.Head()))
	return err == nil && (s.Status == tables.ServiceRecovering || s.Status == tables.ServiceWaiting)
}

func (e auditEffects) ServiceKey() crypto.Signer { return e.keys.service }

func (e auditEffects) EndorseNode(csr, _ string, _ uint64) (string, error) { return csr, nil }

// RenewService returns the certificate that is there: the row is compared by its key.
func (e auditEffects) RenewService(string, uint64) (string, error) {
	s, _, err := tables.ServiceInfo.Get(tables.View(e.a.store.Head()))
	return s.Cert, err
}

func (e auditEffects) Now() time.Time { return e.now }

func (e auditEffects) Log(slog.Level, string) {}
