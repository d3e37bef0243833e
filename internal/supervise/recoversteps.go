package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"

	"chancery/client"
	"chancery/gov/tables"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/server/api"
)

// driver does what the members whose keys are here have to do. Others may do the rest
// meanwhile.
type driver struct {
	*recovering
	service  *client.Client
	proposal string          // that opens the service; "" before it is made
	voted    map[string]bool // by member's name
	shared   map[string]bool // who has submitted a share, or has none
}

// errNotYet says that the next step is to be looked for again.
var errNotYet = errors.New("the service is not open yet")

// step does what can be done now; nil says that the service is open.
func (d *driver) step(ctx context.Context) error {
	info, err := d.service.ServiceInfo(ctx)
	if err != nil {
		return err
	}
	var state api.State
	if err := d.service.Get(ctx, "/node/state", nil, &state); err != nil {
		return err
	}
	switch {
	case state.State == "ReadingPrivateLedger":
		d.say("the node reads the private state")
		return errNotYet
	case info.Status == string(tables.ServiceOpen):
		_, err := d.service.Do(ctx, client.Request{Path: "/node/ready/app"})
		return err
	case info.Status == string(tables.ServiceRecovering):
		d.sayFailure(ctx, d.open(ctx, info))
		return errNotYet
	case info.Status == string(tables.ServiceWaiting):
		d.sayFailure(ctx, d.share(ctx, info))
		return errNotYet
	}
	return fmt.Errorf("the service is %s", info.Status)
}

// sayFailure tells why a step failed. It is tried again: somebody may mend it.
func (d *driver) sayFailure(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		d.wait("%v", err)
	}
}

// open proposes that the service goes on under its new certificate, and votes for it.
func (d *driver) open(ctx context.Context, info *client.ServiceInfo) error {
	if d.proposal == "" {
		if err := d.propose(ctx, info); err != nil {
			return err
		}
	}
	if d.proposal == "" {
		return nil // no member is here: others propose
	}
	p, err := d.service.Proposal(ctx, d.proposal)
	if err != nil {
		return err
	}
	for _, k := range d.o.Members {
		if p.State != client.ProposalOpen {
			break
		}
		if d.voted[k.Name] {
			continue
		}
		m, err := k.member(d.service)
		if err != nil {
			return err
		}
		if p, err = m.Vote(ctx, d.proposal, client.BallotYes); err != nil {
			return fmt.Errorf("the vote of %s: %w", k.Name, err)
		}
		d.voted[k.Name] = true
		d.say("%s votes yes: proposal %s is %s", k.Name, d.proposal, p.State)
	}
	switch p.State {
	case client.ProposalOpen:
		d.wait("waiting for the votes of other members on proposal %s, which opens the service: chancery gov vote %s yes --url %s --service-cert %s", d.proposal, d.proposal, d.at.url(), d.home.file("service_cert.pem"))
	case client.ProposalAccepted:
	default:
		reason := ""
		if p.Failure != nil {
			reason = ": " + p.Failure.Reason
		}
		d.wait("proposal %s, which opens the service, is %s%s; waiting for another one", d.proposal, p.State, reason)
	}
	return nil
}

func (d *driver) propose(ctx context.Context, info *client.ServiceInfo) error {
	r, err := d.service.RecoveryStatus(ctx)
	if err != nil {
		return err
	}
	d.say("the earlier service's ledger ends at %s. Compare with receipts in hand: what ends before one of them is an older copy", r.LastTxID)
	previous, err := os.ReadFile(d.o.Previous)
	if err != nil {
		return err
	}
	text, err := proposal(action{"transition_service_to_open", object{
		"previous_service_identity": string(previous), "next_service_identity": info.Certificate,
	}})
	if err != nil {
		return err
	}
	if len(d.o.Members) == 0 {
		d.wait("waiting for members to open the service at %s (no member's key was given): its certificate is %s", d.at.url(), d.home.file("service_cert.pem"))
		return nil
	}
	m, err := d.o.Members[0].member(d.service)
	if err != nil {
		return err
	}
	p, err := m.Propose(ctx, text)
	if err != nil {
		return fmt.Errorf("the proposal of %s: %w", d.o.Members[0].Name, err)
	}
	d.proposal = p.ID
	d.say("%s proposes %s, to open the service", d.o.Members[0].Name, p.ID)
	return nil
}

// share submits the shares that can be opened here.
func (d *driver) share(ctx context.Context, info *client.ServiceInfo) error {
	for _, k := range d.o.Members {
		if d.shared[k.Name] {
			continue
		}
		d.shared[k.Name] = true
		if k.PrivateEncryption == "" {
			d.say("%s has no encryption key here, and submits no share", k.Name)
			continue
		}
		r, err := d.submit(ctx, k)
		if err != nil {
			d.say("the share of %s: %v", k.Name, err)
			continue
		}
		d.say("the share of %s: %s", k.Name, r.Message)
		if r.Submitted >= r.Threshold || r.FullKeySubmitted {
			return nil
		}
	}
	need := 0
	if info.Configuration != nil {
		need = info.Configuration.RecoveryThreshold
	}
	d.wait("waiting for the shares of other members (%d are needed): chancery recover share submit --url %s --service-cert %s", need, d.at.url(), d.home.file("service_cert.pem"))
	return nil
}

func (d *driver) submit(ctx context.Context, k MemberKeys) (*client.Recovery, error) {
	m, err := k.member(d.service)
	if err != nil {
		return nil, err
	}
	encrypted, err := d.service.EncryptedShare(ctx, m.ID())
	if err != nil {
		return nil, err
	}
	key, err := identity.ReadRSAKey(durable.OS(), k.PrivateEncryption)
	if err != nil {
		return nil, err
	}
	share, err := client.DecryptShare(key, encrypted)
	if err != nil {
		return nil, err
	}
	defer clear(share)
	return m.SubmitShare(ctx, share)
}
