package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/raftfsm"
)

// genesis is what a new service's first transaction is made of.
type genesis struct {
	params gov.CreateParams
}

// prepareStart makes the identities of a new service and everything that its
// genesis transaction will say.
func (n *Node) prepareStart(ctx context.Context) error {
	start := n.cfg.Command.Start
	subject, err := identity.ParseSubject(start.ServiceSubjectName)
	if err != nil {
		return fmt.Errorf("command.start.service_subject_name: %w", err)
	}
	if err := n.beginLife(ctx, 1, subject, start.InitialServiceCertificateValidityDays); err != nil {
		return err
	}
	if n.genesis.params.Genesis, err = n.founders(); err != nil {
		return err
	}
	return n.saveKeys()
}

// beginLife makes new keys, a ledger secret from seqno first on, and what the service's
// first transaction says, at genesis and after a disaster.
func (n *Node) beginLife(ctx context.Context, first uint64, subject []byte, days int64) (err error) {
	now := n.opts.Now().UTC().Truncate(time.Second)
	if n.keys, err = newKeys(n.cfg.NodeCertificate.CurveID); err != nil {
		return err
	}
	if n.certs, err = newCertificates(n.cfg, n.keys, n.listeners.publishedRPC(), now); err != nil {
		return err
	}
	secret, err := newLedgerSecret()
	if err != nil {
		return err
	}
	n.secrets = new(ledger.Secrets)
	if err := n.secrets.Add(first, secret); err != nil {
		return err
	}
	servicePEM, nodePEM, err := n.newIdentities(now, subject, days)
	if err != nil {
		return err
	}
	if err := n.use(nodePEM); err != nil {
		return err
	}
	n.genesis, err = n.newGenesis(ctx, servicePEM, nodePEM)
	return err
}

// newIdentities makes the service certificate and the node certificate under it.
func (n *Node) newIdentities(now time.Time, subject []byte, days int64) (service, node string, err error) {
	v, err := identity.ValidFor(now, int(days))
	if err != nil {
		return "", "", err
	}
	servicePEM, err := identity.SelfSignedService(n.keys.service, subject, v)
	if err != nil {
		return "", "", fmt.Errorf("signing the service certificate: %w", err)
	}
	cert, err := identity.ParseCertificate(servicePEM)
	if err != nil {
		return "", "", err
	}
	n.identity = cert
	if v, err = identity.ValidFor(now, int(n.cfg.NodeCertificate.InitialValidityDays)); err != nil {
		return "", "", err
	}
	nodePEM, err := identity.EndorseNode(n.certs.csr, n.keys.service, cert, v)
	if err != nil {
		return "", "", fmt.Errorf("endorsing the node: %w", err)
	}
	return string(servicePEM), string(nodePEM), nil
}

// founders reads what the configuration gives a new service: members, constitution and
// service configuration.
func (n *Node) founders() (*gov.Genesis, error) {
	members, err := n.members()
	if err != nil {
		return nil, err
	}
	constitution, err := n.constitution()
	if err != nil {
		return nil, err
	}
	config, err := serviceConfig(n.cfg.Command.Start.ServiceConfiguration)
	if err != nil {
		return nil, err
	}
	return &gov.Genesis{Members: members, Config: config, Constitution: constitution}, nil
}

// newGenesis attests the node and reads the service's data.
func (n *Node) newGenesis(ctx context.Context, servicePEM, nodePEM string) (*genesis, error) {
	trusted, quote, err := n.attest(ctx)
	if err != nil {
		return nil, err
	}
	row, err := n.row(quote)
	if err != nil {
		return nil, err
	}
	serviceData, err := n.jsonFile(n.cfg.ServiceDataJSONFile)
	if err != nil {
		return nil, fmt.Errorf("service_data_json_file: %w", err)
	}
	return &genesis{params: gov.CreateParams{
		ServiceCert: servicePEM, ServiceData: serviceData, NodeID: n.keys.id, Node: row, NodeCert: nodePEM, Trusted: trusted, Sealed: n.sealing.sealed(),
		Decision: n.decider,
	}}, nil
}

// serviceConfig keeps the keys that the configuration gave, as CCF does.
func serviceConfig(c config.ServiceConfiguration) (tables.Config, error) {
	out := tables.Config{RecoveryThreshold: uint64(c.RecoveryThreshold)}
	if len(c.Raw) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(c.Raw, &out); err != nil {
		return out, fmt.Errorf("command.start.service_configuration: %w", err)
	}
	out.RecoveryThreshold = uint64(c.RecoveryThreshold) // 0 in the file means: as many as there are
	return out, nil
}

// members reads the files of the initial members.
func (n *Node) members() ([]gov.NewMember, error) {
	var out []gov.NewMember
	for i, m := range n.cfg.Command.Start.Members {
		where := fmt.Sprintf("command.start.members[%d]", i)
		cert, err := n.fs.ReadFile(m.CertificateFile)
		if err != nil {
			return nil, fmt.Errorf("%s.certificate_file: %w", where, err)
		}
		member := gov.NewMember{Cert: string(cert), RecoveryRole: tables.RecoveryRole(m.RecoveryRole)}
		if m.EncryptionPublicKeyFile != "" {
			key, err := n.fs.ReadFile(m.EncryptionPublicKeyFile)
			if err != nil {
				return nil, fmt.Errorf("%s.encryption_public_key_file: %w", where, err)
			}
			member.EncryptionKey = string(key)
		}
		if member.Data, err = n.jsonFile(m.DataJSONFile); err != nil {
			return nil, fmt.Errorf("%s.data_json_file: %w", where, err)
		}
		out = append(out, member)
	}
	return out, nil
}

// constitution joins the constitution's files with newlines, as CCF does.
func (n *Node) constitution() (string, error) {
	var parts []string
	for i, path := range n.cfg.Command.Start.ConstitutionFiles {
		text, err := n.fs.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("command.start.constitution_files[%d]: %w", i, err)
		}
		parts = append(parts, string(text))
	}
	return strings.Join(parts, "\n"), nil
}

// begin waits until the node leads, makes the genesis transaction of a new service,
// and opens the node to the network once what it begins with is committed.
func (n *Node) begin(ctx context.Context) error {
	if n.joins() {
		return n.joinService(ctx)
	}
	n.replica().Elect()
	if err := n.awaitLead(ctx); err != nil {
		return ignoreStop(ctx, err)
	}
	var id raftfsm.TxID
	if n.genesis == nil {
		if err := n.announce(ctx); err != nil {
			return ignoreStop(ctx, fmt.Errorf("announcing the node's addresses: %w", err))
		}
		id = n.replica().Position().Head
	} else {
		var err error
		if id, err = n.create(ctx); err != nil {
			return ignoreStop(ctx, err)
		}
	}
	if status, err := n.replica().Wait(ctx, id); err != nil || status != ledger.StatusCommitted {
		return ignoreStop(ctx, fmt.Errorf("transaction %v, with which the node begins, is %s: %w", id, status, err))
	}
	n.state.Store(statePartOfNetwork)
	if n.recovery.Load() != nil {
		n.state.Store(statePublic)
	}
	service, _, err := tables.ServiceInfo.Get(tables.View(n.store.Committed()))
	if err != nil {
		return err
	}
	if err := writePublic(n.fs, n.cfg.Command.ServiceCertificateFile, []byte(service.Cert)); err != nil {
		return err
	}
	n.log.Info("the node is part of the network", "node", n.keys.id, "from", id.String())
	return nil
}

func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// awaitLead waits until this node, the only voter, leads.
func (n *Node) awaitLead(ctx context.Context) error {
	select {
	case <-n.led:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
