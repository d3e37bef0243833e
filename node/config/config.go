package config

import "time"

// Config is a node's configuration. After Parse every default is filled in.
type Config struct {
	// Network says where the node listens and what it announces.
	Network Network `json:"network" config:"required"`
	// Command says how the node begins its life.
	Command Command `json:"command" config:"required"`
	// NodeCertificate describes the node's own certificate.
	NodeCertificate NodeCertificate `json:"node_certificate"`
	// NodeDataJSONFile is a JSON file stored as this node's data; "" is none.
	NodeDataJSONFile string `json:"node_data_json_file" config:"nullable,none"`
	// ServiceDataJSONFile is a JSON file stored as the service's data; "" is none.
	ServiceDataJSONFile string `json:"service_data_json_file" config:"nullable,none"`
	// Attestation says where evidence on an SEV-SNP platform comes from.
	Attestation Attestation `json:"attestation"`
	// SealingRecovery lets the node recover the service by itself, with a secret that is
	// sealed to its platform; nil leaves that to the members' shares.
	SealingRecovery *SealingRecovery `json:"sealing_recovery"`
	// Ledger says where ledger chunks lie and how large they grow.
	Ledger Ledger `json:"ledger"`
	// Snapshots says where snapshots lie and when they are taken.
	Snapshots Snapshots `json:"snapshots"`
	// FilesCleanup says which old files a node removes.
	FilesCleanup FilesCleanup `json:"files_cleanup"`
	// Logging says how the log is laid out.
	Logging Logging `json:"logging"`
	// Consensus holds the timing of replication.
	Consensus Consensus `json:"consensus"`
	// LedgerSignatures says how often the ledger is signed when nobody waits for it.
	LedgerSignatures LedgerSignatures `json:"ledger_signatures"`
	// JWT holds the refresh of token issuers' keys.
	JWT JWT `json:"jwt"`
	// OutputFiles names the files that tell others about this node.
	OutputFiles OutputFiles `json:"output_files"`
	// TickInterval is CCF's timer period. No timer here is driven by ticks: it has no effect.
	TickInterval time.Duration `json:"tick_interval"`
	// SlowIOLoggingThreshold is how long a disk operation may take before it is logged.
	SlowIOLoggingThreshold time.Duration `json:"slow_io_logging_threshold"`
	// NodeClientInterface is the local address (host or host:port) that outgoing
	// node-to-node connections are bound to; "" leaves it to the system.
	NodeClientInterface string `json:"node_client_interface" config:"nullable,none"`
	// ClientConnectionTimeout bounds the opening of outgoing connections.
	ClientConnectionTimeout time.Duration `json:"client_connection_timeout"`
	// IdleConnectionTimeout closes client sessions without traffic, and bounds the time in
	// which a request must arrive. nil (null) never closes a session between requests.
	IdleConnectionTimeout *time.Duration `json:"idle_connection_timeout" config:"nullable"`
	// PendingNodeTimeout is for how long a node that asks to join is remembered after it
	// has ceased to ask; 0s remembers it for ever.
	PendingNodeTimeout time.Duration `json:"pending_node_timeout"`
	// WorkerThreads is CCF's number of extra threads. Requests here run on all cores in
	// any case: it has no effect.
	WorkerThreads int64 `json:"worker_threads" config:"min=0"`
	// Memory holds the sizes of CCF's ring buffers. There are none here: it has no effect.
	Memory Memory `json:"memory"`
	// IgnoreFirstSIGTERM makes the first SIGTERM an announcement (stop_notice) only; the
	// second one stops the node.
	IgnoreFirstSIGTERM bool `json:"ignore_first_sigterm"`
	// NodeToNodeMessageLimit is the number of messages (TLS records) after which a
	// connection between nodes is replaced by one with new keys; 0 is no bound.
	NodeToNodeMessageLimit int64 `json:"node_to_node_message_limit" config:"min=0"`
	// HistoricalCacheSoftLimit bounds the cache of transactions of the past, for receipts and
	// historical queries.
	HistoricalCacheSoftLimit Size `json:"historical_cache_soft_limit"`
	// Chancery holds everything that CCF does not have.
	Chancery Chancery `json:"chancery"`

	// Warnings are remarks on accepted keys (deprecated ones), for the log.
	Warnings []string `json:"-"`
}

