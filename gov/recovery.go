package gov

import (
	"encoding/base64"
	"fmt"
	"slices"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/internal/shamir"
	"chancery/kv"
	"chancery/ledger"
)

// Recovery is what the Effects of a node can do besides, while the service recovers from
// a disaster.
type Recovery interface {
	// ReadingPrivate says that the ledger secrets are restored and the private state is
	// being replayed.
	ReadingPrivate() bool
	// SecretHistory returns every row that the ledger ever held in
	// historical_encrypted_ledger_secret, oldest first.
	SecretHistory() ([]SecretLink, error)
	// Unseal opens the ledger secret of the service's earlier life that was sealed for
	// this node's location; ok is false where the node is not to do so.
	Unseal(tables.SealedSharesInfo) (secret []byte, ok bool, err error)
}

// SecretLink is a row of historical_encrypted_ledger_secret and the seqno of its write.
type SecretLink struct {
	Seqno uint64
	Entry tables.SecretHistoryEntry
}

// SubmissionView is the answer to a submitted recovery share.
type SubmissionView struct {
	FullKeySubmitted  bool   `json:"fullKeySubmitted"`
	Message           string `json:"message"`
	RecoveryThreshold uint64 `json:"recoveryThreshold"`
	SubmittedCount    int    `json:"submittedCount"`
}

// SubmitShare takes a member's decrypted recovery share, kept under the current ledger
// secret until there are enough. With the last one needed, the earlier ledger secrets are
// restored and wrapped for every node (encrypted_ledger_secrets), whereupon the nodes
// replay the private state. Shares that do not open the secrets are all forgotten, and
// the error says so with Apply set.
func SubmitShare(tx *kv.Tx, fx Effects, s Signed, memberID string) (*SubmissionView, error) {
	svc, err := service(tx)
	if err != nil {
		return nil, err
	}
	if svc.Status != tables.ServiceWaiting {
		return nil, refuse(Denied, CodeServiceNotWaitingForShares, "Service is not waiting for recovery shares.")
	}
	node, ok := fx.(Recovery)
	if !ok {
		return nil, failed("This node does not take part in the recovery.")
	}
	cfg, err := config(tx)
	if err != nil {
		return nil, err
	}
	current, _, err := fx.LedgerSecrets()
	if err != nil {
		return nil, err
	}
	shares, err := submittedShares(tx, current.Secret)
	if err != nil {
		return nil, err
	}
	defer shares.wipe()
	// Sets that do not open the secrets are forgotten at once: these have.
	if shares.enough(cfg.RecoveryThreshold) || node.ReadingPrivate() {
		return nil, refuse(Denied, CodeNodeAlreadyRecovering, "Node is already recovering private ledger.")
	}
	raw, err := s.share(memberID)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	if err := shares.add(memberID, raw); err != nil {
		return nil, err
	}
	sealed, err := identity.Wrap(current.Secret.Key(), raw)
	if err != nil {
		return nil, err
	}
	if err := tables.SubmittedShares.Put(tx, memberID, sealed); err != nil {
		return nil, err
	}
	v := &SubmissionView{
		FullKeySubmitted: shares[memberID].X == 0, RecoveryThreshold: cfg.RecoveryThreshold, SubmittedCount: len(shares),
		Message: fmt.Sprintf("%d/%d recovery shares successfully submitted", len(shares), cfg.RecoveryThreshold),
	}
	if v.FullKeySubmitted {
		v.Message = "Full recovery key successfully submitted"
	}
	if !shares.enough(cfg.RecoveryThreshold) {
		return v, nil
	}
	v.Message += "\nEnd of recovery procedure initiated"
	if err := restoreSecrets(tx, node, shares, int(cfg.RecoveryThreshold)); err != nil {
		tables.SubmittedShares.Clear(tx)
		refused := failed("Failed to initiate private recovery. The submitted shares do not open the ledger secret together; all are forgotten, submit them anew.")
		refused.Apply = true
		return nil, refused
	}
	return v, nil
}

// share reads the share in a signed message, in the order of CCF's checks.
func (s Signed) share(memberID string) ([]byte, error) {
	if err := checkMemberID(memberID); err != nil {
		return nil, err
	}
	if _, refused := parseObject(s.payload()); refused != nil {
		return nil, refused
	}
	if err := s.checkSigner(memberID); err != nil {
		return nil, err
	}
	text, err := requireString(s.payload(), "share")
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, failed("The share is not valid base64.")
	}
	return raw, nil
}

// submitted are the shares that members have handed in, by the id of who did. Who holds a
// share may do so, as in CCF: a member whose machine is lost can give it to another.
type submitted map[string]*shamir.Share

// submittedShares opens the shares submitted so far.
func submittedShares(tx *kv.Tx, secret *ledger.Secret) (submitted, error) {
	all, err := tables.SubmittedShares.All(tx)
	if err != nil {
		return nil, err
	}
	out := submitted{}
	for _, e := range all {
		raw, err := identity.Unwrap(secret.Key(), e.Value)
		if err != nil {
			return nil, fmt.Errorf("opening the share of member %s: %w", e.Key, err)
		}
		share, err := shamir.ParseShare(raw)
		clear(raw)
		if err != nil {
			return nil, fmt.Errorf("reading the share of member %s: %w", e.Key, err)
		}
		out[e.Key] = &share
	}
	return out, nil
}

