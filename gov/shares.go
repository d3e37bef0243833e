package gov

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/internal/shamir"
	"chancery/kv"
	"chancery/ledger"
)

// recoverers are the active members that take part in recovery, with their RSA keys
// (PEM), by member id.
type recoverers struct {
	participants, owners map[string]string
}

func activeRecoverers(r tables.Reader) (recoverers, error) {
	out := recoverers{map[string]string{}, map[string]string{}}
	keys, err := tables.MembersEncryptionKeys.All(r)
	if err != nil {
		return out, err
	}
	for _, k := range keys {
		m, ok, err := tables.MembersInfo.Get(r, k.Key)
		if err != nil {
			return out, err
		}
		if !ok {
			return out, fmt.Errorf("Recovery member %s has no member info", memberText(k.Key))
		}
		if m.Status != tables.MemberActive {
			continue
		}
		switch m.RecoveryRole {
		case "", tables.Participant:
			out.participants[k.Key] = k.Value
		case tables.Owner:
			out.owners[k.Key] = k.Value
		}
	}
	return out, nil
}

// split says how many shares there are to be, given the threshold.
func (rs recoverers) split(threshold uint64) (int, error) {
	participants, owners := len(rs.participants), len(rs.owners)
	switch {
	case participants == 0 && owners == 0:
		return 0, fmt.Errorf("There should be at least one active recovery member to issue recovery shares")
	case threshold == 0:
		return 0, fmt.Errorf("Recovery threshold should be set before recovery shares are computed")
	case participants == 0 && threshold > 1:
		return 0, fmt.Errorf("Recovery threshold %d cannot be greater than 1 when the consortium consists of only active recovery owner members (%d)", threshold, owners)
	case participants == 0:
		return 1, nil
	case threshold > uint64(participants):
		return 0, fmt.Errorf("Recovery threshold %d should be equal to or less than the number of active recovery members %d", threshold, participants)
	}
	return participants, nil
}

// shareSecret writes recovery_shares: secret under a fresh wrapping key, and that key's
// shares for the active recovery members, in the order of their ids.
func shareSecret(tx *kv.Tx, secret *ledger.Secret, previousStored *uint64) error {
	cfg, err := config(tx)
	if err != nil {
		return err
	}
	rs, err := activeRecoverers(tx)
	if err != nil {
		return err
	}
	n, err := rs.split(cfg.RecoveryThreshold)
	if err != nil {
		return err
	}
	wrapping, wrapped, err := wrapWithFreshKey(secret)
	if err != nil {
		return err
	}
	defer wrapping.Wipe()
	shares, err := wrapping.Split(rand.Reader, int(cfg.RecoveryThreshold), n)
	if err != nil {
		return err
	}
	info := tables.RecoverySharesInfo{
		WrappedLatestSecret: wrapped, EncryptedShares: map[string][]byte{}, PreviousStoredVersion: previousStored,
	}
	for i, id := range slices.Sorted(maps.Keys(rs.participants)) {
		info.EncryptedShares[id], err = encryptShare(rs.participants[id], &shares[i])
		if err != nil {
			return fmt.Errorf("encrypting the share of member %s: %w", id, err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(rs.owners)) {
		full := wrapping.Full()
		info.EncryptedShares[id], err = encryptShare(rs.owners[id], &full)
		if err != nil {
			return fmt.Errorf("encrypting the key of member %s: %w", id, err)
		}
	}
	return tables.RecoveryShares.Put(tx, info)
}

// wrapWithFreshKey seals secret under the key of a new shared secret.
func wrapWithFreshKey(secret *ledger.Secret) (*shamir.Secret, []byte, error) {
	wrapping, err := shamir.NewSecret(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	key, err := wrapping.WrappingKey()
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	wrapped, err := identity.WrapOnce(key, secret.Key())
	if err != nil {
		return nil, nil, fmt.Errorf("wrapping the ledger secret: %w", err)
	}
	return wrapping, wrapped, nil
}

// encryptShare encrypts a share for the holder of an RSA key, PEM, and wipes it.
func encryptShare(keyPEM string, share *shamir.Share) ([]byte, error) {
	defer share.Wipe()
	key, err := identity.ParseRSAPublicKey([]byte(keyPEM))
	if err != nil {
		return nil, err
	}
	raw := share.Bytes()
	defer clear(raw)
	return identity.WrapFor(key, raw)
}

// trustedNodes are the nodes that may know the ledger secrets: those that are Trusted,
// and those Retired whose retirement is not committed yet.
func trustedNodes(r tables.Reader) ([]tables.Entry[tables.Node], error) {
	all, err := tables.NodesInfo.All(r)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(n tables.Entry[tables.Node]) bool {
		s := n.Value.Status
		return s != tables.NodeTrusted && (s != tables.NodeRetired || n.Value.RetiredCommitted)
	}), nil
}

// previousStored is the seqno at which the secret before the current one was recorded,
// nil when the current one is the first.
func previousStored(tx *kv.Tx) (*uint64, error) {
	last, ok, err := tables.SecretHistory.Get(tx)
	if err != nil || !ok || last.Previous == nil {
		return nil, err
	}
	if v, ok := tx.VersionOfPreviousWrite(tables.NameSecretHistory, tables.SingletonKey); ok {
		return &v, nil
	}
	return nil, nil
}

// refreshShares shares the current ledger secret anew among those who are to hold it now.
func refreshShares(tx *kv.Tx, fx Effects) error { return shareAnew(tx, fx, shareSecret) }

// shareAnew shares the current ledger secret, by itself: no link is added to the chain.
func shareAnew(tx *kv.Tx, fx Effects, share func(tx *kv.Tx, secret *ledger.Secret, previousStored *uint64) error) error {
	current, _, err := fx.LedgerSecrets()
	if err != nil {
		return err
	}
	stored, err := previousStored(tx)
	if err != nil {
		return err
	}
	return share(tx, current.Secret, stored)
}

// issueShares shares secret and adds the link of the chain that leads from it to the
// secret before. next is the seqno from which secret is in force, nil when it is the
// one after this transaction's.
func issueShares(tx *kv.Tx, secret *ledger.Secret, previous *LedgerSecret, next *uint64) error {
	if err := shareSecret(tx, secret, nil); err != nil {
		return err
	}
	if err := sealShares(tx, secret, nil); err != nil {
		return err
	}
	link := tables.SecretHistoryEntry{NextVersion: next}
	if previous != nil {
		sealed, err := identity.Wrap(secret.Key(), previous.Secret.Key())
		if err != nil {
			return fmt.Errorf("sealing the previous ledger secret: %w", err)
		}
		link.Previous = &tables.PreviousSecret{EncryptedData: sealed, Version: previous.From}
		if v, ok := tx.VersionOfPreviousWrite(tables.NameSecretHistory, tables.SingletonKey); ok {
			link.Previous.PreviousStoredVersion = &v
		}
	}
	return tables.SecretHistory.Put(tx, link)
}
