package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"chancery/kv/writeset"
)

// The governance tables that say whom to believe.
const (
	serviceInfoMap      = "public:ccf.gov.service.info"
	previousIdentityMap = "public:ccf.gov.service.previous_service_identity"
	nodesInfoMap        = "public:ccf.gov.nodes.info"
	endorsedCertsMap    = "public:ccf.gov.nodes.endorsed_certificates"
	endorsementMap      = "public:ccf.internal.previous_service_identity_endorsement"
)

// Statuses of the service and of nodes.
const (
	statusOpening    = "Opening"
	statusOpen       = "Open"
	statusRecovering = "Recovering"
	statusWaiting    = "WaitingForRecoveryShares"

	nodeTrusted = "Trusted"
	nodeRetired = "Retired"
)

// transitions are the statuses that a service may take on from another one. Opening
// can follow any: that is how CCF 1.x recovered.
var transitions = map[string][]string{
	statusOpening:    {statusOpen, statusWaiting},
	statusRecovering: {statusWaiting},
	statusWaiting:    {statusOpen},
	statusOpen:       {statusRecovering},
}

// auditNode is what the tables say of a node.
type auditNode struct {
	status string
	cert   *x509.Certificate // endorsed by the service; nil before it is trusted
}

// checkedCert is a node certificate whose issuer was checked.
type checkedCert struct {
	cert   *x509.Certificate
	issuer *ecdsa.PublicKey
}

// life returns the service identity in force, or nil.
func (a *auditor) life() *ServiceIdentity {
	if n := len(a.report.Services); n > 0 {
		return &a.report.Services[n-1]
	}
	return nil
}

// serviceInfo follows the service's identity and status.
func (a *auditor) serviceInfo(e *Entry, m *writeset.MapWrites) error {
	value, err := singleValue(*m)
	if err != nil {
		return err
	}
	var info struct{ Cert, Status string }
	if err := json.Unmarshal(value, &info); err != nil {
		return err
	}
	cert, err := parsePEMCert(info.Cert)
	if err != nil {
		return fmt.Errorf("service certificate: %w", err)
	}
	key, err := ecdsaKey(cert)
	if err != nil {
		return fmt.Errorf("service certificate: %w", err)
	}
	life := a.life()
	if err := checkTransition(life, info.Status); err != nil {
		return err
	}
	switch {
	case life == nil, !key.Equal(a.service):
		if life != nil && info.Status != statusOpening && info.Status != statusRecovering {
			return fmt.Errorf("%w: another service identity comes in with status %s", ErrUntrusted, info.Status)
		}
		id, err := keyID(key)
		if err != nil {
			return err
		}
		a.service = key
		a.report.Services = append(a.report.Services, ServiceIdentity{Cert: cert, KeyID: id, From: e.ID, Status: info.Status})
		if life != nil && e.Public.Map(previousIdentityMap) == nil {
			a.finding(e.ID, "a recovery that does not name the service identity before it")
		}
	default:
		life.Cert, life.Status = cert, info.Status
	}
	return nil
}

func checkTransition(life *ServiceIdentity, to string) error {
	if _, known := transitions[to]; !known {
		return fmt.Errorf("unknown service status %q", to)
	}
	if life == nil || to == statusOpening || to == life.Status {
		return nil
	}
	for _, s := range transitions[life.Status] {
		if s == to {
			return nil
		}
	}
	return fmt.Errorf("the service goes from status %s to %s", life.Status, to)
}

// previousIdentity checks that a recovery names the identity that was in force.
func (a *auditor) previousIdentity(e *Entry, m *writeset.MapWrites) error {
	value, err := singleValue(*m)
	if err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return err
	}
	cert, err := parsePEMCert(text)
	if err != nil {
		return err
	}
	n := len(a.report.Services)
	if n < 2 || a.report.Services[n-1].From != e.ID {
		return errors.New("the transaction is not a recovery")
	}
	before, err := ecdsaKey(a.report.Services[n-2].Cert)
	if err != nil {
		return err
	}
	if !before.Equal(cert.PublicKey) {
		return fmt.Errorf("%w: the recovery names another identity before it than the ledger shows", ErrUntrusted)
	}
	return nil
}

// nodesInfo follows the nodes' status. Ledgers of CCF 1.x hold the certificate here.
func (a *auditor) nodesInfo(_ *Entry, m *writeset.MapWrites) error {
	for _, key := range m.Removes {
		delete(a.nodes, string(key))
	}
	for _, w := range m.Writes {
		id := string(w.Key)
		if bytes.Equal(w.Value, []byte("null")) {
			delete(a.nodes, id)
			continue
		}
		var info struct{ Status, Cert string }
		if err := json.Unmarshal(w.Value, &info); err != nil {
			return fmt.Errorf("node %s: %w", id, err)
		}
		n := a.nodes[id]
		if n == nil {
			n = &auditNode{}
			a.nodes[id] = n
		}
		n.status = info.Status
		if info.Cert == "" || info.Status != nodeTrusted {
			continue
		}
		if err := a.endorse(id, n, info.Cert); err != nil {
			return err
		}
	}
	return nil
}

