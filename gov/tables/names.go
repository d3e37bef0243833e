package tables

// Names of the maps that governance writes, readable by anyone who holds the ledger.
const (
	NameMembersCerts          = "public:ccf.gov.members.certs"
	NameMembersEncryptionKeys = "public:ccf.gov.members.encryption_public_keys"
	NameMembersInfo           = "public:ccf.gov.members.info"
	NameMembersAcks           = "public:ccf.gov.members.acks"

	NameUsersCerts = "public:ccf.gov.users.certs"
	NameUsersInfo  = "public:ccf.gov.users.info"

	NameNodesInfo                 = "public:ccf.gov.nodes.info"
	NameNodesEndorsedCertificates = "public:ccf.gov.nodes.endorsed_certificates"
	NameNodesCodeIDs              = "public:ccf.gov.nodes.code_ids"
	NameNodesVirtualMeasurements  = "public:ccf.gov.nodes.virtual.measurements"
	NameNodesVirtualHostData      = "public:ccf.gov.nodes.virtual.host_data"
	NameNodesSNPMeasurements      = "public:ccf.gov.nodes.snp.measurements"
	NameNodesSNPHostData          = "public:ccf.gov.nodes.snp.host_data"
	NameNodesSNPUVMEndorsements   = "public:ccf.gov.nodes.snp.uvm_endorsements"
	NameNodesSNPTCBVersions       = "public:ccf.gov.nodes.snp.tcb_versions"
	NameNodesSealedRecoveryKeys   = "public:ccf.gov.nodes.sealed_recovery_keys"
	NameNodesJoinPolicy           = "public:ccf.gov.nodes.node_join_policy"

	NameServiceInfo             = "public:ccf.gov.service.info"
	NameServiceConfig           = "public:ccf.gov.service.config"
	NamePreviousServiceIdentity = "public:ccf.gov.service.previous_service_identity"

	NameConstitution        = "public:ccf.gov.constitution"
	NameProposals           = "public:ccf.gov.proposals"
	NameProposalsInfo       = "public:ccf.gov.proposals_info"
	NameHistory             = "public:ccf.gov.history"
	NameCOSEHistory         = "public:ccf.gov.cose_history"
	NameCOSERecentProposals = "public:ccf.gov.cose_recent_proposals"

	NameModules                = "public:ccf.gov.modules"
	NameModulesQuickJSBytecode = "public:ccf.gov.modules_quickjs_bytecode"
	NameModulesQuickJSVersion  = "public:ccf.gov.modules_quickjs_version"
	NameJSRuntimeOptions       = "public:ccf.gov.js_runtime_options"
	NameInterpreterFlush       = "public:ccf.gov.interpreter.flush"
	NameEndpoints              = "public:ccf.gov.endpoints"

	NameCACertBundles  = "public:ccf.gov.tls.ca_cert_bundles"
	NameJWTIssuers     = "public:ccf.gov.jwt.issuers"
	NameJWTSigningKeys = "public:ccf.gov.jwt.public_signing_keys_metadata_v2"
)

// Legacy JWT tables. Nothing reads them for authentication any more; the action
// cleanup_legacy_jwt_records empties them.
const (
	NameLegacyJWTSigningKeys         = "public:ccf.gov.jwt.public_signing_key"
	NameLegacyJWTSigningKeyIssuer    = "public:ccf.gov.jwt.public_signing_key_issuer"
	NameLegacyJWTSigningKeysMetadata = "public:ccf.gov.jwt.public_signing_keys_metadata"
)

// Tables of the recovery decision protocol, emptied by every create transaction.
const (
	NameRDPNodes         = "public:ccf.gov.recovery_decision_protocol.nodes"
	NameRDPGossip        = "public:ccf.gov.recovery_decision_protocol.gossip"
	NameRDPChosenNode    = "public:ccf.gov.recovery_decision_protocol.chosen_node"
	NameRDPVotes         = "public:ccf.gov.recovery_decision_protocol.votes"
	NameRDPState         = "public:ccf.gov.recovery_decision_protocol.sm_state"
	NameRDPTimeoutState  = "public:ccf.gov.recovery_decision_protocol.timeout_sm_state"
	NameRDPOpenKind      = "public:ccf.gov.recovery_decision_protocol.open_kind"
	NameSealingNames     = "public:ccf.internal.sealing_recovery_names"
	NameSnapshotCreate   = "public:ccf.internal.snapshot_create"
	NameSnapshotStatus   = "public:ccf.internal.snapshot_status"
	NameSnapshotEvidence = "public:ccf.internal.snapshot_evidence"
	NameLastRecoveryType = "public:ccf.internal.last_recovery_type"
	NameSubmittedShares  = "public:ccf.internal.encrypted_submitted_shares"
	NameRecoveryShares   = "public:ccf.internal.recovery_shares"
	NameSealedShares     = "public:ccf.internal.sealed_shares"
	NameEncryptedSecrets = "public:ccf.internal.encrypted_ledger_secrets"
	NameSecretHistory    = "public:ccf.internal.historical_encrypted_ledger_secret"
	NamePreviousEndorse  = "public:ccf.internal.previous_service_identity_endorsement"
	NamePreviousRoot     = "public:ccf.internal.previous_service_last_signed_root"
	NameSignatures       = "public:ccf.internal.signatures"
	NameCOSESignatures   = "public:ccf.internal.cose_signatures"
	NameTree             = "public:ccf.internal.tree"
)
