package tables

import "chancery/attest"

// NodeStatus is where a node stands.
type NodeStatus string

// The states of a node. A retired node's row is deleted once its retirement is
// committed and an operator asks for it.
const (
	NodePending NodeStatus = "Pending"
	NodeTrusted NodeStatus = "Trusted"
	NodeRetired NodeStatus = "Retired"
)

// Names of quote formats.
const (
	QuoteVirtual = "Insecure_Virtual"
	QuoteSNP     = "AMD_SEV_SNP_v1"
	QuoteSGX     = "OE_SGX_v1"
)

// QuoteInfo is a node's attestation as it came with its request to join.
type QuoteInfo struct {
	Format string `json:"format"`
	// Quote is the platform's report; on virtual nodes JSON text.
	Quote []byte `json:"quote"`
	// Endorsements are the certificates that endorse the report.
	Endorsements    []byte `json:"endorsements"`
	UVMEndorsements []byte `json:"uvm_endorsements,omitempty"`
	// EndorsedTCB is hex text.
	EndorsedTCB string `json:"endorsed_tcb,omitempty"`
}

// Authority says who signs the certificate of an interface.
type Authority struct {
	Authority string `json:"authority"`
}

// Interface is one network interface of a node, with the keys that its configuration
// gave; addresses are host:port.
type Interface struct {
	BindAddress      string     `json:"bind_address"`
	PublishedAddress string     `json:"published_address,omitempty"`
	Protocol         string     `json:"protocol,omitempty"`
	AppProtocol      string     `json:"app_protocol,omitempty"`
	SessionsSoft     *uint64    `json:"max_open_sessions_soft,omitempty"`
	SessionsHard     *uint64    `json:"max_open_sessions_hard,omitempty"`
	HTTP             Data       `json:"http_configuration,omitzero"`
	Endorsement      *Authority `json:"endorsement,omitempty"`
	// AcceptedEndpoints are regular expressions; nil accepts all.
	AcceptedEndpoints   []string `json:"accepted_endpoints,omitzero"`
	ForwardingTimeoutMS *uint64  `json:"forwarding_timeout_ms,omitempty"`
	OperatorFeatures    []string `json:"enabled_operator_features,omitempty"`
	Redirections        Data     `json:"redirections,omitzero"`
}

// Node is a row of nodes.info.
type Node struct {
	NodeToNode Interface            `json:"node_to_node_interface"`
	RPC        map[string]Interface `json:"rpc_interfaces"`
	Quote      QuoteInfo            `json:"quote_info"`
	// EncryptionKey is an RSA public key, PEM: ledger secrets are wrapped for it.
	EncryptionKey string     `json:"encryption_pub_key"`
	Status        NodeStatus `json:"status"`
	// LedgerSecretSeqno is the first seqno of the ledger secret that was current when
	// the node was trusted; nil for a node of the create transaction.
	LedgerSecretSeqno *uint64 `json:"ledger_secret_seqno,omitempty"`
	// CodeDigest is the measurement in hex; on virtual nodes the hex of its text.
	CodeDigest string `json:"code_digest,omitempty"`
	// CSR, PublicKey and Cert are PEM. Cert stands in 1.x ledgers only.
	CSR              string `json:"certificate_signing_request,omitempty"`
	PublicKey        string `json:"public_key,omitempty"`
	Data             Data   `json:"node_data,omitzero"`
	Cert             string `json:"cert,omitempty"`
	RetiredCommitted bool   `json:"retired_committed,omitempty"`
	// PendingLastSeen is when a Pending node asked last to join, in ms since 1970; nil in
	// rows of services that do not forget Pending nodes.
	PendingLastSeen *int64 `json:"pending_last_seen,omitempty"`
}

// CodeStatus is what a measurement's row says.
type CodeStatus string

// AllowedToJoin is the only code status in use.
const AllowedToJoin CodeStatus = "AllowedToJoin"

// UVMFeed is what the rows of nodes.snp.uvm_endorsements say of a feed, TCBVersion a
// minimum in nodes.snp.tcb_versions.
type (
	UVMFeed    = attest.UVMFeed
	TCBVersion = attest.TCBVersion
)

// SealedRecoveryKey is a node's public key whose private half is sealed to its platform.
type SealedRecoveryKey struct {
	// Version names the algorithm of the sealing key.
	Version string `json:"version"`
	// Ciphertext is the private key, PEM, as tag, IV, ciphertext of AES-256-GCM; PublicKey
	// is its additional data.
	Ciphertext []byte `json:"ciphertext"`
	// PublicKey is RSA, PEM.
	PublicKey string `json:"pubkey"`
	// TCBVersion is what the sealing key is bound to, 16 hex digits.
	TCBVersion string `json:"tcb_version"`
}

// Tables of nodes, by node id: the hex SHA-256 of the public key (SPKI DER).
var (
	NodesInfo                 = jsonMap[Node](NameNodesInfo)
	NodesEndorsedCertificates = textMap(NameNodesEndorsedCertificates)
	NodesSealedRecoveryKeys   = jsonMap[SealedRecoveryKey](NameNodesSealedRecoveryKeys)
	// SealingNames holds by the name of a location the id of the node there.
	SealingNames = jsonMap[string](NameSealingNames)
)

// Tables of the join policy. Keys are measurements (hex, on virtual nodes text), host
// data digests (hex), DIDs and CPUIDs (8 hex digits).
var (
	CodeIDs             = jsonMap[CodeStatus](NameNodesCodeIDs)
	VirtualMeasurements = jsonMap[CodeStatus](NameNodesVirtualMeasurements)
	VirtualHostData     = Map[Unit]{NameNodesVirtualHostData, unit()}
	SNPMeasurements     = jsonMap[CodeStatus](NameNodesSNPMeasurements)
	// SNPHostData holds the raw security policy, "" when only its digest is known.
	SNPHostData        = jsonMap[string](NameNodesSNPHostData)
	SNPUVMEndorsements = jsonMap[map[string]UVMFeed](NameNodesSNPUVMEndorsements)
	SNPTCBVersions     = jsonMap[TCBVersion](NameNodesSNPTCBVersions)
	// JoinPolicy is a JavaScript module, raw.
	JoinPolicy = textValue(NameNodesJoinPolicy)
)
