package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/server/api"
)

// errDecided ends a node whose service is opened at another location; it is a clean end.
var errDecided = errors.New("the service is opened at another location")

// newDecision is the node's part in finding the location where a lost service goes on; nil
// where it takes none.
func (n *Node) newDecision() *gov.Decision {
	cfg := n.decisionConfig()
	if cfg == nil {
		return nil
	}
	d := &gov.Decision{}
	for _, l := range cfg.ExpectedLocations {
		d.Expected = append(d.Expected, l.Name)
	}
	return d
}

// decisionConfig is how the node decides; nil where it does not.
func (n *Node) decisionConfig() *config.RecoveryDecisionProtocol {
	if n.cfg.SealingRecovery == nil || n.cfg.Command.Type != config.CommandRecover {
		return nil
	}
	return n.cfg.SealingRecovery.RecoveryDecisionProtocol
}

// runDecision takes part until the service is open, here or elsewhere. What goes wrong
// with a message is tried again.
func (n *Node) runDecision(ctx context.Context) error {
	cfg := n.decisionConfig()
	if cfg == nil {
		return nil
	}
	retry := time.NewTicker(cfg.MessageRetryTimeout)
	defer retry.Stop()
	for n.uncreated(n.store.Committed()) { // what the tables say is the earlier life's
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
	}
	last, err := n.ledger.Read(n.recovery.Load().target)
	if err != nil {
		return err
	}
	n.log.Info("Starting recovery-decision-protocol", "location", n.cfg.SealingRecovery.Location.Name, "expected", len(cfg.ExpectedLocations), "recovered", last.ID.String())
	g, ctx := errgroup.WithContext(ctx)
	for _, to := range cfg.ExpectedLocations {
		t := n.newDecisionTarget(tables.Location{Name: to.Name, Address: to.Address}, last.ID)
		g.Go(func() error { return t.run(ctx, cfg.MessageRetryTimeout) })
	}
	if cfg.FailoverTimeout > 0 {
		g.Go(func() error { return n.runFailover(ctx, cfg.FailoverTimeout) })
	}
	if err := g.Wait(); !errors.Is(err, errDecided) {
		return err
	}
	return n.elsewhere(tables.View(n.store.Head()))
}

// runFailover goes on without those that were not heard in time.
func (n *Node) runFailover(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		state, _, err := tables.DecisionState.Get(tables.View(n.store.Head()))
		if err != nil || state == tables.DecisionOpen {
			return err
		}
		if !n.Position().Primary {
			continue
		}
		err = n.transact(ctx, func(tx *kv.Tx) error { return n.decider.Advance(tx, n.Effects(tx), true) })
		if err != nil && ctx.Err() == nil {
			n.log.Warn("recovery-decision-protocol failed to advance state", "err", err)
		}
	}
}

// decisionTarget is a location that this node tells of itself.
type decisionTarget struct {
	n       *Node
	to      tables.Location
	reached ledger.TxID // the last that this node's ledger held
	http    *http.Client
	said    string // the last that went wrong
}

// newDecisionTarget talks to whoever is at the location: nothing that is told is secret,
// and the evidence in it shows who tells.
func (n *Node) newDecisionTarget(to tables.Location, reached ledger.TxID) *decisionTarget {
	return &decisionTarget{n: n, to: to, reached: reached, http: &http.Client{
		Timeout: n.cfg.ClientConnectionTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return n.certs.self.Get() },
		}},
	}}
}

// run tells the location what the state asks for, again and again. It ends with errDecided
// when another location opens the service.
func (t *decisionTarget) run(ctx context.Context, every time.Duration) error {
	defer t.http.CloseIdleConnections()
	retry := time.NewTicker(every)
	defer retry.Stop()
	for {
		at := tables.View(t.n.store.Head())
		state, _, err := tables.DecisionState.Get(at)
		switch {
		case err != nil || state == tables.DecisionOpen:
			return err
		case state == tables.DecisionJoining:
			return errDecided
		}
		if err := t.tell(ctx, at, state); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
	}
}

// tell sends the messages of a state. Errors: those of this node alone.
func (t *decisionTarget) tell(ctx context.Context, at tables.Reader, state string) error {
	m, err := t.n.decisionMessage(at)
	if err != nil {
		return err
	}
	gossip := m
	gossip.TxID = t.reached.String()
	switch state {
	case tables.DecisionGossiping:
		t.send(ctx, "gossip", gossip)
	case tables.DecisionVoting:
		chosen, _, err := tables.DecisionChosen.Get(at)
		if err != nil {
			return err
		}
		if chosen == t.to.Name {
			t.send(ctx, "vote", m)
		}
		t.send(ctx, "gossip", gossip) // who lags behind is to vote as well
	case tables.DecisionOpening:
		if t.to.Name == t.n.cfg.SealingRecovery.Location.Name {
			return nil
		}
		if gossip.PreviousService, err = gov.PreviousFingerprint(at); err != nil {
			return err
		}
		t.send(ctx, "iamopen", gossip)
	}
	return nil
}

// decisionMessage is what every message says of this node.
func (n *Node) decisionMessage(at tables.Reader) (gov.DecisionMessage, error) {
	row, ok, err := tables.NodesInfo.Get(at, n.keys.id)
	if err != nil {
		return gov.DecisionMessage{}, err
	}
	if !ok {
		return gov.DecisionMessage{}, errors.New("this node has no row")
	}
	own := n.cfg.SealingRecovery.Location
	return gov.DecisionMessage{Info: tables.DecidingNode{
		Quote: row.Quote, Location: tables.Location{Name: own.Name, Address: own.Address}, ServiceCert: n.identity.Raw,
	}}, nil
}

// send sends one message. That a location does not answer, or does not want the message any
// more, is nothing that this node could do about.
func (t *decisionTarget) send(ctx context.Context, what string, m gov.DecisionMessage) {
	err := t.put(ctx, what, m)
	if ctx.Err() != nil {
		return
	}
	said := what
	if err != nil {
		said += ": " + err.Error()
	}
	if said != t.said {
		t.n.log.Debug("recovery-decision-protocol", "to", t.to.Name, "message", what, "err", err)
		t.said = said
	}
}

func (t *decisionTarget) put(ctx context.Context, what string, m gov.DecisionMessage) error {
	body, err := tables.Marshal(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+t.to.Address+"/node/recovery_decision_protocol/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set(api.HeaderContentType, api.TypeJSON)
	resp, err := t.http.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return errors.Join(err, resp.Body.Close())
}

// elsewhere leaves the service to the location that was chosen: its certificate is put
// where a node that joins looks for it.
func (n *Node) elsewhere(at tables.Reader) error {
	chosen, _, err := tables.DecisionChosen.Get(at)
	if err != nil {
		return err
	}
	winner, ok, err := tables.DecisionNodes.Get(at, chosen)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("Recovery-decision-protocol chosen node %s not found", chosen)
	}
	cert, err := identity.ParseCertificate(identity.CertificatePEM(winner.ServiceCert))
	if err != nil {
		return fmt.Errorf("the service certificate of location %s: %w", chosen, err)
	}
	if err := writePublic(n.fs, n.cfg.Command.ServiceCertificateFile, identity.CertificatePEM(cert.Raw)); err != nil {
		return err
	}
	// Whoever starts the node again needs no more than what stands here.
	fingerprint := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return fmt.Errorf("%w: %s at %s, with fingerprint %s; its certificate is in %s: start this node again with command Join and empty directories",
		errDecided, winner.Location.Name, winner.Location.Address, hex.EncodeToString(fingerprint[:]), n.cfg.Command.ServiceCertificateFile)
}
