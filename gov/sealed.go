package gov

import (
	"fmt"

	"chancery/attest"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/internal/shamir"
	"chancery/kv"
	"chancery/ledger"
)

// SealedNode is what a node says of itself that can recover the service by itself: its
// recovery key, sealed to its platform, and the name under which it will come again. Its
// id will be another one then.
type SealedNode struct {
	Key  tables.SealedRecoveryKey
	Name string
}

// put records the node. A later one of the same name takes its place.
func (n *SealedNode) put(tx tables.Writer, id string) error {
	if n == nil {
		return nil
	}
	if err := tables.NodesSealedRecoveryKeys.Put(tx, id, n.Key); err != nil {
		return err
	}
	return tables.SealingNames.Put(tx, n.Name, id)
}

// sealingLocation is the name of a node's location, "" where it keeps no recovery key.
func sealingLocation(r tables.Reader, id string) (string, error) {
	if !tables.NodesSealedRecoveryKeys.Has(r, id) {
		return "", nil
	}
	names, err := tables.SealingNames.All(r)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if name.Value == id {
			return name.Key, nil
		}
	}
	return "", nil
}

// ForgetNode deletes what the tables hold of a node that is gone for good.
func ForgetNode(tx *kv.Tx, id string) error {
	tables.NodesInfo.Delete(tx, id)
	tables.NodesEndorsedCertificates.Delete(tx, id)
	tables.NodesSealedRecoveryKeys.Delete(tx, id)
	names, err := tables.SealingNames.All(tx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name.Value == id {
			tables.SealingNames.Delete(tx, name.Key)
		}
	}
	return nil
}

// SealRecoveryKey makes a recovery key whose private half only the same code on the same
// machine opens again. tcb is the version that it is bound to, 16 hex digits.
func SealRecoveryKey(s attest.Sealer, tcb string) (key tables.SealedRecoveryKey, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("sealing a recovery key: %w", err)
		}
	}()
	pair, err := identity.GenerateEncryptionKey()
	if err != nil {
		return key, err
	}
	public, err := identity.PublicKeyPEM(pair.Public())
	if err != nil {
		return key, err
	}
	private, err := identity.PrivateKeyPEM(pair)
	if err != nil {
		return key, err
	}
	defer clear(private)
	sealing, err := s.SealingKey(tcb)
	if err != nil {
		return key, err
	}
	defer clear(sealing)
	key = tables.SealedRecoveryKey{Version: s.Algorithm(), PublicKey: string(public), TCBVersion: tcb}
	key.Ciphertext, err = identity.WrapBound(sealing, private, public)
	return key, err
}

// sealShares writes sealed_shares: the whole wrapping key, another one than the
// members', for each trusted node that can keep it sealed to its platform.
func sealShares(tx *kv.Tx, secret *ledger.Secret, previousStored *uint64) error {
	wrapping, wrapped, err := wrapWithFreshKey(secret)
	if err != nil {
		return err
	}
	defer wrapping.Wipe()
	info := tables.SealedSharesInfo{
		WrappedLatestSecret: wrapped, EncryptedWrappingKeys: map[string][]byte{}, PreviousStoredVersion: previousStored,
	}
	nodes, err := trustedNodes(tx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		key, ok, err := tables.NodesSealedRecoveryKeys.Get(tx, n.Key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		full := wrapping.Full()
		info.EncryptedWrappingKeys[n.Key], err = encryptShare(key.PublicKey, &full)
		if err != nil {
			return fmt.Errorf("sealing the key for node %s: %w", n.Key, err)
		}
	}
	return tables.SealedShares.Put(tx, info)
}

// shuffleSealedShares seals the current ledger secret anew for the nodes that are trusted
// now. It does nothing while the secrets of an earlier life are not there.
func shuffleSealedShares(tx *kv.Tx, fx Effects) error {
	if fx.PublicOnly() {
		return nil
	}
	return shareAnew(tx, fx, sealShares)
}

// SealedShare is a node's part of sealed_shares, beside its recovery key.
type SealedShare struct {
	NodeID  string // the node's, in the life in which it was written
	key     tables.SealedRecoveryKey
	wrapped []byte
}

// FindSealedShare looks for what the node that had a name can recover the service with;
// nil where there is nothing.
func FindSealedShare(r tables.Reader, name string) (*SealedShare, error) {
	id, ok, err := tables.SealingNames.Get(r, name)
	if err != nil || !ok {
		return nil, err
	}
	key, ok, err := tables.NodesSealedRecoveryKeys.Get(r, id)
	if err != nil || !ok {
		return nil, err
	}
	info, ok, err := tables.SealedShares.Get(r)
	if err != nil || !ok {
		return nil, err
	}
	wrapped, ok := info.EncryptedWrappingKeys[id]
	if !ok {
		return nil, nil
	}
	return &SealedShare{id, key, wrapped}, nil
}

// Open returns the bytes of the ledger secret that sealed_shares holds, on the machine that
// sealed the recovery key.
func (s *SealedShare) Open(sealer attest.Sealer, info tables.SealedSharesInfo) ([]byte, error) {
	if s.key.Version != sealer.Algorithm() {
		return nil, fmt.Errorf("the recovery key is sealed by %s, and this platform seals by %s", s.key.Version, sealer.Algorithm())
	}
	sealing, err := sealer.SealingKey(s.key.TCBVersion)
	if err != nil {
		return nil, err
	}
	defer clear(sealing)
	private, err := identity.UnwrapBound(sealing, s.key.Ciphertext, []byte(s.key.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("Failed to decrypt sealed data: %w (another machine, other code, or other host data than sealed it)", err)
	}
	defer clear(private)
	pair, err := identity.ParseRSAPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("the sealed recovery key: %w", err)
	}
	raw, err := identity.UnwrapWith(pair, s.wrapped)
	if err != nil {
		return nil, fmt.Errorf("the sealed share: %w", err)
	}
	defer clear(raw)
	share, err := shamir.ParseShare(raw)
	if err != nil {
		return nil, fmt.Errorf("the sealed share: %w", err)
	}
	defer share.Wipe()
	wrapping, err := shamir.Combine([]shamir.Share{share}, 1)
	if err != nil {
		return nil, fmt.Errorf("the sealed share: %w", err)
	}
	defer wrapping.Wipe()
	key, err := wrapping.WrappingKey()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	secret, err := identity.Unwrap(key, info.WrappedLatestSecret)
	if err != nil {
		return nil, fmt.Errorf("the sealed ledger secret: %w", err)
	}
	return secret, nil
}
