package node

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"time"

	"chancery/gov"
	"chancery/internal/identity"
	"chancery/internal/nodelog"
	"chancery/kv"
	"chancery/ledger"
)

// effects is what one attempt at a governance transaction reads of the node and does
// beside its writes. It belongs to that attempt; Submit acts on it.
type effects struct {
	n     *Node
	tx    *kv.Tx
	chunk bool // end the chunk at the next signature
	snap  bool // take a snapshot there
}

// Effects returns a fresh carrier for an attempt over tx.
func (n *Node) Effects(tx *kv.Tx) gov.Effects { return &effects{n: n, tx: tx} }

// Root returns the root over everything up to the position that the attempt reads.
func (e *effects) Root() (ledger.Digest, error) { return e.n.replica().RootAt(e.tx.ReadTxID().Seqno) }

// LedgerSecrets returns the secret in force for the attempt's own position, and the
// one before it.
func (e *effects) LedgerSecrets() (gov.LedgerSecret, *gov.LedgerSecret, error) {
	var current gov.LedgerSecret
	var previous *gov.LedgerSecret
	next := e.tx.ReadTxID().Seqno + 1
	for from, s := range e.n.secrets.All() {
		if from > next {
			break
		}
		if current.Secret != nil {
			p := current
			previous = &p
		}
		current = gov.LedgerSecret{From: from, Secret: s}
	}
	if current.Secret == nil {
		return current, nil, fmt.Errorf("seqno %d: %w", next, ledger.ErrNoSecret)
	}
	return current, previous, nil
}

// SetNextSecret has nothing to do here: every node, this one too, takes the new
// secret from the transaction's own write, so that all switch at the same seqno.
func (e *effects) SetNextSecret(*ledger.Secret) {}

// ForceChunk ends the ledger chunk at the next signature.
func (e *effects) ForceChunk() { e.chunk = true }

// RequestSnapshot takes a snapshot at the next signature.
func (e *effects) RequestSnapshot() { e.snap = true }

// PublicOnly says that private state is still to be recovered.
func (e *effects) PublicOnly() bool { return e.n.publicOnly() }

// ServiceKey is the service's private key.
func (e *effects) ServiceKey() crypto.Signer { return e.n.keys.service }

// EndorseNode issues a node certificate from a request.
func (e *effects) EndorseNode(csr, validFrom string, days uint64) (string, error) {
	from, err := identity.ParseValidFrom(validFrom)
	if err != nil {
		return "", err
	}
	return e.n.endorse(csr, from, days)
}

// RenewService issues a certificate for the service's key and subject.
func (e *effects) RenewService(validFrom string, days uint64) (string, error) {
	from, err := identity.ParseValidFrom(validFrom)
	if err != nil {
		return "", err
	}
	return e.n.serviceCertificate(from, days)
}

// Log takes what the constitution prints.
func (e *effects) Log(level slog.Level, line string) {
	log := nodelog.Context(e.n.log, func() []slog.Attr { return []slog.Attr{slog.String("txid", e.tx.ReadTxID().String())} })
	log.Log(context.Background(), level, line, nodelog.TagKey, "gov")
}

// Now is the node's clock.
func (e *effects) Now() time.Time { return e.n.opts.Now() }