// NodeCertificate describes the node's certificate.
type NodeCertificate struct {
	// SubjectName is the certificate's subject, as "CN=...".
	SubjectName string `json:"subject_name"`
	// SubjectAltNames are "iPAddress:..." and "dNSName:..." entries; without any, the
	// published hosts of the RPC interfaces are taken.
	SubjectAltNames []string `json:"subject_alt_names"`
	// CurveID is the curve of the node's key, and of a new service's.
	CurveID Curve `json:"curve_id"`
	// InitialValidityDays is how long the node's first certificates hold, in days.
	InitialValidityDays int64 `json:"initial_validity_days" config:"min=1"`
}

// Attestation says where an SEV-SNP node finds what goes with its report. Environment
// variables ($NAME as a whole path element, host or port) are expanded on that
// platform; on the virtual one nothing of it is read.
type Attestation struct {
	// SNPSecurityPolicyFile holds the container policy, base64.
	SNPSecurityPolicyFile string `json:"snp_security_policy_file" config:"nullable,none"`
	// SNPUVMEndorsementsFile holds the endorsement of the utility VM, base64.
	SNPUVMEndorsementsFile string `json:"snp_uvm_endorsements_file" config:"nullable,none"`
	// SNPEndorsementsFile holds the certificate chain of the platform, base64.
	SNPEndorsementsFile string `json:"snp_endorsements_file" config:"nullable,none"`
	// SNPEndorsementsServers are asked in turn when no file holds the chain.
	SNPEndorsementsServers []EndorsementsServer `json:"snp_endorsements_servers"`
}

// SealingRecovery is where the node stands, in this life and in the next.
type SealingRecovery struct {
	// Location is the node's own.
	Location Location `json:"location" config:"required"`
	// RecoveryDecisionProtocol lets the nodes find the one whose ledger goes furthest, which
	// opens the service without being asked (command Recover); nil leaves both to people.
	RecoveryDecisionProtocol *RecoveryDecisionProtocol `json:"recovery_decision_protocol"`
}

// RecoveryDecisionProtocol says who decides, and how long that may take.
type RecoveryDecisionProtocol struct {
	// ExpectedLocations are all that take part, this node's own too.
	ExpectedLocations []Location `json:"expected_locations" config:"required"`
	// MessageRetryTimeout is the time between two messages to one location.
	MessageRetryTimeout time.Duration `json:"message_retry_timeout"`
	// FailoverTimeout is the time after which the node goes on without those that it has
	// not heard, at the danger that two services are opened; 0 waits for ever.
	FailoverTimeout time.Duration `json:"failover_timeout"`
}

func (r *RecoveryDecisionProtocol) setDefaults() {
	*r = RecoveryDecisionProtocol{MessageRetryTimeout: 100 * time.Millisecond, FailoverTimeout: 2 * time.Second}
}

// Location is the place of a node, which keeps its name while the nodes there come and go.
type Location struct {
	// Name is the same for the node that recovers as for the one that went before it.
	Name string `json:"name" config:"required"`
	// Address is the host:port of an RPC interface of the node.
	Address string `json:"address" config:"required"`
}

// EndorsementsServer is one server that hands out SEV-SNP endorsements.
type EndorsementsServer struct {
	// Type is the protocol spoken.
	Type EndorsementsServerType `json:"type"`
	// URL is host:port or host.
	URL string `json:"url" config:"required"`
	// MaxRetriesCount is how often a failed request is repeated.
	MaxRetriesCount int64 `json:"max_retries_count" config:"min=0"`
}

func (s *EndorsementsServer) setDefaults() {
	*s = EndorsementsServer{Type: "Azure", MaxRetriesCount: 3}
}

// Logging says how the log is laid out.
type Logging struct {
	// Format is Text (one line per record, in CCF's layout) or Json (one object per line).
	Format LogFormat `json:"format"`
	// HostLevel is CCF's former place of the log level. The level is taken from
	// --log-level alone: it has no effect.
	HostLevel LogLevel `json:"host_level"`
}

