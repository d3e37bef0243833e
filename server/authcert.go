package server

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"chancery/gov/tables"
)

// The certificate policies. The certificate is the client's TLS certificate: TLS has
// proven that the client holds its key, and nothing else about it.
var (
	// UserCert accepts a certificate of the users table within its validity period.
	UserCert Policy = certPolicy{
		name: "user_cert", missing: "No caller user certificate", unknown: "Could not find matching user certificate",
		validity: true, certs: tables.UsersCerts, data: userData,
	}
	// MemberCert accepts a certificate of the members table, whatever the member's
	// status and the certificate's validity period.
	MemberCert Policy = certPolicy{
		name: "member_cert", missing: "No caller member certificate", unknown: "Could not find matching member certificate",
		certs: tables.MembersCerts, data: memberData,
	}
	// AnyCert accepts any certificate within its validity period.
	AnyCert Policy = anyCert{}
	// NodeCert accepts the key of a node of the service.
	NodeCert Policy = nodeCert{}
	// SelfCert accepts the key of this node alone, within the certificate's validity.
	SelfCert Policy = selfCert{}
)

type certPolicy struct {
	name, missing, unknown string
	validity               bool
	certs                  tables.Map[string]
	data                   func(tables.Reader, string) (json.RawMessage, error)
}

func (p certPolicy) Name() string { return p.name }

func (p certPolicy) authenticate(s *Server, c *Call) (*Caller, error) {
	peer := c.Session.Peer()
	if peer == nil {
		return nil, refuse(p.missing)
	}
	if p.validity {
		if err := checkValidity(peer.Cert, s.now()); err != nil {
			return nil, err
		}
	}
	if !p.certs.Has(c.Tx, peer.ID) {
		return nil, refuse(p.unknown)
	}
	data, err := p.data(c.Tx, peer.ID)
	if err != nil {
		return nil, err
	}
	return &Caller{Policy: p.name, ID: peer.ID, Cert: peer.PEM, Data: data}, nil
}

type anyCert struct{}

func (anyCert) Name() string { return "any_cert" }

func (anyCert) authenticate(s *Server, c *Call) (*Caller, error) {
	peer := c.Session.Peer()
	if peer == nil {
		return nil, refuse("No caller certificate")
	}
	if err := checkValidity(peer.Cert, s.now()); err != nil {
		return nil, err
	}
	return &Caller{Policy: "any_cert", Cert: peer.PEM}, nil
}

type nodeCert struct{}

func (nodeCert) Name() string { return "node_cert" }

func (nodeCert) authenticate(_ *Server, c *Call) (*Caller, error) {
	peer := c.Session.Peer()
	if peer == nil {
		return nil, refuse("No caller certificate")
	}
	if !tables.NodesInfo.Has(c.Tx, peer.KeyID) {
		return nil, refuse("Caller is not a known node")
	}
	return &Caller{Policy: "node_cert", ID: peer.KeyID, Cert: peer.PEM}, nil
}

type selfCert struct{}

func (selfCert) Name() string { return "self_cert" }

func (selfCert) authenticate(s *Server, c *Call) (*Caller, error) {
	caller, err := anyCert{}.authenticate(s, c)
	if err != nil {
		return nil, err
	}
	if c.Session.Peer().KeyID != s.node.Info().ID {
		return nil, refuse("Only the node itself can call this endpoint.")
	}
	caller.Policy = "self_cert"
	return caller, nil
}

// checkValidity says whether now lies in the certificate's validity period, both ends included.
func checkValidity(cert *x509.Certificate, now time.Time) error {
	t, from, to := now.Unix(), cert.NotBefore.Unix(), cert.NotAfter.Unix()
	switch {
	case t < from:
		return refuse(fmt.Sprintf("Current time %d is before certificate's Not Before validity period %d", t, from))
	case t > to:
		return refuse(fmt.Sprintf("Current time %d is after certificate's Not After validity period %d", t, to))
	}
	return nil
}
