package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/node/config"
)

// certificates are the node's certificates in force, exchanged at run time when
// governance renews them.
type certificates struct {
	self     identity.Certificate // shown on interfaces with Node authority
	endorsed identity.Certificate // shown on interfaces with Service authority
	selfPEM  atomic.Pointer[string]
	signer   atomic.Pointer[ledger.Signer]

	csr     []byte // PEM
	subject []byte // DER
	names   []identity.AltName
}

// selfSigned returns the node's own certificate, PEM.
func (c *certificates) selfSigned() string { return *c.selfPEM.Load() }

// newCertificates makes the signing request and the self-signed certificate.
func newCertificates(cfg *config.Config, k *keys, published []string, now time.Time) (*certificates, error) {
	c := &certificates{}
	var err error
	if c.subject, err = identity.ParseSubject(cfg.NodeCertificate.SubjectName); err != nil {
		return nil, fmt.Errorf("node_certificate.subject_name: %w", err)
	}
	if c.names, err = altNames(cfg.NodeCertificate.SubjectAltNames, published); err != nil {
		return nil, err
	}
	if c.csr, err = identity.NewRequest(k.node, c.subject, c.names); err != nil {
		return nil, fmt.Errorf("requesting a node certificate: %w", err)
	}
	v, err := identity.ValidFor(now, int(cfg.NodeCertificate.InitialValidityDays))
	if err != nil {
		return nil, err
	}
	return c, c.renewSelf(k, v)
}

// renewSelf puts a self-signed certificate of the given validity in force.
func (c *certificates) renewSelf(k *keys, v identity.Validity) error {
	pem, err := identity.SelfSignedNode(k.node, c.subject, c.names, v)
	if err != nil {
		return fmt.Errorf("signing the node's own certificate: %w", err)
	}
	if err := c.self.Set(pem, k.node); err != nil {
		return err
	}
	text := string(pem)
	c.selfPEM.Store(&text)
	return nil
}

// altNames are the configured names, or the hosts of the published addresses.
func altNames(configured, published []string) ([]identity.AltName, error) {
	var names []identity.AltName
	for _, s := range configured {
		n, err := identity.ParseAltName(s)
		if err != nil {
			return nil, fmt.Errorf("node_certificate.subject_alt_names: %w", err)
		}
		names = append(names, n)
	}
	if len(configured) > 0 {
		return names, nil
	}
	for _, a := range published {
		n, err := identity.HostAltName(a)
		if err != nil {
			return nil, fmt.Errorf("published address %q: %w", a, err)
		}
		names = append(names, n)
	}
	return names, nil
}

// endorse issues a node certificate, PEM, under the service certificate in force.
func (n *Node) endorse(csr string, from time.Time, days uint64) (string, error) {
	v, err := identity.ValidFor(from, int(days))
	if err != nil {
		return "", err
	}
	service, err := n.serviceCert()
	if err != nil {
		return "", err
	}
	pem, err := identity.EndorseNode([]byte(csr), n.keys.service, service, v)
	if err != nil {
		return "", fmt.Errorf("endorsing a node: %w", err)
	}
	return string(pem), nil
}

// serviceCert returns the service certificate at the head. Until its create transaction, a
// recovered service's tables name the identity of its earlier life.
func (n *Node) serviceCert() (*x509.Certificate, error) {
	if n.uncreated(n.store.Head()) {
		return n.identity, nil
	}
	s, ok, err := tables.ServiceInfo.Get(tables.View(n.store.Head()))
	if err != nil {
		return nil, err
	}
	switch {
	case ok:
		return identity.ParseCertificate([]byte(s.Cert))
	case n.identity != nil:
		return n.identity, nil
	}
	return nil, errors.New("there is no service yet")
}

// serviceCertificate issues a certificate, PEM, for the service's key and subject.
func (n *Node) serviceCertificate(from time.Time, days uint64) (string, error) {
	old, err := n.serviceCert()
	if err != nil {
		return "", err
	}
	v, err := identity.ValidFor(from, int(days))
	if err != nil {
		return "", err
	}
	pem, err := identity.SelfSignedService(n.keys.service, old.RawSubject, v)
	if err != nil {
		return "", fmt.Errorf("renewing the service certificate: %w", err)
	}
	return string(pem), nil
}

