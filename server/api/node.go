package api

import "encoding/json"

// State is the answer of GET /node/state.
type State struct {
	LastRecoveredSeqno  *uint64 `json:"last_recovered_seqno,omitempty"`
	LastSignedSeqno     uint64  `json:"last_signed_seqno"`
	NodeID              string  `json:"node_id"`
	RecoveryTargetSeqno *uint64 `json:"recovery_target_seqno,omitempty"`
	StartupSeqno        uint64  `json:"startup_seqno"`
	State               string  `json:"state"`
	StopNotice          bool    `json:"stop_notice"`
}

// Version is the answer of GET /node/version. The first three members are CCF's.
type Version struct {
	CCFVersion      string `json:"ccf_version"`
	QuickJSVersion  string `json:"quickjs_version"`
	Unsafe          bool   `json:"unsafe"`
	ChanceryVersion string `json:"chancery_version,omitempty"`
	Platform        string `json:"platform,omitempty"`
}

// Network is the answer of GET /node/network.
type Network struct {
	CurrentServiceCreateTxID *string         `json:"current_service_create_txid"`
	CurrentView              *uint64         `json:"current_view"`
	PrimaryID                *string         `json:"primary_id"`
	RecoveryCount            uint64          `json:"recovery_count"`
	ServiceCertificate       string          `json:"service_certificate"`
	ServiceData              json.RawMessage `json:"service_data"`
	ServiceStatus            string          `json:"service_status"`
}

// Node describes one node of the service.
type Node struct {
	LastWritten   uint64          `json:"last_written"`
	NodeData      json.RawMessage `json:"node_data"`
	NodeID        string          `json:"node_id"`
	Primary       bool            `json:"primary"`
	RPCInterfaces json.RawMessage `json:"rpc_interfaces"`
	Status        string          `json:"status"`
}

// Nodes is the answer of GET /node/network/nodes.
type Nodes struct {
	Nodes []Node `json:"nodes"`
}

// Quote is one node's attestation evidence; binary members are base64.
type Quote struct {
	Endorsements    string  `json:"endorsements"`
	Format          string  `json:"format"`
	Measurement     string  `json:"measurement,omitempty"`
	NodeID          string  `json:"node_id"`
	Raw             string  `json:"raw"`
	UVMEndorsements *string `json:"uvm_endorsements,omitempty"`
}

// AttestationRequest is the body of POST /node/attestation.
type AttestationRequest struct {
	Nonce string `json:"nonce"` // 16 to 64 bytes, base64
}

// NodeAttestation is its answer.
type NodeAttestation struct {
	Attestation Quote `json:"attestation"`
	// PublicKey is the node's, PEM: the evidence is about it.
	PublicKey string `json:"public_key"`
	// Statement is a COSE_Sign1, base64, signed with that key, over the JSON of an
	// AttestationStatement. Its content type (label 3) is TypeAttestation.
	Statement string `json:"statement"`
}

// AttestationStatement is what a node signs for who asked.
type AttestationStatement struct {
	NodeID string `json:"node_id"`
	Nonce  string `json:"nonce"` // of the request
	// ServiceCertificate is the SHA-256, hex, of the service's certificate in DER.
	ServiceCertificate string `json:"service_certificate_sha256"`
}

// Quotes is the answer of GET /node/quotes.
type Quotes struct {
	Quotes []Quote `json:"quotes"`
}

// Attestations is the answer of GET /node/attestations.
type Attestations struct {
	Attestations []Quote `json:"attestations"`
}

// SelfSigned is the answer of GET /node/self_signed_certificate.
type SelfSigned struct {
	Certificate string `json:"self_signed_certificate"`
}

// PreviousIdentity is the answer of GET /node/service/previous_identity.
type PreviousIdentity struct {
	Certificate string `json:"previous_service_identity"`
}

// HistoricalCache is the answer of GET /node/historical_cache; the size is in bytes.
type HistoricalCache struct {
	EstimatedSize uint64 `json:"estimated_size"`
}

// RefreshMetrics is the answer of GET /node/jwt_keys/refresh/metrics.
type RefreshMetrics struct {
	Attempts  uint64 `json:"attempts"`
	Failures  uint64 `json:"failures"`
	Successes uint64 `json:"successes"`
}

// JSMetrics is the answer of GET /node/js_metrics; sizes in bytes, time in milliseconds.
type JSMetrics struct {
	BytecodeSize          uint64 `json:"bytecode_size"`
	BytecodeUsed          bool   `json:"bytecode_used"`
	MaxCachedInterpreters uint64 `json:"max_cached_interpreters"`
	MaxExecutionTime      uint64 `json:"max_execution_time"`
	MaxHeapSize           uint64 `json:"max_heap_size"`
	MaxStackSize          uint64 `json:"max_stack_size"`
}

// Metrics is the answer of GET /node/metrics.
type Metrics struct {
	Sessions Sessions `json:"sessions"`
	// LedgerScrub is Chancery's own; nil where the node does not read its chunks again.
	LedgerScrub *LedgerScrub `json:"ledger_scrub,omitempty"`
}

// LedgerScrub is what the reading again of closed ledger chunks has found since the node
// started.
type LedgerScrub struct {
	Bytes   uint64   `json:"bytes"`
	Rounds  uint64   `json:"rounds"`
	Damaged []string `json:"damaged_chunks"` // file names, as of each chunk's last reading
}

// Sessions counts open sessions, now and at most.
type Sessions struct {
	Active     uint64                       `json:"active"`
	Interfaces map[string]InterfaceSessions `json:"interfaces"`
	Peak       uint64                       `json:"peak"`
}

// InterfaceSessions counts the sessions of one interface.
type InterfaceSessions struct {
	Active  uint64        `json:"active"`
	Errors  SessionErrors `json:"errors"`
	HardCap uint64        `json:"hard_cap"`
	Peak    uint64        `json:"peak"`
	SoftCap uint64        `json:"soft_cap"`
}

// SessionErrors counts requests that did not parse or were too large.
type SessionErrors struct {
	Parsing               uint64 `json:"parsing"`
	RequestHeaderTooLarge uint64 `json:"request_header_too_large"`
	RequestTooLarge       uint64 `json:"request_payload_too_large"`
}
