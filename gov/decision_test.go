package gov_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"chancery/attest/virtual"
	"chancery/gov"
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/kv/writeset"
)

// decider is a service of one node that takes part in a decision.
type decider struct {
	*service
	d *gov.Decision
}

// newDecider is a service that has been lost, and is being recovered.
func newDecider(t *testing.T, expected ...string) *decider {
	t.Helper()
	s := newService(t, 1, "sandbox", 1)
	s.open()
	d := &decider{s, &gov.Decision{Expected: expected}}
	s.decision = d.d
	s.lose()
	return d
}

// says has a location send a message, whose key is made of its name.
func (d *decider) says(kind, location, txid string, edits ...func(*gov.DecisionMessage)) error {
	d.t.Helper()
	key := []byte("the key of " + location)
	digest := sha256.Sum256(key)
	quote, err := json.Marshal(map[string]any{"host_data": hostData, "measurement": measurement, "report_data": digest[:]})
	must(d.t, err)
	m := gov.DecisionMessage{TxID: txid, Info: tables.DecidingNode{
		Quote:    tables.QuoteInfo{Format: tables.QuoteVirtual, Quote: quote, Endorsements: []byte{}},
		Location: tables.Location{Name: location, Address: "127.0.0.1:1"}, ServiceCert: []byte{1},
	}}
	if kind == "iamopen" {
		m.PreviousService, err = gov.PreviousFingerprint(d.head())
		must(d.t, err)
	}
	for _, edit := range edits {
		edit(&m)
	}
	_, err = d.run(func(tx *kv.Tx, fx *effects) error {
		switch kind {
		case "gossip":
			return d.d.Gossip(d.t.Context(), tx, fx, virtual.Verifier{}, key, m)
		case "vote":
			return d.d.Vote(d.t.Context(), tx, fx, virtual.Verifier{}, key, m)
		}
		return d.d.IAmOpen(d.t.Context(), tx, virtual.Verifier{}, key, m)
	})
	return err
}

func (d *decider) timeout() {
	d.t.Helper()
	_, err := d.run(func(tx *kv.Tx, fx *effects) error { return d.d.Advance(tx, fx, true) })
	must(d.t, err)
}

// is checks where the decision stands.
func (d *decider) is(state, chosen, kind string) {
	d.t.Helper()
	gotState, _, err := tables.DecisionState.Get(d.head())
	must(d.t, err)
	gotChosen, _, err := tables.DecisionChosen.Get(d.head())
	must(d.t, err)
	gotKind, _, err := tables.DecisionKind.Get(d.head())
	must(d.t, err)
	if gotState != state || gotChosen != chosen || gotKind != kind {
		d.t.Errorf("%s, for %q, by %q; want %s, for %q, by %q", gotState, gotChosen, gotKind, state, chosen, kind)
	}
	svc, _, err := tables.ServiceInfo.Get(d.head())
	must(d.t, err)
	if opened := svc.Status == tables.ServiceWaiting; opened != (kind != "") {
		d.t.Errorf("the service is %s, decided by %q", svc.Status, kind)
	}
}

