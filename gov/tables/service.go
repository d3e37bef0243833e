package tables

// ServiceStatus is where the service stands.
type ServiceStatus string

// The states of a service: Opening, then Open; after a disaster Recovering, then
// WaitingForRecoveryShares, then Open.
const (
	ServiceOpening    ServiceStatus = "Opening"
	ServiceOpen       ServiceStatus = "Open"
	ServiceWaiting    ServiceStatus = "WaitingForRecoveryShares"
	ServiceRecovering ServiceStatus = "Recovering"
)

// Service is the value of service.info.
type Service struct {
	// Cert is the service certificate, PEM.
	Cert   string        `json:"cert"`
	Status ServiceStatus `json:"status"`
	// PreviousIdentityVersion is the seqno of the previous service's create transaction.
	PreviousIdentityVersion *uint64 `json:"previous_service_identity_version,omitempty"`
	RecoveryCount           *uint64 `json:"recovery_count,omitempty"`
	Data                    Data    `json:"service_data,omitzero"`
	// CreateTxID is the TxID of this service's create transaction, "2.1" at genesis.
	CreateTxID string `json:"current_service_create_txid,omitempty"`
}

// Defaults of the service configuration, used where a key is not in the table.
const (
	DefaultCertValidityDays   = 365
	DefaultRecentProposals    = 100
	DefaultMaxHeapBytes       = 100 << 20
	DefaultMaxStackBytes      = 1 << 20
	DefaultMaxExecutionTimeMS = 5000
	DefaultMaxCachedInterps   = 10
)

// Config is the value of service.config. Nil means that the default applies.
type Config struct {
	RecoveryThreshold     uint64  `json:"recovery_threshold"`
	Consensus             string  `json:"consensus,omitempty"`
	ReconfigurationType   string  `json:"reconfiguration_type,omitempty"`
	MaxNodeCertDays       *uint64 `json:"maximum_node_certificate_validity_days,omitempty"`
	MaxServiceCertDays    *uint64 `json:"maximum_service_certificate_validity_days,omitempty"`
	RecentProposalsWindow *uint64 `json:"recent_cose_proposals_window_size,omitempty"`
}

// Or returns the value of p, or def when p is nil.
func Or(p *uint64, def uint64) uint64 {
	if p == nil {
		return def
	}
	return *p
}

// Tables of the service as a whole.
var (
	ServiceInfo   = jsonValue[Service](NameServiceInfo)
	ServiceConfig = jsonValue[Config](NameServiceConfig)
	// PreviousIdentity is the PEM certificate of the service before the last recovery.
	PreviousIdentity = jsonValue[string](NamePreviousServiceIdentity)
	// PreviousRoot is the hex root of the previous service's last signature.
	PreviousRoot = jsonValue[string](NamePreviousRoot)
	// Constitution is the source of one JavaScript module.
	Constitution = jsonValue[string](NameConstitution)
)
