package gov

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv/writeset"
)

// CreateParams describe a service at its first transaction, and the node that makes it.
type CreateParams struct {
	// TxID is the position that the transaction will get: 2.1 at genesis.
	TxID writeset.TxID
	// ServiceCert is the service certificate, PEM, and ServiceData free-form JSON.
	ServiceCert string
	ServiceData tables.Data
	// NodeID, Node and NodeCert are the first node, its row and its endorsed
	// certificate, PEM. Create sets the row's status and code digest.
	NodeID   string
	Node     tables.Node
	NodeCert string
	// Sealed is the node's recovery key; nil where it keeps none.
	Sealed *SealedNode
	// Decision is the protocol that a recovering node takes part in; nil for none.
	Decision *Decision
	// Trusted is what the node's own attestation says; nodes that say the same may join.
	Trusted Attested
	// Genesis is nil when a service is recovered from the ledger of an earlier one.
	Genesis *Genesis
}

// Genesis is what the operator's configuration says of a new service.
type Genesis struct {
	Members      []NewMember
	Config       tables.Config
	Constitution string
}

// NewMember is a member that a service begins with.
type NewMember struct {
	// Cert is the certificate, PEM; EncryptionKey an RSA public key, PEM, or "".
	Cert          string
	EncryptionKey string
	Data          tables.Data
	// RecoveryRole is "" for the role that follows from the key.
	RecoveryRole tables.RecoveryRole
}

// Attested is what an attestation says of a node.
type Attested struct {
	// Measurement of the code; on virtual nodes its bytes are text.
	Measurement []byte
	// HostData is a digest in hex, "" when there is none.
	HostData string
	// SecurityPolicy is the raw text whose digest HostData is, "" when not known.
	SecurityPolicy string
	// UVM are the endorsements of the utility VM (SNP only), nil when there are none.
	UVM *UVMEndorsement
	// CPUID (8 hex digits) and TCB are the processor's (SNP only), nil when unknown.
	CPUID string
	TCB   *tables.TCBVersion
}

// UVMEndorsement names a signer of utility VMs and the least version of a feed.
type UVMEndorsement struct{ DID, Feed, SVN string }

// Create writes the first transaction of a service: at genesis all of it, after a
// disaster the new identity over what the ledger's public state holds. The order of
// rows and every value are CCF's.
func Create(tx tables.Writer, p CreateParams) error {
	recovering := p.Genesis == nil
	if err := p.Decision.count(tx); err != nil { // before its nodes are retired
		return err
	}
	if err := createService(tx, p, recovering); err != nil {
		return err
	}
	if err := retireNodes(tx); err != nil {
		return err
	}
	if !recovering {
		if err := writeGenesis(tx, *p.Genesis); err != nil {
			return err
		}
	}
	if err := tables.NodesEndorsedCertificates.Put(tx, p.NodeID, p.NodeCert); err != nil {
		return err
	}
	node := p.Node
	node.Status = tables.NodeTrusted
	node.CodeDigest = hex.EncodeToString(p.Trusted.Measurement)
	if err := tables.NodesInfo.Put(tx, p.NodeID, node); err != nil {
		return err
	}
	if err := p.Sealed.put(tx, p.NodeID); err != nil {
		return err
	}
	if err := trust(tx, node.Quote.Format, p.Trusted, recovering); err != nil {
		return err
	}
	for _, name := range []string{
		tables.NameRDPNodes, tables.NameRDPGossip, tables.NameRDPChosenNode, tables.NameRDPVotes,
		tables.NameRDPState, tables.NameRDPTimeoutState, tables.NameRDPOpenKind,
	} {
		tx.Clear(name)
	}
	return p.Decision.start(tx)
}

func createService(tx tables.Writer, p CreateParams, recovering bool) error {
	previous, ok, err := tables.ServiceInfo.Get(tx)
	if err != nil {
		return err
	}
	if ok && previous.Cert == p.ServiceCert {
		return fmt.Errorf("creating the service: it is created already")
	}
	if recovering && !ok {
		return fmt.Errorf("recovering the service: the ledger holds none")
	}
	var count uint64
	s := tables.Service{
		Cert: p.ServiceCert, Status: tables.ServiceOpening, Data: p.ServiceData,
		CreateTxID: p.TxID.String(), RecoveryCount: &count,
	}
	if recovering {
		s.Status = tables.ServiceRecovering
	}
	if ok {
		created, err := writeset.ParseTxID(previous.CreateTxID)
		if err != nil {
			return fmt.Errorf("recovering the service: its create transaction %q: %w", previous.CreateTxID, err)
		}
		s.PreviousIdentityVersion = &created.Seqno
		count = tables.Or(previous.RecoveryCount, 0) + 1
		root, err := signedRoot(tx)
		if err != nil {
			return err
		}
		if root == "" {
			return fmt.Errorf("recovering the service: its ledger holds no signature")
		}
		if err := tables.PreviousIdentity.Put(tx, previous.Cert); err != nil {
			return err
		}
		if err := tables.PreviousRoot.Put(tx, root); err != nil {
			return err
		}
	}
	return tables.ServiceInfo.Put(tx, s)
}

