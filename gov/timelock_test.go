package gov_test

import (
	"encoding/json"
	"testing"

	"chancery/gov"
	"chancery/gov/tables"
)

const timelockQueue = "public:ccf.gov.chancery.timelock.queue"

// unlock makes what waits under an id ready, as the passing of time does.
func (s *service) unlock(id string) {
	s.t.Helper()
	raw, ok := s.head().Get(timelockQueue, []byte(id))
	if !ok {
		s.t.Fatalf("nothing waits under %s", id)
	}
	var entry struct {
		NotBefore int64           `json:"not_before"`
		Proposal  json.RawMessage `json:"proposal"`
	}
	must(s.t, json.Unmarshal(raw, &entry))
	entry.NotBefore = 1
	raw, err := json.Marshal(entry)
	must(s.t, err)
	tx := s.store.Begin()
	tx.Put(timelockQueue, []byte(id), raw)
	s.commit(tx, &effects{s: s})
}

// TestTimelock accepts a change that then waits, can't be run early, is run by a single
// member once its time has come, and can be called off before.
func TestTimelock(t *testing.T) {
	s := newService(t, 3, "timelock", 1)
	s.open() // by actions that take effect at once
	u := user(t)
	add := action{"set_user", args{"cert": string(u.Cert)}}
	known := func() bool { return tables.UsersCerts.Has(s.head(), u.ID) }

	v, err := s.act(add)
	must(t, err)
	if v.ProposalState != tables.ProposalAccepted || known() {
		t.Fatalf("accepted %s, user there: %t", v.ProposalState, known())
	}
	run := action{"execute_queued", args{"proposal_id": v.ProposalID}}
	_, err = s.act(run)
	wantError(t, err, gov.Invalid, gov.CodeProposalFailedToValidate, "is locked for another")
	s.unlock(v.ProposalID)
	text, err := json.Marshal(map[string]any{"actions": []action{run}})
	must(t, err)
	if v, err = s.propose(2, string(text)); err != nil || v.ProposalState != tables.ProposalAccepted || !known() {
		t.Fatalf("executed: %+v, %v, user there: %t", v, err, known())
	}
	_, err = s.act(run)
	wantError(t, err, gov.Invalid, gov.CodeProposalFailedToValidate, "does not wait")

	// What is called off can't be run. Calling off needs a majority, but no lock.
	v, err = s.act(action{"remove_user", args{"user_id": u.ID}})
	must(t, err)
	if v2, err := s.act(action{"cancel_queued", args{"proposal_id": v.ProposalID}}); err != nil || v2.ProposalState != tables.ProposalAccepted {
		t.Fatalf("cancelled: %+v, %v", v2, err)
	}
	_, err = s.act(action{"execute_queued", args{"proposal_id": v.ProposalID}})
	wantError(t, err, gov.Invalid, gov.CodeProposalFailedToValidate, "does not wait")
	if !known() {
		t.Error("the user is gone")
	}

	// What no longer holds when its time has come is not run, and goes on waiting.
	v, err = s.act(action{"set_recovery_threshold", args{"recovery_threshold": 3}})
	must(t, err)
	s.accept(action{Name: "trigger_ledger_chunk"})
	other, err := s.act(action{"remove_member", args{"member_id": s.members[2].ID}})
	must(t, err)
	for _, id := range []string{other.ProposalID, v.ProposalID} {
		s.unlock(id)
	}
	s.accept(action{"execute_queued", args{"proposal_id": other.ProposalID}})
	_, err = s.act(action{"execute_queued", args{"proposal_id": v.ProposalID}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "greater than the number of recovery members")
	if _, ok := s.head().Get(timelockQueue, []byte(v.ProposalID)); !ok {
		t.Error("a proposal that failed to run is gone")
	}

	_, err = s.act(action{"set_timelock", args{"seconds": 1}})
	wantError(t, err, gov.Invalid, gov.CodeProposalFailedToValidate, "seconds must be greater than 60")
}
