package node

import (
	"context"
	"crypto/ecdsa"
	"errors"
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
// the present identity over the earlier one's key. The error wraps ledger.ErrNotEndorsed
// where the ledger does not say which that is.
func (n *Node) endorsedFor(ctx context.Context, id ledger.TxID) ([]string, error) {
	s, ok, err := tables.ServiceInfo.Get(tables.View(n.store.Committed()))
	if err != nil || !ok {
		return nil, err
	}
	created, err := writeset.ParseTxID(s.CreateTxID)
	if err != nil || id.Seqno >= created.Seqno {
		return nil, nil // of the present life; or of a 1.x ledger, which does not say
	}
	begin, key, err := n.stated(ctx, id)
	if errors.Is(err, ledger.ErrNotEndorsed) {
		begin, key, err = n.recorded(ctx, s, id)
	}
	if err != nil {
		return nil, err
	}
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
	pem, err := identity.EndorseService(key, n.keys.service, current)
	if err != nil {
		return nil, err
	}
	l.certs[begin] = string(pem)
	return []string{string(pem)}, nil
}

// stated returns the key under which id was written, and where its life begins, by what
// the identities stated about one another when the service was recovered.
func (n *Node) stated(ctx context.Context, id ledger.TxID) (begin ledger.TxID, key *ecdsa.PublicKey, err error) {
	written, err := n.Endorsements(ctx)
	if err != nil {
		return begin, nil, err
	}
	chain, err := ledger.EndorsementsFor(written, id)
	if err != nil {
		return begin, nil, err
	}
	if len(chain) == 0 {
		return begin, nil, fmt.Errorf("%w: no identity of the service states under which one %v was written", ledger.ErrNotEndorsed, id)
	}
	key, err = ledger.EndorsedKey(&n.keys.service.PublicKey, chain, id)
	return chain[len(chain)-1].Epoch.Begin, key, err
}

// recorded returns the same by the committed ledger's service table, whose rows lead back
// from one life to the life before, also where the identities of an older CCF state
// nothing. The present identity has signed all of them, as the earlier part of its Merkle
// tree.
func (n *Node) recorded(ctx context.Context, row tables.Service, id ledger.TxID) (begin ledger.TxID, key *ecdsa.PublicKey, err error) {
	at := n.store.Committed().TxID().Seqno + 1
	for at > id.Seqno {
		previous := row.PreviousIdentityVersion
		if previous == nil || *previous >= at {
			return begin, nil, fmt.Errorf("%w: the service table does not say under which identity %v was written", ledger.ErrNotEndorsed, id)
		}
		at, row = *previous, tables.Service{}
		switch ok, err := n.writtenAt(ctx, at, tables.NameServiceInfo, &row); {
		case err != nil:
			return begin, nil, err
		case !ok:
			return begin, nil, fmt.Errorf("%w: transaction %d holds no row of the service", ledger.ErrNotEndorsed, at)
		}
	}
	cert, err := identity.ParseCertificate([]byte(row.Cert))
	if err != nil {
		return begin, nil, err
	}
	key, err = identity.CertificateKey(cert)
	return n.committedAt(at), key, err
}