// TestDecision takes one node through each way that a decision can go.
func TestDecision(t *testing.T) {
	t.Run("quorum", func(t *testing.T) {
		d := newDecider(t, "a", "b", "c")
		must(t, d.says("gossip", "c", "2.9"))
		must(t, d.says("gossip", "b", "2.10"))
		must(t, d.says("gossip", "b", "9.9")) // the first counts
		d.is(tables.DecisionGossiping, "", "")
		must(t, d.says("vote", "b", "")) // of one that is ahead
		must(t, d.says("gossip", "a", "2.10"))
		d.is(tables.DecisionVoting, "b", "")
		wantError(t, d.says("gossip", "a", "2.10"), gov.Failed, gov.CodeInternalError, "This node has already voted for b")
		must(t, d.says("vote", "c", ""))
		d.is(tables.DecisionOpening, "b", tables.DecidedByQuorum)
		wantError(t, d.says("iamopen", "c", "2.9"), gov.Invalid, gov.CodeInvalidNodeState, "Node is already open, ignoring iamopen request")
		d.timeout() // its clock is behind
		d.is(tables.DecisionOpening, "b", tables.DecidedByQuorum)
		d.timeout()
		d.timeout()
		d.is(tables.DecisionOpen, "b", tables.DecidedByQuorum)
	})
	t.Run("failover", func(t *testing.T) {
		d := newDecider(t, "a", "b", "c")
		must(t, d.says("gossip", "a", "2.10"))
		d.timeout()
		d.is(tables.DecisionVoting, "a", "")
		must(t, d.says("vote", "a", ""))
		d.is(tables.DecisionVoting, "a", "")
		d.timeout()
		d.is(tables.DecisionOpening, "a", tables.DecidedByFailover)
	})
	t.Run("a small majority", func(t *testing.T) {
		d := newDecider(t, "a")
		// Of the service that was lost, and what another one knows.
		lost := newService(t, 1, "sandbox", 1)
		lost.open()
		for _, name := range []string{"a", "b", "c"} {
			_, err := lost.run(func(tx *kv.Tx, _ *effects) error { return tables.SealingNames.Put(tx, name, lost.nodeID) })
			must(t, err)
		}
		lost.decision = d.d
		lost.lose()
		d.service = lost
		must(t, d.says("gossip", "a", "2.10"))
		must(t, d.says("vote", "a", ""))
		d.is(tables.DecisionVoting, "a", "")
		d.timeout()
		d.timeout()
		d.is(tables.DecisionOpening, "a", tables.DecidedByFailover)
	})
	t.Run("nobody's choice", func(t *testing.T) {
		d := newDecider(t, "a", "b")
		must(t, d.says("gossip", "a", "2.10"))
		must(t, d.says("gossip", "b", "3.1"))
		for range 3 {
			d.timeout()
		}
		d.is(tables.DecisionVoting, "b", "")
		must(t, d.says("iamopen", "b", "3.1"))
		d.is(tables.DecisionJoining, "b", "")
	})
	t.Run("refusals", func(t *testing.T) {
		d := newDecider(t, "a", "b")
		foreign := func(m *gov.DecisionMessage) { m.PreviousService = "00" }
		wantError(t, d.says("iamopen", "b", "2.1", foreign), gov.Invalid, gov.CodeInvalidNodeState, "of another service")
		wantError(t, d.says("gossip", "d", "2.1"), gov.Invalid, gov.CodeInvalidNodeState, "is not expected")
		wantError(t, d.says("gossip", "a", "x"), gov.Invalid, gov.CodeInvalidInput, "txid")
		must(t, d.says("gossip", "a", "2.1"))
		asA := func(m *gov.DecisionMessage) { m.Info.Location.Name = "a" }
		wantError(t, d.says("vote", "b", "", asA), gov.Invalid, gov.CodeNodeAlreadyExists, "certificate public key has changed")
		for name, edit := range map[string]func(*gov.DecisionMessage){
			"of another key": func(m *gov.DecisionMessage) {
				m.Info.Quote.Quote = []byte(`{"host_data":"` + hostData + `","measurement":"` + measurement + `","report_data":"AAAA"}`)
			},
			"of another code": func(m *gov.DecisionMessage) { m.Info.Quote.Quote = []byte("{}") },
			"of no platform":  func(m *gov.DecisionMessage) { m.Info.Quote.Format = "x" },
		} {
			for _, kind := range []string{"gossip", "vote", "iamopen"} {
				if err := d.says(kind, "b", "2.2", edit); err == nil {
					t.Errorf("evidence %s was believed in a %s", name, kind)
				}
			}
		}
		d.is(tables.DecisionGossiping, "", "")
		if n := len(tables.DecisionNodes.Keys(d.head())); n != 1 {
			t.Errorf("%d locations were heard", n)
		}
		var none *gov.Decision
		_, err := d.run(func(tx *kv.Tx, fx *effects) error { return none.Advance(tx, fx, true) })
		wantError(t, err, gov.Invalid, gov.CodeInvalidNodeState, "This node cannot do recovery-decision-protocol")
	})
}

// TestDecisionAgreement has three nodes hear each other's messages in any order: without
// timeouts one opens at most, and it is one whose ledger goes furthest.
func TestDecisionAgreement(t *testing.T) {
	names := []string{"a", "b", "c"}
	begun, begins := map[string]*decider{}, map[string]uint64{}
	for _, name := range names {
		begun[name] = newDecider(t, names...)
		begins[name] = begun[name].store.Head().TxID().Seqno
	}
	rapid.Check(t, func(r *rapid.T) {
		nodes, reached := map[string]*decider{}, map[string]writeset.TxID{}
		furthest := ""
		for _, name := range names {
			nodes[name] = begun[name]
			must(t, nodes[name].store.Rollback(begins[name]))
			reached[name] = writeset.TxID{View: uint64(rapid.IntRange(2, 3).Draw(r, "view")), Seqno: uint64(rapid.IntRange(1, 3).Draw(r, "seqno"))}
			if best := reached[furthest]; furthest == "" || reached[name].View > best.View || reached[name].View == best.View && reached[name].Seqno >= best.Seqno {
				furthest = name
			}
		}
		for range 60 {
			from, to := rapid.SampledFrom(names).Draw(r, "from"), rapid.SampledFrom(names).Draw(r, "to")
			at := nodes[from].head()
			state, _, _ := tables.DecisionState.Get(at)
			chosen, _, _ := tables.DecisionChosen.Get(at)
			switch {
			case state == tables.DecisionOpening && to != from:
				_ = nodes[to].says("iamopen", from, reached[from].String())
			case state == tables.DecisionVoting && chosen == to:
				_ = nodes[to].says("vote", from, "")
			case state != tables.DecisionJoining:
				_ = nodes[to].says("gossip", from, reached[from].String())
			}
		}
		for name, n := range nodes {
			state, _, _ := tables.DecisionState.Get(n.head())
			if state == tables.DecisionOpening && name != furthest {
				r.Fatalf("%s opens, and %s reached %v", name, furthest, fmt.Sprint(reached))
			}
		}
	})
}
