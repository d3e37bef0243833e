package api

import "encoding/json"

// JoinAnswer is the answer of POST /node/join.
type JoinAnswer struct {
	NodeID string `json:"node_id,omitempty"`
	// NodeStatus is "Pending" or "Trusted".
	NodeStatus string `json:"node_status"`
	// NetworkInfo is what a trusted node is given, nil for any other.
	NetworkInfo *NetworkInfo `json:"network_info,omitempty"`
}

// NetworkInfo is what a node needs to be part of a service. It holds the service's
// private key and the ledger secrets: it is for a client alone whose TLS certificate
// has the key of a trusted node.
type NetworkInfo struct {
	PublicOnly          bool              `json:"public_only"`
	LastRecoveredSigned int64             `json:"last_recovered_signed_idx"`
	LedgerSecrets       []LedgerSecret    `json:"ledger_secrets"`
	Identity            NetworkIdentity   `json:"identity"`
	ServiceStatus       string            `json:"service_status,omitempty"`
	EndorsedCertificate string            `json:"endorsed_certificate,omitempty"`
	COSESignatures      *COSESignatureIDs `json:"cose_signatures_config,omitempty"`
}

// NetworkIdentity is the service's certificate and private key, PEM.
type NetworkIdentity struct {
	Certificate string `json:"cert"`
	PrivateKey  string `json:"priv_key"`
}

// COSESignatureIDs are the CWT claims of the ledger's COSE signatures.
type COSESignatureIDs struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// LedgerSecret is a ledger secret and the first seqno that it seals. Its JSON form is
// CCF's: [seqno, {"raw_key": "<base64>"}].
type LedgerSecret struct {
	From uint64
	Key  []byte
}

type rawKey struct {
	Key []byte `json:"raw_key"`
}

// MarshalJSON writes CCF's form.
func (s LedgerSecret) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{s.From, rawKey{s.Key}})
}

// UnmarshalJSON reads CCF's form.
func (s *LedgerSecret) UnmarshalJSON(b []byte) error {
	var key rawKey
	pair := []any{&s.From, &key}
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	s.Key = key.Key
	return nil
}

// String keeps the key out of whatever is printed.
func (s LedgerSecret) String() string { return "ledger secret" }