// use puts an endorsed node certificate in force: on the interfaces, between nodes
// and in the ledger's signatures. The self-signed one follows a renewal, as in CCF, and a
// first one that holds longer.
func (n *Node) use(endorsed string) error {
	current := n.certs.signer.Load()
	if current != nil && current.NodeCertPEM == endorsed {
		return nil
	}
	cert, err := identity.ParseCertificate([]byte(endorsed))
	if err != nil {
		return fmt.Errorf("the node's endorsed certificate: %w", err)
	}
	if err := n.certs.endorsed.Set([]byte(endorsed), n.keys.node); err != nil {
		return fmt.Errorf("the node's endorsed certificate: %w", err)
	}
	self, err := identity.ParseCertificate([]byte(n.certs.selfSigned()))
	if err != nil {
		return fmt.Errorf("the node's own certificate: %w", err)
	}
	if current != nil || cert.NotAfter.After(self.NotAfter) {
		if err := n.certs.renewSelf(n.keys, identity.Validity{NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}); err != nil {
			return err
		}
		if err := writePublic(n.fs, n.cfg.OutputFiles.NodeCertificateFile, []byte(n.certs.selfSigned())); err != nil {
			return err
		}
	}
	n.certs.signer.Store(n.newSigner(endorsed))
	return nil
}

// newSigner signs the ledger with the given node certificate.
func (n *Node) newSigner(endorsed string) *ledger.Signer {
	modes := []ledger.SignMode{ledger.Dual, ledger.COSEAllowDualJoin, ledger.COSEOnly}
	i := max(0, slices.IndexFunc(modes, func(m ledger.SignMode) bool { return m.String() == string(n.cfg.Chancery.LedgerSignMode) }))
	cose := n.coseIDs()
	return &ledger.Signer{
		Mode: modes[i], NodeID: n.keys.id, NodeCertPEM: endorsed, Node: n.keys.node, Service: n.keys.service,
		Issuer: cose.Issuer, Subject: cose.Subject, Now: n.opts.Now,
	}
}

// peerTLS is the mutual TLS 1.3 configuration between nodes: each side shows the
// certificate that the service endorsed.
func (n *Node) peerTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // no host names between nodes: verifyPeer checks the chain and the node
		VerifyPeerCertificate:  n.verifyPeer,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.certs.endorsed.Get() },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return n.certs.endorsed.Get() },
	}
}

// gone says whether nothing connects a node with the service any more. One whose
// retirement is not complete still has to be told of it.
func gone(n tables.Node) bool { return n.Status == tables.NodeRetired && n.RetiredCommitted }

// verifyPeer accepts a node whose certificate the service's current identity issued
// and which the nodes table does not say is gone. The certificate must hold now, unless
// the table says that the node is trusted.
func (n *Node) verifyPeer(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return fmt.Errorf("a node without a certificate")
	}
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return fmt.Errorf("a node's certificate: %w", err)
	}
	service, err := n.serviceCert()
	if err != nil {
		return err
	}
	if err := identity.IssuedBy(cert, service); err != nil {
		return fmt.Errorf("a node of another service: %w", err)
	}
	id, err := identity.KeyID(cert.PublicKey)
	if err != nil {
		return fmt.Errorf("a node's certificate: %w", err)
	}
	info, ok, err := tables.NodesInfo.Get(tables.View(n.store.Committed()), id)
	if err != nil {
		return err
	}
	if ok && gone(info) {
		return fmt.Errorf("node %s is retired", id)
	}
	// Where governance let certificates end, links that break must come back: how else
	// would it renew them. The table says whom the service trusts, and for how long.
	if now := n.opts.Now(); (now.Before(cert.NotBefore) || now.After(cert.NotAfter)) && info.Status != tables.NodeTrusted {
		return fmt.Errorf("a node's certificate is valid from %s to %s", cert.NotBefore, cert.NotAfter)
	}
	return nil
}