// retireNodes ends the nodes of an earlier life of the service.
func retireNodes(tx tables.Writer) error {
	nodes, err := tables.NodesInfo.All(tx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Value.Status == tables.NodeRetired {
			continue
		}
		n.Value.Status = tables.NodeRetired
		if err := tables.NodesInfo.Put(tx, n.Key, n.Value); err != nil {
			return err
		}
	}
	return nil
}

func writeGenesis(tx tables.Writer, g Genesis) error {
	for _, m := range g.Members {
		if err := addMember(tx, m); err != nil {
			return err
		}
	}
	if err := tables.ServiceConfig.Put(tx, g.Config); err != nil {
		return err
	}
	return tables.Constitution.Put(tx, g.Constitution)
}

// addMember writes the rows of an accepted member. One that is there already stays.
func addMember(tx tables.Writer, m NewMember) error {
	id, err := certID(m.Cert)
	if err != nil {
		return fmt.Errorf("adding a member: %w", err)
	}
	if tables.MembersCerts.Has(tx, id) {
		return nil
	}
	switch {
	case m.EncryptionKey == "" && m.RecoveryRole != "" && m.RecoveryRole != tables.NonParticipant:
		return fmt.Errorf("Member %s cannot be added as recovery_role has a value set but no encryption public key is specified", id)
	case m.EncryptionKey != "" && m.RecoveryRole == tables.NonParticipant:
		return fmt.Errorf("Recovery member %s cannot be added as with recovery role value of %s", id, m.RecoveryRole)
	}
	root, err := signedRoot(tx)
	if err != nil {
		return err
	}
	if err := tables.MembersCerts.Put(tx, id, m.Cert); err != nil {
		return err
	}
	info := tables.Member{Status: tables.MemberAccepted, Data: m.Data, RecoveryRole: m.RecoveryRole}
	if err := tables.MembersInfo.Put(tx, id, info); err != nil {
		return err
	}
	if m.EncryptionKey != "" {
		if err := tables.MembersEncryptionKeys.Put(tx, id, m.EncryptionKey); err != nil {
			return err
		}
	}
	return tables.MembersAcks.Put(tx, id, tables.MemberAck{StateDigest: root})
}

// certID returns the id of the holder of a certificate, PEM.
func certID(pem string) (string, error) {
	cert, err := identity.ParseCertificate([]byte(pem))
	if err != nil {
		return "", err
	}
	return identity.CertID(cert.Raw), nil
}

// trust lets nodes in that attest to the same as the first one.
func trust(tx tables.Writer, format string, a Attested, recovering bool) error {
	measurement := hex.EncodeToString(a.Measurement)
	switch format {
	case tables.QuoteVirtual:
		if err := tables.VirtualMeasurements.Put(tx, string(a.Measurement), tables.AllowedToJoin); err != nil {
			return err
		}
		if a.HostData == "" {
			return nil
		}
		return tables.VirtualHostData.Put(tx, a.HostData, tables.Unit{})
	case tables.QuoteSGX:
		return tables.CodeIDs.Put(tx, measurement, tables.AllowedToJoin)
	case tables.QuoteSNP:
		// Endorsements say more than one measurement does, and outlast it.
		if a.UVM == nil {
			if err := tables.SNPMeasurements.Put(tx, measurement, tables.AllowedToJoin); err != nil {
				return err
			}
		} else if err := trustUVM(tx, *a.UVM, recovering); err != nil {
			return err
		}
		if err := tables.SNPHostData.Put(tx, a.HostData, a.SecurityPolicy); err != nil {
			return err
		}
		if a.TCB == nil {
			return nil
		}
		return tables.SNPTCBVersions.Put(tx, a.CPUID, *a.TCB)
	}
	return fmt.Errorf("trusting the first node: quote format %q is not known", format)
}

// trustUVM records the node's own endorsement; in a recovery a lower version that is
// recorded already stays.
func trustUVM(tx tables.Writer, u UVMEndorsement, recovering bool) error {
	feeds := map[string]tables.UVMFeed{}
	if recovering {
		known, ok, err := tables.SNPUVMEndorsements.Get(tx, u.DID)
		if err != nil {
			return err
		}
		if ok {
			feeds = known
		}
	}
	if old, ok := feeds[u.Feed]; ok {
		was, err := strconv.ParseUint(old.SVN, 10, 64)
		if err != nil {
			return fmt.Errorf("recorded UVM version %q: %w", old.SVN, err)
		}
		now, err := strconv.ParseUint(u.SVN, 10, 64)
		if err != nil {
			return fmt.Errorf("UVM version %q: %w", u.SVN, err)
		}
		if was <= now {
			return nil
		}
	}
	feeds[u.Feed] = tables.UVMFeed{SVN: u.SVN}
	return tables.SNPUVMEndorsements.Put(tx, u.DID, feeds)
}
