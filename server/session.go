package server

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"sync"
	"sync/atomic"

	"chancery/server/api"
)

// Session is one client connection. Requests on it see a consistent history: once
// the view changes under it, it ends.
type Session struct {
	id      uint64
	in      *iface
	refused bool // opened beyond the soft cap: it is told so and closed

	view atomic.Uint64 // the view of its first request, 0 before
	// forwarding says that a request was forwarded: later ones follow it, so that the
	// session reads what it wrote.
	forwarding atomic.Bool
	forwarded  bool // it stands for a client of another node

	once     sync.Once
	peer     *Peer // set under once; nil without a client certificate
	tlsState func() (tls.ConnectionState, bool)
	extend   func() // takes the read deadline away while an answer is held
}

// Peer is a client by its TLS certificate. TLS has proven that the client holds the
// key, and nothing else.
type Peer struct {
	Cert *x509.Certificate
	// ID is the SHA-256 of the certificate's DER form, 64 hex digits; KeyID that of its
	// public key (SPKI, DER), which is how nodes are named.
	ID, KeyID string
	// PEM is the certificate in PEM form.
	PEM string
}

// Peer returns the client's certificate, nil when it showed none.
func (s *Session) Peer() *Peer {
	s.once.Do(func() {
		if s.tlsState == nil {
			return
		}
		if state, ok := s.tlsState(); ok && len(state.PeerCertificates) > 0 {
			s.peer = newPeer(state.PeerCertificates[0])
		}
	})
	return s.peer
}

func newPeer(cert *x509.Certificate) *Peer {
	der, spki := sha256.Sum256(cert.Raw), sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return &Peer{
		Cert: cert, ID: hex.EncodeToString(der[:]), KeyID: hex.EncodeToString(spki[:]),
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})),
	}
}

// checkView binds the session to the view of its first request, and refuses any
// request under another one.
func (s *Session) checkView(view uint64) error {
	if view == 0 || s.view.CompareAndSwap(0, view) {
		return nil
	}
	if first := s.view.Load(); first != view {
		return api.Errorf(http.StatusInternalServerError, api.SessionConsistencyLost,
			"Potential loss of session consistency on session %d. Started in view %d, now in view %d. Closing session.", s.id, first, view)
	}
	return nil
}
