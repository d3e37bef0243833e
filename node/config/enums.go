package config

// Curve is the name of an elliptic curve.
type Curve string

// The curves.
const (
	Secp384R1 Curve = "Secp384R1"
	Secp256R1 Curve = "Secp256R1"
)

// Enum lists the values.
func (Curve) Enum() []string { return []string{"Secp384R1", "Secp256R1"} }

// CommandType is how a node begins its life.
type CommandType string

// The commands. Resume is ours: the virtual platform only.
const (
	CommandStart   CommandType = "Start"
	CommandJoin    CommandType = "Join"
	CommandRecover CommandType = "Recover"
	CommandResume  CommandType = "Resume"
)

// Enum lists the values.
func (CommandType) Enum() []string { return []string{"Start", "Join", "Recover", "Resume"} }

// Authority is who endorses an interface's certificate.
type Authority string

// The authorities.
const (
	AuthorityService   Authority = "Service"
	AuthorityNode      Authority = "Node"
	AuthorityUnsecured Authority = "Unsecured"
)

// Enum lists the values.
func (Authority) Enum() []string { return []string{"Service", "Node", "Unsecured"} }

// Refused says why a value that CCF has is not taken.
func (Authority) Refused(v string) string {
	if v == "ACME" {
		return "ACME is deprecated in CCF and not supported; use Service or Node, and put a certificate of a public authority on a proxy"
	}
	return ""
}

// Protocol is an interface's transport.
type Protocol string

// Enum lists the values.
func (Protocol) Enum() []string { return []string{"tcp"} }

// Refused says why a value that CCF has is not taken.
func (Protocol) Refused(v string) string {
	if v == "udp" || v == "quic" {
		return v + " is experimental in CCF and not supported; use tcp"
	}
	return ""
}

// AppProtocol is the HTTP version of an interface.
type AppProtocol string

// The HTTP versions.
const (
	HTTP1 AppProtocol = "HTTP1"
	HTTP2 AppProtocol = "HTTP2"
)

// Enum lists the values.
func (AppProtocol) Enum() []string { return []string{"HTTP1", "HTTP2"} }

// OperatorFeature is a group of operator endpoints.
type OperatorFeature string

// The features.
const (
	SnapshotRead    OperatorFeature = "SnapshotRead"
	LedgerChunkRead OperatorFeature = "LedgerChunkRead"
	SnapshotCreate  OperatorFeature = "SnapshotCreate"
)

// Enum lists the values.
func (OperatorFeature) Enum() []string {
	return []string{"SnapshotRead", "LedgerChunkRead", "SnapshotCreate"}
}

// ResolverKind is how a redirect's target is found.
type ResolverKind string

// The kinds.
const (
	NodeByRole    ResolverKind = "NodeByRole"
	StaticAddress ResolverKind = "StaticAddress"
)

// Enum lists the values.
func (ResolverKind) Enum() []string { return []string{"NodeByRole", "StaticAddress"} }

// Role is a node's part in consensus.
type Role string

// The roles.
const (
	RolePrimary Role = "primary"
	RoleBackup  Role = "backup"
)

// Enum lists the values.
func (Role) Enum() []string { return []string{"primary", "backup"} }

// RecoveryRole is a member's part in recovery; the empty value is "not given".
type RecoveryRole string

// The roles.
const (
	NonParticipant RecoveryRole = "NonParticipant"
	Participant    RecoveryRole = "Participant"
	Owner          RecoveryRole = "Owner"
)

// Enum lists the values.
func (RecoveryRole) Enum() []string { return []string{"NonParticipant", "Participant", "Owner"} }

// EndorsementsServerType is the protocol of an SEV-SNP endorsements server.
type EndorsementsServerType string

// Enum lists the values.
func (EndorsementsServerType) Enum() []string { return []string{"Azure", "AMD", "THIM"} }

// LogFormat is the layout of the log.
type LogFormat string

// The layouts.
const (
	LogText LogFormat = "Text"
	LogJSON LogFormat = "Json"
)

// Enum lists the values.
func (LogFormat) Enum() []string { return []string{"Text", "Json"} }

// LogLevel is CCF's name of a log level.
type LogLevel string

// Enum lists the values.
func (LogLevel) Enum() []string { return []string{"Trace", "Debug", "Info", "Fail", "Fatal"} }

// Respond is when a write is answered.
type Respond string

// The moments.
const (
	RespondExecuted  Respond = "executed"
	RespondCommitted Respond = "committed"
)

// Enum lists the values.
func (Respond) Enum() []string { return []string{"executed", "committed"} }

// Platform is what a node runs on, and attests to.
type Platform string

// The platforms.
const (
	PlatformVirtual Platform = "virtual"
	PlatformSNP     Platform = "snp"
	PlatformSGX     Platform = "sgx"
)

// Enum lists the values.
func (Platform) Enum() []string { return []string{"virtual", "snp", "sgx"} }

// Fsync is which records are flushed.
type Fsync string

// The settings.
const (
	FsyncSignature Fsync = "signature"
	FsyncNever     Fsync = "never"
)

// Enum lists the values.
func (Fsync) Enum() []string { return []string{"signature", "never"} }

// LedgerSignMode is which signatures the ledger carries.
type LedgerSignMode string

// The modes, with CCF's names.
const (
	SignDual              LedgerSignMode = "Dual"
	SignCoseAllowDualJoin LedgerSignMode = "CoseAllowDualJoin"
	SignCoseOnly          LedgerSignMode = "CoseOnly"
)

// Enum lists the values.
func (LedgerSignMode) Enum() []string { return []string{"Dual", "CoseAllowDualJoin", "CoseOnly"} }
