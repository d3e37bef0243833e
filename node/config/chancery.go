package config

import "time"

// Chancery holds the keys that CCF does not have.
type Chancery struct {
	// Respond says when a write is answered that asks for nothing else: executed (as CCF)
	// or committed.
	Respond Respond `json:"respond"`
	// Fsync says which records are flushed to disk before they count as durable: signature
	// (each batch that holds a signature) or never, which loses acknowledged transactions
	// when the machine loses power.
	Fsync Fsync `json:"fsync"`
	// LedgerSignMode says which signatures the ledger carries: Dual, CoseAllowDualJoin or
	// CoseOnly.
	LedgerSignMode LedgerSignMode `json:"ledger_sign_mode"`
	// Platform is what the node attests to: virtual, which proves nothing, snp (AMD SEV-SNP),
	// or sgx (Intel SGX, in a program that is built and run with EGo). A node that is set to
	// another one never falls back to virtual.
	Platform Platform `json:"platform"`
	// SNPRevocations are AMD's lists of revoked certificates, by which nodes on SEV-SNP are
	// judged when they join; nil asks for none.
	SNPRevocations *SNPRevocations `json:"snp_revocations"`
	// Production refuses everything that is for development: the virtual platform, the
	// command Resume, a key file, fsync "never".
	Production bool `json:"production"`
	// KeyFile is where the virtual platform keeps the node's keys and the service's
	// secrets in the clear, for the command Resume; "" keeps none.
	KeyFile string `json:"key_file" config:"none"`
	// SealingKeyFile is where the virtual platform keeps the key that it seals with in the
	// clear, and is made where it is not there; "" seals nothing (key sealing_recovery).
	SealingKeyFile string `json:"sealing_key_file" config:"none"`
	// ResumeAfterView is the highest view that any node of a service took part in, all of
	// which have stopped: the node that resumes it leads in a later one (command Resume).
	ResumeAfterView int64 `json:"resume_after_view" config:"min=0"`
	// RecoverExpect is a TxID that the ledger must hold, or a file with a receipt of it, ""
	// for none: a recovery is refused from an older copy, or from another history (command
	// Recover).
	RecoverExpect string `json:"recover_expect" config:"none"`
	// RenewCertificatesWithin is how long before their end the primary renews the
	// certificates of trusted nodes and of the service, for as many days as governance
	// allows; 0 leaves that to governance, as CCF does.
	RenewCertificatesWithin time.Duration `json:"renew_certificates_within"`
	// JWTFetchTimeout bounds the time in which a token issuer must answer with its keys.
	JWTFetchTimeout time.Duration `json:"jwt_fetch_timeout"`
	// ScrubRate is how many bytes of closed ledger chunks are read again each second, in
	// the background, and compared with the ledger's tree; 0 is off.
	ScrubRate Size `json:"scrub_rate"`
	// Metrics serves Prometheus metrics on an address of its own; nil serves none.
	Metrics *Metrics `json:"metrics"`
}

// SNPRevocations is where AMD's lists of revoked certificates are. A processor of whose
// line there is none, or none that holds today, is refused.
type SNPRevocations struct {
	// Directory holds the lists, NAME.crl, DER or PEM. It is read at each join.
	Directory string `json:"directory" config:"required"`
	// Server is AMD's (kdsintf.amd.com), host or host:port, from which the lists are fetched
	// into the directory; "" fetches none: somebody else keeps them up to date.
	Server string `json:"server" config:"none"`
	// RefreshInterval is the time between two fetches.
	RefreshInterval time.Duration `json:"refresh_interval"`
}

func (s *SNPRevocations) setDefaults() { *s = SNPRevocations{RefreshInterval: 24 * time.Hour} }

// Metrics is the Prometheus listener: plain HTTP without authentication, at /metrics. It
// shows figures, endpoint templates and interface names, nothing of requests or data.
type Metrics struct {
	// BindAddress is the host:port listened on. Clients should not reach it.
	BindAddress string `json:"bind_address" config:"required"`
}

func (c *Chancery) setDefaults() {
	*c = Chancery{Respond: RespondExecuted, Platform: PlatformVirtual, Fsync: FsyncSignature, LedgerSignMode: SignDual, JWTFetchTimeout: 10 * time.Second, ScrubRate: MB}
}
