package gov

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync/atomic"

	"chancery/attest"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/kv/writeset"
)

// Decision is the protocol by which the nodes of a service that was lost whole find the
// one whose ledger goes furthest, and open the service there without being asked: CCF's
// recovery decision protocol. Each node has a service of its own meanwhile, and keeps what
// it has heard in the tables of that.
//
//	Gossiping  until all expected locations have told how far their ledgers go
//	Voting     for the furthest, until a majority of the expected has voted for this one
//	Opening    here; the others are told
//	Joining    another one opens: this node ends, to join it
//
// A timeout goes on with what is there, at the danger that two nodes open.
type Decision struct {
	Expected []string // names of locations, this node's too

	known atomic.Int64 // so many locations had the service when it was lost
}

// DecisionMessage is what one node tells another.
type DecisionMessage struct {
	Info tables.DecidingNode `json:"info"`
	// TxID is the last signed one that the sender recovered.
	TxID string `json:"txid,omitempty"`
	// PreviousService is the hex SHA-256 of the key (SPKI DER) of the service that was lost.
	PreviousService string `json:"prev_service_fingerprint,omitempty"`
}

// CodeInvalidNodeState and CodeNodeAlreadyExists are CCF's codes of refused messages.
const (
	CodeInvalidNodeState  = "InvalidNodeState"
	CodeNodeAlreadyExists = "NodeAlreadyExists"
)

func decisionState(format string, args ...any) error {
	return refuse(Invalid, CodeInvalidNodeState, format, args...)
}

// startDecision is part of the create transaction of a node that takes part.
func (d *Decision) start(tx tables.Writer) error {
	if d == nil {
		return nil
	}
	if err := tables.DecisionState.Put(tx, tables.DecisionGossiping); err != nil {
		return err
	}
	return tables.DecisionTimeout.Put(tx, tables.DecisionGossiping)
}

// hear checks who speaks, and records it. Errors: a *Error, attest's sentinels.
func (d *Decision) hear(ctx context.Context, tx *kv.Tx, v attest.Verifier, key []byte, m DecisionMessage) error {
	if d == nil {
		return decisionState("This node cannot do recovery-decision-protocol")
	}
	q := m.Info.Quote
	_, err := attest.Check(ctx, v, attest.Evidence{
		Format: attest.Format(q.Format), Quote: q.Quote, Endorsements: q.Endorsements,
		UVMEndorsements: q.UVMEndorsements, EndorsedTCB: q.EndorsedTCB,
	}, joinPolicy{tx}, sha256.Sum256(key))
	if err != nil {
		return err
	}
	name := m.Info.Location.Name
	if !slices.Contains(d.Expected, name) {
		return decisionState("Recovery-decision-protocol message from location %s is invalid: this location is not expected", name)
	}
	known, ok, err := tables.DecisionNodes.Get(tx, name)
	if err != nil {
		return err
	}
	if ok {
		if !bytes.Equal(known.NodeKey, key) {
			return refuse(Invalid, CodeNodeAlreadyExists, "Recovery-decision-protocol message from location %s is invalid: certificate public key has changed", name)
		}
		return nil
	}
	m.Info.NodeKey = key
	return tables.DecisionNodes.Put(tx, name, m.Info)
}

// Gossip hears how far a location's ledger goes. key is the sender's (SPKI DER), which TLS
// has proven.
func (d *Decision) Gossip(ctx context.Context, tx *kv.Tx, fx Effects, v attest.Verifier, key []byte, m DecisionMessage) error {
	if err := d.hear(ctx, tx, v, key, m); err != nil {
		return err
	}
	if _, err := writeset.ParseTxID(m.TxID); err != nil {
		return refuse(Invalid, CodeInvalidInput, "txid: %s", err)
	}
	chosen, ok, err := tables.DecisionChosen.Get(tx)
	if err != nil {
		return err
	}
	if ok {
		return failed("This node has already voted for %s", chosen)
	}
	if name := m.Info.Location.Name; !tables.DecisionGossip.Has(tx, name) {
		if err := tables.DecisionGossip.Put(tx, name, m.TxID); err != nil {
			return err
		}
	}
	return d.Advance(tx, fx, false)
}

// Vote hears that a location wants the service to be opened here.
func (d *Decision) Vote(ctx context.Context, tx *kv.Tx, fx Effects, v attest.Verifier, key []byte, m DecisionMessage) error {
	if err := d.hear(ctx, tx, v, key, m); err != nil {
		return err
	}
	if name := m.Info.Location.Name; !tables.DecisionVotes.Has(tx, name) {
		if err := tables.DecisionVotes.Put(tx, name, tables.Unit{}); err != nil {
			return err
		}
	}
	return d.Advance(tx, fx, false)
}