// Consensus holds the timing of replication.
type Consensus struct {
	// MessageTimeout is CCF's time between two appends. Here an append goes out when there
	// is something to append, and a sign of life ten times per ElectionTimeout: it has no
	// effect.
	MessageTimeout time.Duration `json:"message_timeout"`
	// ElectionTimeout is the time without an append after which a backup stands for election.
	ElectionTimeout time.Duration `json:"election_timeout"`
	// MaxUncommittedTxCount bounds the transactions that wait for commit; 0 is no bound.
	MaxUncommittedTxCount int64 `json:"max_uncommitted_tx_count" config:"min=0"`
}

// LedgerSignatures says how often the ledger is signed when nobody waits for it.
type LedgerSignatures struct {
	// TxCount is the number of transactions after which a signature is made.
	TxCount int64 `json:"tx_count" config:"min=1"`
	// Delay is the time after which a signature is made over a shorter span.
	Delay time.Duration `json:"delay"`
}

// JWT holds the refresh of token issuers' keys.
type JWT struct {
	// KeyRefreshInterval is the time between two fetches of the keys of issuers with
	// automatic refresh.
	KeyRefreshInterval time.Duration `json:"key_refresh_interval"`
	// KeyRefreshMaxResponseSize bounds what an issuer may answer (a key of CCF after 7.0.2).
	KeyRefreshMaxResponseSize Size `json:"key_refresh_max_response_size"`
}

// OutputFiles names the files that a node writes for those who watch it.
type OutputFiles struct {
	// NodeCertificateFile receives the node's self-signed certificate, PEM.
	NodeCertificateFile string `json:"node_certificate_file"`
	// PIDFile receives the process id, in decimal without newline. It must not exist.
	PIDFile string `json:"pid_file"`
	// NodeToNodeAddressFile receives {"node_to_node_interface": "host:port"}; "" writes none.
	NodeToNodeAddressFile string `json:"node_to_node_address_file" config:"none"`
	// RPCAddressesFile receives {"<interface>": "host:port", ...}; "" writes none.
	RPCAddressesFile string `json:"rpc_addresses_file" config:"none"`
}

// Memory holds the sizes of CCF's ring buffers; they have no effect here.
type Memory struct {
	// CircuitSize has no effect.
	CircuitSize Size `json:"circuit_size"`
	// MaxMsgSize bounds the keys and values that one transaction writes; the node of CCF
	// ends when one passes it.
	MaxMsgSize Size `json:"max_msg_size"`
	// MaxFragmentSize has no effect.
	MaxFragmentSize Size `json:"max_fragment_size"`
}

// Default returns a configuration of defaults only; network and command are empty.
func Default() *Config {
	idle := 60 * time.Second
	c := &Config{
		NodeCertificate: NodeCertificate{SubjectName: "CN=CCF Node", CurveID: Secp384R1, InitialValidityDays: 1},
		Ledger:          Ledger{Directory: "ledger", ChunkSize: 5 * MB},
		Snapshots: Snapshots{
			Directory: "snapshots", TxCount: 10000, MinTxCount: 2,
			BackupFetch: BackupFetch{
				MaxAttempts: 3, RetryInterval: time.Second,
				TargetRPCInterface: "primary_rpc_interface", MaxSize: 200 * MB,
			},
		},
		FilesCleanup:     FilesCleanup{Interval: 30 * time.Second},
		Logging:          Logging{Format: LogText, HostLevel: "Info"},
		Consensus:        Consensus{MessageTimeout: 100 * time.Millisecond, ElectionTimeout: 5 * time.Second, MaxUncommittedTxCount: 10000},
		LedgerSignatures: LedgerSignatures{TxCount: 5000, Delay: time.Second},
		JWT:              JWT{KeyRefreshInterval: 30 * time.Minute, KeyRefreshMaxResponseSize: MB},
		OutputFiles:      OutputFiles{NodeCertificateFile: "nodecert.pem", PIDFile: "node.pid"},

		TickInterval:             10 * time.Millisecond,
		SlowIOLoggingThreshold:   10 * time.Millisecond,
		ClientConnectionTimeout:  2 * time.Second,
		IdleConnectionTimeout:    &idle,
		PendingNodeTimeout:       time.Hour,
		Memory:                   Memory{CircuitSize: 16 * MB, MaxMsgSize: 64 * MB, MaxFragmentSize: 256 * KB},
		NodeToNodeMessageLimit:   23726566,
		HistoricalCacheSoftLimit: 512 * MB,
	}
	c.Command.setDefaults()
	c.Chancery.setDefaults()
	return c
}
