package node

import (
	"context"
	"fmt"
	"sync"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// lives is what was worked out about the identities before the present one.
type lives struct {
	mu sync.Mutex
	// written are the statements of Endorsements, the newest of which is latest.
	latest  []byte
	written []*ledger.IdentityEndorsement
	// certs are the certificates by which the present identity, present (PEM), vouches for
	// the others, PEM, by the beginning of their lives.
	present string
	certs   map[ledger.TxID]string
}

// endorsedFor returns the certificates that lead from the identity under which an entry
// was written to the present one: none for the present one's own, and otherwise one, by
// the present identity over the earlier one's key. What the identities stated about one
// another when the service was recovered says which key that is; the error wraps
// ledger.ErrNotEndorsed where that does not reach back so far.
func (n *Node) endorsedFor(ctx context.Context, id ledger.TxID) ([]string, error) {
	s, ok, err := tables.ServiceInfo.Get(tables.View(n.store.Committed()))
	if err != nil || !ok {
		return nil, err
	}
	created, err := writeset.ParseTxID(s.CreateTxID)
	if err != nil || id.Seqno >= created.Seqno {
		return nil, nil // of the present life; or of a 1.x ledger, which does not say
	}
	written, err := n.Endorsements(ctx)
	if err != nil {
		return nil, err
	}
	chain, err := ledger.EndorsementsFor(written, id)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%w: no identity of the service states under which one %v was written", ledger.ErrNotEndorsed, id)
	}
	begin := chain[len(chain)-1].Epoch.Begin
	l := &n.lives
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.present != s.Cert {
		l.present, l.certs = s.Cert, map[ledger.TxID]string{}
	}
	if known, ok := l.certs[begin]; ok {
		return []string{known}, nil
	}
	current, err := identity.ParseCertificate([]byte(s.Cert))
	if err != nil {
		return nil, err
	}
	key, err := ledger.EndorsedKey(&n.keys.service.PublicKey, chain, id)
	if err != nil {
		return nil, err
	}
	pem, err := identity.EndorseService(key, n.keys.service, current)
	if err != nil {
		return nil, err
	}
	l.certs[begin] = string(pem)
	return []string{string(pem)}, nil
}