// add takes a member's share in, in place of an earlier one, as far as it can be checked
// alone: it has the form of one, and no other member sent one with the same index.
func (m submitted) add(memberID string, raw []byte) error {
	share, err := shamir.ParseShare(raw)
	if err != nil {
		return failed("Error submitting recovery shares: this is not a decrypted recovery share. The shares of other members are kept.")
	}
	for other, theirs := range m {
		if other != memberID && theirs.X == share.X {
			share.Wipe()
			return failed("Error submitting recovery shares: another member has submitted this share; it counts once.")
		}
	}
	if earlier := m[memberID]; earlier != nil {
		earlier.Wipe()
	}
	m[memberID] = &share
	return nil
}

// enough says whether the shares are as many as the threshold, or the full key among them.
func (m submitted) enough(threshold uint64) bool {
	for _, share := range m {
		if share.X == 0 {
			return true
		}
	}
	return uint64(len(m)) >= threshold
}

func (m submitted) wipe() {
	for _, share := range m {
		share.Wipe()
	}
}

// restoreSecrets combines the submitted shares, opens the last ledger secret of the
// service's earlier life with them and all before it with that one, and wraps them for
// the nodes.
func restoreSecrets(tx *kv.Tx, node Recovery, shares submitted, threshold int) error {
	var all []shamir.Share
	for _, share := range shares {
		all = append(all, *share)
	}
	wrapping, err := shamir.Combine(all, threshold)
	for i := range all {
		all[i].Wipe()
	}
	if err != nil {
		return err
	}
	defer wrapping.Wipe()
	issued, _, err := tables.RecoveryShares.Get(tx)
	if err != nil {
		return err
	}
	key, err := wrapping.WrappingKey()
	if err != nil {
		return err
	}
	defer clear(key)
	latest, err := identity.Unwrap(key, issued.WrappedLatestSecret)
	if err != nil {
		return err
	}
	return restoreFrom(tx, node, latest)
}

// restoreFrom opens the secrets before the latest, which it overwrites, and wraps all for
// the nodes.
func restoreFrom(tx *kv.Tx, node Recovery, latest []byte) error {
	links, err := node.SecretHistory()
	if err != nil {
		clear(latest)
		return err
	}
	restored, err := Unchain(latest, links)
	if err != nil {
		return err
	}
	return broadcastRestored(tx, restored)
}

// RestoredSecret is a ledger secret of an earlier life of the service.
type RestoredSecret struct {
	LedgerSecret
	// PreviousStored is the seqno at which the secret before it was recorded.
	PreviousStored *uint64
}

// Unchain opens the chain of ledger secrets from the latest one back to the first, and
// returns them oldest first. It takes over latest, which it overwrites. A link to a secret
// that is known already is passed over: an old fault of CCF wrote one twice.
func Unchain(latest []byte, links []SecretLink) ([]RestoredSecret, error) {
	if len(links) == 0 {
		clear(latest)
		return nil, fmt.Errorf("restoring ledger secrets: the ledger records none")
	}
	secret, err := ledger.NewSecret(latest)
	if err != nil {
		return nil, err
	}
	last := links[len(links)-1]
	from := tables.Or(last.Entry.NextVersion, last.Seqno+1)
	out := []RestoredSecret{{LedgerSecret{from, secret}, &last.Seqno}}
	known := map[uint64]bool{from: true}
	for _, link := range slices.Backward(links) {
		p := link.Entry.Previous
		if p == nil {
			break
		}
		if known[p.Version] {
			continue
		}
		raw, err := identity.Unwrap(secret.Key(), p.EncryptedData)
		if err != nil {
			return nil, fmt.Errorf("restoring the ledger secret of seqno %d: %w", p.Version, err)
		}
		if secret, err = ledger.NewSecret(raw); err != nil {
			return nil, err
		}
		known[p.Version] = true
		out = append(out, RestoredSecret{LedgerSecret{p.Version, secret}, p.PreviousStoredVersion})
	}
	slices.Reverse(out)
	return out, nil
}

// broadcastRestored wraps the secrets of earlier lives for each node.
func broadcastRestored(tx *kv.Tx, secrets []RestoredSecret) error {
	nodes, err := trustedNodes(tx)
	if err != nil {
		return err
	}
	out := map[string][]tables.EncryptedSecret{}
	for _, n := range nodes {
		for _, s := range secrets {
			wrapped, err := wrapForNode(n, s.Secret)
			if err != nil {
				return err
			}
			out[n.Key] = append(out[n.Key], tables.EncryptedSecret{
				Version: &s.From, EncryptedSecret: wrapped, PreviousStoredVersion: s.PreviousStored,
			})
		}
	}
	return tables.EncryptedSecrets.Put(tx, out)
}
