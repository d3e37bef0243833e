package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// ErrNoCertificate refuses a handshake on an interface whose certificate is not
// there yet, such as one with service authority before the node is endorsed.
var ErrNoCertificate = errors.New("no certificate for this interface yet")

// suites12 are the cipher suites under TLS 1.2. TLS 1.3's are fixed by Go, all
// of them AEADs.
var suites12 = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
}

// groups are the key exchanges: CCF's three curves, and before them what
// today's clients offer first, which saves them a round trip.
var groups = []tls.CurveID{
	tls.X25519MLKEM768, tls.X25519, tls.CurveP384, tls.CurveP256, tls.CurveP521,
}

// Certificate is the certificate in force of a set of interfaces. Set exchanges
// it for handshakes to come; connections that stand are not touched. The zero
// value has none, and is ready for use. It is safe for concurrent use.
type Certificate struct {
	current atomic.Pointer[tls.Certificate]
}

// Set puts a PEM certificate with its key in force. It refuses a certificate
// over another key.
func (c *Certificate) Set(certPEM []byte, key *ecdsa.PrivateKey) error {
	cert, err := TLSCertificate(certPEM, key)
	if err != nil {
		return err
	}
	c.current.Store(cert)
	return nil
}

// Get returns the certificate in force, or ErrNoCertificate. The result is
// shared: do not change it.
func (c *Certificate) Get() (*tls.Certificate, error) {
	cert := c.current.Load()
	if cert == nil {
		return nil, ErrNoCertificate
	}
	return cert, nil
}

// TLSCertificate joins a PEM certificate and its key.
func TLSCertificate(certPEM []byte, key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	leaf, err := ParseCertificate(certPEM)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("certificate %s is not over the given key", leaf.Subject)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// ServerTLS returns the configuration of an interface that shows cert and speaks
// protocols (ALPN names, "http/1.1" or "h2"). Client certificates are requested
// and their possession is proved, nothing more.
func ServerTLS(cert *Certificate, protocols ...string) *tls.Config {
	plain := serverBase(cert)
	offering := serverBase(cert)
	offering.NextProtos = protocols
	outer := serverBase(cert)
	outer.NextProtos = protocols
	// crypto/tls aborts a handshake whose ALPN lists do not meet; CCF goes on
	// without ALPN.
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.ContainsFunc(hello.SupportedProtos, func(p string) bool { return slices.Contains(protocols, p) }) {
			return offering, nil
		}
		return plain, nil
	}
	return outer
}

// maxClientChain bounds the certificates that a client shows, in bytes. It is OpenSSL's
// default, and so CCF's: a session keeps what its client showed, and a certificate takes
// several times its size once it is parsed.
const maxClientChain = 100 << 10

// errClientChain refuses a client's certificates by their size.
var errClientChain = fmt.Errorf("the client's certificates are larger than %d bytes", maxClientChain)

func checkClientChain(raw [][]byte, _ [][]*x509.Certificate) error {
	size := 0
	for _, der := range raw {
		size += len(der)
	}
	if size > maxClientChain {
		return errClientChain
	}
	return nil
}

func serverBase(cert *Certificate) *tls.Config {
	return &tls.Config{
		VerifyPeerCertificate:  checkClientChain,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.Get() },
		MinVersion:             tls.VersionTLS12,
		CipherSuites:           suites12,
		CurvePreferences:       groups,
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
	}
}

// ClientTLS returns the configuration of a client that trusts certificates
// issued by service, and shows own if that is not nil. The server's name or
// address must be in its certificate.
func ClientTLS(service *x509.Certificate, own *tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(service)
	c := &tls.Config{
		RootCAs:          roots,
		MinVersion:       tls.VersionTLS12,
		CipherSuites:     suites12,
		CurvePreferences: groups,
	}
	if own != nil {
		// Shown whatever authorities the server names: it names none.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	return c
}