// endorsedCerts follows the certificates that the service gave to nodes.
func (a *auditor) endorsedCerts(_ *Entry, m *writeset.MapWrites) error {
	for _, key := range m.Removes {
		if n := a.nodes[string(key)]; n != nil {
			n.cert = nil
		}
	}
	for _, w := range m.Writes {
		id := string(w.Key)
		n := a.nodes[id]
		if n == nil {
			return fmt.Errorf("%w: a certificate for node %s, which is not known", ErrUntrusted, id)
		}
		// CCF before 2.0 stored the byte that ends a C string, too.
		text := strings.TrimSuffix(string(w.Value), "\x00")
		if err := a.endorse(id, n, text); err != nil {
			return err
		}
	}
	return nil
}

// endorse checks a node's certificate and notes it.
func (a *auditor) endorse(id string, n *auditNode, text string) error {
	cert, err := a.nodeCert(id, text)
	if err != nil {
		return err
	}
	n.cert = cert
	return nil
}

// nodeCert parses a node's certificate: it must be over the key that the node is
// named after, and issued by the service identity in force.
func (a *auditor) nodeCert(id, text string) (*x509.Certificate, error) {
	if c := a.certs[text]; c != nil && a.service.Equal(c.issuer) {
		return c.cert, nil
	}
	cert, err := parsePEMCert(text)
	if err != nil {
		return nil, fmt.Errorf("certificate of node %s: %w", id, err)
	}
	if _, err := ecdsaKey(cert); err != nil {
		return nil, fmt.Errorf("certificate of node %s: %w", id, err)
	}
	have, err := keyID(cert.PublicKey)
	if err != nil {
		return nil, err
	}
	if have != id {
		return nil, fmt.Errorf("%w: the certificate of node %s is over the key of node %s", ErrUntrusted, id, have)
	}
	life := a.life()
	if life == nil {
		return nil, fmt.Errorf("%w: a certificate for node %s before there is a service", ErrUntrusted, id)
	}
	if err := issuedBy(cert, life.Cert); err != nil {
		return nil, fmt.Errorf("%w: the certificate of node %s is not issued by the service: %w", ErrUntrusted, id, err)
	}
	if len(a.certs) >= maxCerts {
		clear(a.certs)
	}
	a.certs[text] = &checkedCert{cert: cert, issuer: a.service}
	return cert, nil
}

// maxCerts bounds the memory for certificates that were checked before.
const maxCerts = 1024

// endorsement checks what a service identity says of the one before it.
func (a *auditor) endorsement(e *Entry, m *writeset.MapWrites) error {
	value, err := singleValue(*m)
	if err != nil {
		return err
	}
	var row struct {
		Endorsement string `json:"endorsement"`
	}
	if err := json.Unmarshal(value, &row); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(row.Endorsement)
	if err != nil {
		return err
	}
	end, err := ParseIdentityEndorsement(raw)
	if err != nil {
		return err
	}
	if a.service == nil {
		return fmt.Errorf("%w: an endorsement before there is a service", ErrUntrusted)
	}
	if !end.Epoch.ordered() {
		a.finding(e.ID, "an identity endorsement whose epoch, %v to %v, ends before it begins: an old fault of CCF", end.Epoch.Begin, end.Epoch.End)
		return nil
	}
	if err := end.Verify(a.service); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return a.checkEpoch(end)
}

// checkEpoch compares what an endorsement states with what the ledger showed.
func (a *auditor) checkEpoch(end *IdentityEndorsement) error {
	key, err := end.PublicKey()
	if err != nil {
		return err
	}
	if end.Epoch.Open() {
		if !key.Equal(a.service) {
			return errors.New("an epoch without end for another key than the service's own")
		}
		return nil
	}
	n := len(a.report.Services)
	if n < 2 {
		return errors.New("an earlier identity is endorsed, and there was none")
	}
	before := &a.report.Services[n-2]
	switch {
	case !key.Equal(before.Cert.PublicKey):
		return fmt.Errorf("%w: another key is endorsed than that of the identity before", ErrUntrusted)
	case end.Epoch.End != before.LastSigned:
		return fmt.Errorf("the endorsed epoch ends at %v, the identity before signed last at %v", end.Epoch.End, before.LastSigned)
	case end.Epoch.Root != before.Root:
		return errors.New("the endorsed root is not the last one that the identity before signed")
	}
	return nil
}
