package gov

import (
	"crypto"
	"log/slog"
	"time"

	"chancery/ledger"
)

// Effects is what governance needs of the node beside the tables: what it reads, and
// what a transaction does beyond its writes. The node makes a new one for every attempt
// at a transaction and acts on it only when that transaction is submitted; an attempt
// that is thrown away leaves nothing behind.
type Effects interface {
	// Root returns the root of the ledger's tree over all entries up to the position
	// that the transaction reads.
	Root() (ledger.Digest, error)
	// LedgerSecrets returns the ledger secret in force and the one before it, Previous
	// nil when there is none.
	LedgerSecrets() (current LedgerSecret, previous *LedgerSecret, err error)
	// ForceChunk ends the ledger chunk at the next signature.
	ForceChunk()
	// RequestSnapshot takes a snapshot at the next signature.
	RequestSnapshot()
	// PublicOnly says that the node replayed public state alone and waits for the
	// recovery of the ledger secrets.
	PublicOnly() bool
	// ServiceKey is the service's private key.
	ServiceKey() crypto.Signer
	// EndorseNode issues a node certificate, PEM, from a request, PEM. validFrom is a time
	// in one of the forms that CCF takes ("260101000000Z", "2026-01-01 00:00:00", …).
	EndorseNode(csr, validFrom string, days uint64) (string, error)
	// RenewService issues a certificate, PEM, for the service's key and subject.
	RenewService(validFrom string, days uint64) (string, error)
	// Now is the node's clock.
	Now() time.Time
	// Log takes what governance scripts print.
	Log(level slog.Level, line string)
}

// LedgerSecret is a ledger secret and the first seqno that it seals.
type LedgerSecret struct {
	From   uint64
	Secret *ledger.Secret
}
