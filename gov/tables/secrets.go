package tables

// EncryptedSecret is a ledger secret wrapped with a node's RSA key.
type EncryptedSecret struct {
	// Version is the first seqno of the secret, null on rekey: then it applies from the
	// seqno after the row's.
	Version               *uint64 `json:"version"`
	EncryptedSecret       []byte  `json:"encrypted_secret"`
	PreviousStoredVersion *uint64 `json:"previous_secret_stored_version,omitempty"`
}

// PreviousSecret is an earlier ledger secret under the one that followed it.
type PreviousSecret struct {
	// EncryptedData is AES-256-GCM: tag, IV, ciphertext.
	EncryptedData []byte `json:"encrypted_data"`
	// Version is the first seqno of the secret.
	Version uint64 `json:"version"`
	// PreviousStoredVersion is the seqno of the previous row of this table.
	PreviousStoredVersion *uint64 `json:"previous_secret_stored_version,omitempty"`
}

// SecretHistoryEntry is the value of historical_encrypted_ledger_secret: one link of the chain
// by which the newest secret gives all earlier ones. One of the two is always set.
type SecretHistoryEntry struct {
	Previous *PreviousSecret `json:"previous_ledger_secret,omitempty"`
	// NextVersion is the first seqno of the newer secret, nil on rekey: then it applies
	// from the seqno after the row's.
	NextVersion *uint64 `json:"next_version,omitempty"`
}

// RecoverySharesInfo is the value of recovery_shares.
type RecoverySharesInfo struct {
	// WrappedLatestSecret is the newest ledger secret under the shared wrapping key.
	WrappedLatestSecret []byte `json:"wrapped_latest_ledger_secret"`
	// EncryptedShares holds by member id its share under its RSA encryption key.
	EncryptedShares       map[string][]byte `json:"encrypted_shares"`
	PreviousStoredVersion *uint64           `json:"previous_secret_stored_version,omitempty"`
}

// SealedSharesInfo is the value of sealed_shares; its keys are wrapped for nodes that
// can unseal them on their platform.
type SealedSharesInfo struct {
	WrappedLatestSecret   []byte            `json:"wrapped_latest_ledger_secret"`
	EncryptedWrappingKeys map[string][]byte `json:"encrypted_wrapping_keys"`
	PreviousStoredVersion *uint64           `json:"previous_secret_stored_version,omitempty"`
}

// IdentityEndorsement is the value of previous_service_identity_endorsement.
type IdentityEndorsement struct {
	// Endorsement is a COSE_Sign1 whose payload is the endorsed public key (SPKI DER).
	Endorsement []byte `json:"endorsement"`
	// EndorsingKey is the SPKI DER of the key that signed.
	EndorsingKey []byte `json:"endorsing_key"`
	// EpochBegin and EpochEnd are the TxIDs between which the endorsed key signed;
	// EpochEnd is "" where a service endorses itself.
	EpochBegin string `json:"endorsement_epoch_begin"`
	EpochEnd   string `json:"endorsement_epoch_end,omitempty"`
	// PreviousVersion is the seqno of the previous row of this table.
	PreviousVersion *uint64 `json:"previous_version,omitempty"`
}

// SnapshotHash is the value of snapshot_evidence.
type SnapshotHash struct {
	// Hash is the hex SHA-256 of the snapshot, Version its seqno.
	Hash    string `json:"hash"`
	Version uint64 `json:"version"`
}

// SnapshotState is the value of snapshot_status.
type SnapshotState struct {
	Version uint64 `json:"version"`
	// Timestamp is in nanoseconds since the epoch.
	Timestamp uint64 `json:"timestamp"`
}

// What last_recovery_type says.
const (
	RecoveryNone      = "None"
	RecoveryByShares  = "RECOVERY_SHARES"
	RecoveryUnsealing = "LOCAL_UNSEALING"
)

// Tables of secrets, shares and identities.
var (
	EncryptedSecrets = jsonValue[map[string][]EncryptedSecret](NameEncryptedSecrets)
	SecretHistory    = jsonValue[SecretHistoryEntry](NameSecretHistory)
	RecoveryShares   = jsonValue[RecoverySharesInfo](NameRecoveryShares)
	SealedShares     = jsonValue[SealedSharesInfo](NameSealedShares)
	// SubmittedShares holds by member id the share that it submitted, under the current
	// ledger secret: AES-256-GCM as in PreviousSecret.
	SubmittedShares     = jsonMap[[]byte](NameSubmittedShares)
	PreviousEndorsement = jsonValue[IdentityEndorsement](NamePreviousEndorse)
	LastRecoveryType    = jsonValue[string](NameLastRecoveryType)
	SnapshotEvidence    = jsonValue[SnapshotHash](NameSnapshotEvidence)
	SnapshotStatus      = jsonValue[SnapshotState](NameSnapshotStatus)
	SnapshotCreate      = Value[Unit]{Map[Unit]{NameSnapshotCreate, unit()}}
	// Tree is the ledger's Merkle tree as of the last signature, serialised.
	Tree = Value[[]byte]{Map[[]byte]{NameTree, rawBytes()}}
)
