package config

import (
	"encoding/json"
	"time"
)

// Command says how the node begins its life. Only the section that Type names counts;
// the others may be present, complete or not.
type Command struct {
	// Type is the command.
	Type CommandType `json:"type" config:"required"`
	// ServiceCertificateFile receives the service's certificate (Start, Recover, Resume),
	// or holds it (Join).
	ServiceCertificateFile string `json:"service_certificate_file"`
	// Start begins a new service.
	Start Start `json:"start"`
	// Join joins a running service.
	Join Join `json:"join"`
	// Recover begins the recovery of a service from its ledger.
	Recover Recover `json:"recover"`

	given map[string]bool // the sections that the file has
}

func (c *Command) setDefaults() {
	*c = Command{
		ServiceCertificateFile: "service_cert.pem",
		Start: Start{
			ServiceConfiguration: ServiceConfiguration{
				MaximumNodeCertificateValidityDays:    365,
				MaximumServiceCertificateValidityDays: 365,
				RecentCOSEProposalsWindowSize:         100,
			},
			InitialServiceCertificateValidityDays: 1,
			ServiceSubjectName:                    "CN=CCF Service",
		},
		Join: Join{
			RetryTimeout: time.Second, FollowRedirect: true, FetchRecentSnapshot: true,
			FetchSnapshotMaxAttempts: 3, FetchSnapshotRetryInterval: time.Second, FetchSnapshotMaxSize: 10 * GB,
		},
		Recover: Recover{InitialServiceCertificateValidityDays: 1},
	}
}

// Start begins a new service.
type Start struct {
	// Members are the initial members.
	Members []Member `json:"members" config:"required"`
	// ConstitutionFiles are JavaScript files, joined in order by newlines.
	ConstitutionFiles []string `json:"constitution_files" config:"required"`
	// ServiceConfiguration is the service's first configuration.
	ServiceConfiguration ServiceConfiguration `json:"service_configuration"`
	// InitialServiceCertificateValidityDays is how long the service's first certificate
	// holds, in days.
	InitialServiceCertificateValidityDays int64 `json:"initial_service_certificate_validity_days" config:"min=1"`
	// ServiceSubjectName is the subject of the service's certificate, as "CN=...".
	ServiceSubjectName string `json:"service_subject_name"`
	// COSESignatures are the CWT claims of the ledger's COSE signatures.
	COSESignatures COSESignatures `json:"cose_signatures"`
}

// Member is one initial member.
type Member struct {
	// CertificateFile holds the member's certificate, PEM.
	CertificateFile string `json:"certificate_file" config:"required"`
	// EncryptionPublicKeyFile holds the member's RSA public key, PEM; only members with
	// one receive recovery shares.
	EncryptionPublicKeyFile string `json:"encryption_public_key_file" config:"nullable,none"`
	// DataJSONFile is a JSON file stored as the member's data.
	DataJSONFile string `json:"data_json_file" config:"nullable,none"`
	// RecoveryRole says which part the member has in recovery; "" is CCF's default, a
	// Participant where there is an encryption key.
	RecoveryRole RecoveryRole `json:"recovery_role"`
}

// ServiceConfiguration is the service's first configuration.
type ServiceConfiguration struct {
	// RecoveryThreshold is the number of shares that recover the service; 0 takes the
	// number of members that receive one, and Parse fills that in.
	RecoveryThreshold int64 `json:"recovery_threshold" config:"required,min=0"`
	// MaximumNodeCertificateValidityDays bounds node certificates, in days.
	MaximumNodeCertificateValidityDays int64 `json:"maximum_node_certificate_validity_days" config:"min=1"`
	// MaximumServiceCertificateValidityDays bounds the service certificate, in days.
	MaximumServiceCertificateValidityDays int64 `json:"maximum_service_certificate_validity_days" config:"min=1"`
	// RecentCOSEProposalsWindowSize is the number of proposals kept against replay.
	RecentCOSEProposalsWindowSize int64 `json:"recent_cose_proposals_window_size" config:"min=1"`

	// Raw is the object as it stands in the file; nil when it is not there.
	Raw json.RawMessage `json:"-"`
}

func (s *ServiceConfiguration) setRaw(text json.RawMessage) { s.Raw = text }

// COSESignatures are the CWT claims of the ledger's COSE signatures.
type COSESignatures struct {
	// Issuer is the iss claim.
	Issuer string `json:"issuer"`
	// Subject is the sub claim.
	Subject string `json:"subject"`
}

// Join joins a running service.
type Join struct {
	// TargetRPCAddress is the host:port of a node of the service.
	TargetRPCAddress string `json:"target_rpc_address" config:"required,none"`
	// RetryTimeout is the time between two join requests.
	RetryTimeout time.Duration `json:"retry_timeout"`
	// FollowRedirect follows a redirect to the primary.
	FollowRedirect bool `json:"follow_redirect"`
	// FetchRecentSnapshot has a joiner fetch a snapshot from the node that it asks, or the one
	// that it is led to, when the service does not let it in without a newer one than it has.
	FetchRecentSnapshot bool `json:"fetch_recent_snapshot"`
	// FetchSnapshotMaxAttempts bounds the attempts.
	FetchSnapshotMaxAttempts int64 `json:"fetch_snapshot_max_attempts" config:"min=1"`
	// FetchSnapshotRetryInterval is the time between two attempts.
	FetchSnapshotRetryInterval time.Duration `json:"fetch_snapshot_retry_interval"`
	// FetchSnapshotMaxSize bounds the snapshot fetched.
	FetchSnapshotMaxSize Size `json:"fetch_snapshot_max_size"`
	// HostDataTransparentStatementPath is a transparent statement over the node's host
	// data. It cannot be honoured yet: anything but null is refused.
	HostDataTransparentStatementPath string `json:"host_data_transparent_statement_path" config:"nullable,none"`
}

// Recover begins the recovery of a service from its ledger.
type Recover struct {
	// InitialServiceCertificateValidityDays is how long the new service certificate
	// holds, in days.
	InitialServiceCertificateValidityDays int64 `json:"initial_service_certificate_validity_days" config:"min=1"`
	// PreviousServiceIdentityFile holds the certificate of the service that ended, PEM.
	PreviousServiceIdentityFile string `json:"previous_service_identity_file" config:"required,none"`
}
