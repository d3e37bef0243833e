package node

import (
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"sync"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv/writeset"
)

// life is a service identity and the seqno of the transaction that introduced it.
type life struct {
	from uint64
	cert *x509.Certificate
}

// lives are the identities that the service has had, once they were asked for.
type lives struct {
	mu    sync.Mutex
	known []life
}

func (l *lives) of(n *Node) ([]life, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known != nil {
		return l.known, nil
	}
	known, err := n.earlierIdentities()
	if err != nil {
		return nil, err
	}
	l.known = known
	return known, nil
}

// earlierIdentities are the service identities before the present one, with the seqno at
// which each began, from the ledger.
func (n *Node) earlierIdentities() ([]life, error) {
	var out []life
	var last *ecdsa.PublicKey
	for e, err := range n.ledger.Entries(1) {
		if err != nil {
			return nil, err
		}
		var s tables.Service
		ok, err := written(e.Public, tables.NameServiceInfo, &s)
		if err != nil {
			return nil, fmt.Errorf("entry %v: %w", e.ID, err)
		}
		if !ok {
			continue
		}
		cert, err := identity.ParseCertificate([]byte(s.Cert))
		if err != nil {
			return nil, fmt.Errorf("entry %v: %w", e.ID, err)
		}
		key, ok := cert.PublicKey.(*ecdsa.PublicKey)
		if !ok || last != nil && key.Equal(last) {
			continue
		}
		last = key
		out = append(out, life{from: e.ID.Seqno, cert: cert})
	}
	return out, nil
}

// endorsedFor returns the certificates that lead from the identity under which an entry
// was written to the present one: none for the present one's own, and otherwise one, by
// the present identity over the earlier one's key.
func (n *Node) endorsedFor(seqno uint64) ([]string, error) {
	s, ok, err := tables.ServiceInfo.Get(tables.View(n.store.Committed()))
	if err != nil || !ok {
		return nil, err
	}
	created, err := writeset.ParseTxID(s.CreateTxID)
	if err != nil || seqno >= created.Seqno {
		return nil, nil // of the present life; or of a 1.x ledger, which does not say
	}
	lives, err := n.lives.of(n)
	if err != nil {
		return nil, err
	}
	var earlier *x509.Certificate
	for _, l := range lives {
		if l.from <= seqno {
			earlier = l.cert
		}
	}
	if earlier == nil {
		return nil, fmt.Errorf("no service identity is known for seqno %d", seqno)
	}
	current, err := identity.ParseCertificate([]byte(s.Cert))
	if err != nil {
		return nil, err
	}
	pem, err := identity.EndorseService(earlier, n.keys.service, current)
	if err != nil {
		return nil, err
	}
	return []string{string(pem)}, nil
}