// IAmOpen hears that another location opens the service. The recovery of another service is
// none of it.
func (d *Decision) IAmOpen(ctx context.Context, tx *kv.Tx, v attest.Verifier, key []byte, m DecisionMessage) error {
	if err := d.hear(ctx, tx, v, key, m); err != nil {
		return err
	}
	state, ok, err := tables.DecisionState.Get(tx)
	switch {
	case err != nil:
		return err
	case !ok:
		return failed("Recovery-decision-protocol state machine state is not set")
	case state == tables.DecisionOpening || state == tables.DecisionOpen:
		return decisionState("Node is already open, ignoring iamopen request")
	}
	own, err := PreviousFingerprint(tx)
	if err != nil {
		return err
	}
	if m.PreviousService != own {
		return decisionState("Recovery-decision-protocol message from location %s is of the recovery of another service", m.Info.Location.Name)
	}
	if err := tables.DecisionState.Put(tx, tables.DecisionJoining); err != nil {
		return err
	}
	return tables.DecisionChosen.Put(tx, m.Info.Location.Name)
}

// PreviousFingerprint names the key of the service that was lost: hex SHA-256 of SPKI DER.
func PreviousFingerprint(r tables.Reader) (string, error) {
	pem, ok, err := tables.PreviousIdentity.Get(r)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", failed("Previous service identity not found in table but expected as recovering")
	}
	cert, err := identity.ParseCertificate([]byte(pem))
	if err != nil {
		return "", fmt.Errorf("the previous service's identity: %w", err)
	}
	digest := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(digest[:]), nil
}

// Advance goes on as far as what was heard allows; with a timeout, to the next state in any
// case, if the state is as old as the timeout.
func (d *Decision) Advance(tx *kv.Tx, fx Effects, timeout bool) error {
	if d == nil {
		return decisionState("This node cannot do recovery-decision-protocol")
	}
	if err := d.advance(tx, fx, timeout); err != nil {
		return failed("Failed to advance recovery-decision-protocol state: %s", err)
	}
	return nil
}

func (d *Decision) advance(tx *kv.Tx, fx Effects, timeout bool) error {
	state, ok, err := tables.DecisionState.Get(tx)
	if err != nil {
		return err
	}
	limit, timed, err := tables.DecisionTimeout.Get(tx)
	if err != nil {
		return err
	}
	if !ok || !timed {
		return fmt.Errorf("Recovery-decision-protocol state not set, cannot advance protocol")
	}
	late := timeout && state == limit
	switch state {
	case tables.DecisionGossiping:
		err = d.choose(tx, late)
	case tables.DecisionVoting:
		err = d.open(tx, fx, late)
	case tables.DecisionOpening:
		if late {
			err = tables.DecisionState.Put(tx, tables.DecisionOpen)
		}
	}
	if err != nil || !timeout {
		return err
	}
	switch limit {
	case tables.DecisionGossiping:
		return tables.DecisionTimeout.Put(tx, tables.DecisionVoting)
	case tables.DecisionVoting:
		return tables.DecisionTimeout.Put(tx, tables.DecisionOpening)
	}
	return nil
}

// choose decides for the location whose ledger goes furthest; of equals, for the one whose
// name is last.
func (d *Decision) choose(tx *kv.Tx, late bool) error {
	heard, err := tables.DecisionGossip.All(tx)
	if err != nil {
		return err
	}
	if len(heard) < len(d.Expected) && !late {
		return nil
	}
	if len(heard) == 0 {
		return fmt.Errorf("No gossip addresses provided yet")
	}
	reached := make(map[string]writeset.TxID, len(heard))
	for _, g := range heard {
		if reached[g.Key], err = writeset.ParseTxID(g.Value); err != nil {
			return err
		}
	}
	best := slices.MaxFunc(heard, func(a, b tables.Entry[string]) int {
		x, y := reached[a.Key], reached[b.Key]
		return cmp.Or(cmp.Compare(x.View, y.View), cmp.Compare(x.Seqno, y.Seqno), cmp.Compare(a.Key, b.Key))
	})
	if err := tables.DecisionChosen.Put(tx, best.Key); err != nil {
		return err
	}
	return tables.DecisionState.Put(tx, tables.DecisionVoting)
}

// open opens the service here, where a majority wants it, or anybody at all when it is
// late. A node that nobody votes for has voted for a better one. The majority is of the
// expected locations, and of those that the service had when it was lost: who configures
// one node can't make it a majority.
func (d *Decision) open(tx *kv.Tx, fx Effects, late bool) error {
	votes := len(tables.DecisionVotes.Keys(tx))
	kind := tables.DecidedByQuorum
	switch {
	case votes > max(len(d.Expected), int(d.known.Load()))/2:
	case late && votes > 0:
		kind = tables.DecidedByFailover
	default:
		return nil
	}
	if err := tables.DecisionKind.Put(tx, kind); err != nil {
		return err
	}
	s, err := service(tx)
	if err != nil {
		return err
	}
	previous, ok, err := tables.PreviousIdentity.Get(tx)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("there is no previous service identity")
	}
	if err := tables.DecisionState.Put(tx, tables.DecisionOpening); err != nil {
		return err
	}
	return openService(tx, fx, &previous, s.Cert)
}

// count takes the locations of the nodes that the service trusted when it was lost.
func (d *Decision) count(r tables.Reader) error {
	if d == nil {
		return nil
	}
	names, err := tables.SealingNames.All(r)
	if err != nil {
		return err
	}
	known := 0
	for _, name := range names {
		n, ok, err := tables.NodesInfo.Get(r, name.Value)
		if err != nil {
			return err
		}
		if ok && n.Status == tables.NodeTrusted {
			known++
		}
	}
	d.known.Store(int64(known))
	return nil
}
