package gov_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/cose"
	"chancery/kv"
)

// check compares what a request gave with CCF's answer of the given name, and logs where
// that is not known.
func check(t *testing.T, want map[string]answer, name string, err error) {
	t.Helper()
	got := verdict(t, err)
	w, ok := want[name]
	switch {
	case !ok:
		t.Logf("%s: %d %s %s (CCF's answer is not known)", name, got.Status, got.Code, firstLine(got.Message))
	case got.Status != w.Status || got.Code != w.Code:
		t.Errorf("%s: got %d %s %q, want %d %s %q", name, got.Status, got.Code, got.Message, w.Status, w.Code, w.Message)
	case blank(got.Message) != blank(w.Message):
		t.Logf("%s: text %q, CCF's %q", name, blank(got.Message), blank(w.Message))
	}
}

// blank replaces ids and times, as the recorded answers do.
func blank(s string) string {
	for _, id := range strings.FieldsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
		switch {
		case len(id) == 64:
			s = strings.Replace(s, id, "<hex64>", 1)
		case len(id) == 10:
			s = strings.Replace(s, id, "<big>", 1)
		}
	}
	return words(s)
}

// zeroID is a well-formed id that nothing has.
var zeroID = strings.Repeat("0", 64)

// noop is a proposal that the default constitution takes and that changes little.
func noop(s *service) string {
	return fmt.Sprintf(`{"actions":[{"name":"set_member_data","args":{"member_id":%q,"member_data":{"n":1}}}]}`, s.members[0].ID)
}

func TestPayloads(t *testing.T) {
	want := answers(t)
	s := newService(t, 1, "default", 1)
	s.open()
	for name, payload := range map[string]string{
		"not json": "{", "empty": "", "array": "[]", "no actions": "{}", "actions object": `{"actions":{}}`,
		"no action": `{"actions":[]}`, "unknown action": `{"actions":[{"name":"fly"}]}`, "nameless": `{"actions":[{}]}`,
		"extra field": `{"actions":[],"x":1}`, "number": "5", "null": "null",
		"two keys": `{"actions":[],"actions":[{"name":"fly"}]}`, "utf8": "{\"actions\":[{\"name\":\"\xff\"}]}",
	} {
		_, err := s.propose(0, payload)
		check(t, want, "payload "+name, err)
	}
}

func TestReplay(t *testing.T) {
	want := answers(t)
	s := newService(t, 1, "default", 1)
	s.open()
	at := func(seconds int64) gov.Signed {
		s.now = time.Unix(seconds, 0)
		return s.message(0, cose.TypeProposal, "", []byte(noop(s)))
	}
	now := s.now.Unix()
	first := at(now)
	_, err := s.submit(first)
	check(t, want, "propose first", err)
	_, err = s.submit(first)
	check(t, want, "propose replay", err)
	_, err = s.submit(at(now - 1e6))
	check(t, want, "propose old", err)
	_, err = s.submit(at(0))
	check(t, want, "propose zero", err)
	_, err = s.submit(at(now + 1e6))
	check(t, want, "propose future", err)
	_, err = s.submit(at(1e10))
	check(t, want, "propose too large", err)
}

// TestReplayWindow fills a window of 4 and checks what stays: the newest three and the
// one just made.
func TestReplayWindow(t *testing.T) {
	s := newService(t, 1, "default", 1)
	s.open()
	s.accept(action{"set_service_configuration", args{"recent_cose_proposals_window_size": 4}})
	base := s.now.Unix() + 1
	for i := range int64(12) {
		s.now = time.Unix(base+i, 0)
		v, err := s.propose(0, noop(s))
		must(t, err)
		keys := tables.COSERecentProposals.Keys(s.head())
		if len(keys) > 4 {
			t.Fatalf("after %d: %d keys in a window of 4", i, len(keys))
		}
		last := keys[len(keys)-1]
		if id, _, _ := tables.COSERecentProposals.Get(s.head(), last); id != v.ProposalID {
			t.Errorf("newest key %s is of proposal %s, want %s", last, id, v.ProposalID)
		}
	}
	if _, err := s.submit(s.messageAt(base)); err == nil {
		t.Error("a proposal from before the window was taken")
	}
}

func (s *service) messageAt(seconds int64) gov.Signed {
	s.now = time.Unix(seconds, 0)
	return s.message(0, cose.TypeProposal, "", []byte(noop(s)))
}

// TestProposalID compares ids with an independent computation: they bind a proposal to
// the root of the tree that its transaction reads, and to its signature.
func TestProposalID(t *testing.T) {
	s := newService(t, 1, "default", 1)
	s.open()
	m := s.message(0, cose.TypeProposal, "", []byte(noop(s)))
	root := s.tree.Root()
	v, err := s.submit(m)
	must(t, err)
	signature := sha256.Sum256(m.Envelope.Signature)
	want := sha256.Sum256(slices.Concat(root[:], signature[:]))
	if v.ProposalID != hexOf(want[:]) {
		t.Errorf("id %s, want %s", v.ProposalID, hexOf(want[:]))
	}
}

func TestBallots(t *testing.T) {
	want := answers(t)
	for name, source := range map[string]string{
		"throws":           "export function vote () { throw new Error('no') }",
		"syntax":           "export function vote ( {",
		"nothing exported": "function vote () { return true }",
		"number":           "export function vote () { return 1 }",
		"loop":             "export function vote () { for (;;); }",
		"writes":           "export function vote () { ccf.kv['public:ccf.gov.x'].set(ccf.strToBuf('a'), ccf.strToBuf('b')); return true }",
		"reads app":        "export function vote () { return ccf.kv['public:probe'].size >= 0 }",
		"args":             "export function vote (p, i) { return typeof p === 'string' && typeof i === 'string' && arguments.length === 2 }",
	} {
		t.Run(name, func(t *testing.T) {
			if name == "loop" && testing.Short() {
				t.Skip("runs into the time limit of five seconds")
			}
			s := newService(t, 1, "default", 1)
			s.open()
			v, err := s.propose(0, noop(s))
			must(t, err)
			v, err = s.vote(0, v.ProposalID, source)
			check(t, want, "ballot "+name, err)
			if err == nil {
				t.Logf("state %s", v.ProposalState)
			}
		})
	}
}

func TestVotes(t *testing.T) {
	want := answers(t)
	s := newService(t, 2, "default", 1)
	s.activate(0)
	s.accept(action{"transition_service_to_open", args{"next_service_identity": s.certPEM}})
	v, err := s.propose(0, noop(s))
	must(t, err)
	id := v.ProposalID
	raw := func(payload, proposal, named, member string) error {
		m := s.message(0, cose.TypeBallot, named, []byte(payload))
		_, err := s.run(func(tx *kv.Tx, fx *effects) error {
			_, err := gov.Vote(context.Background(), tx, fx, m, proposal, member)
			return err
		})
		return err
	}
	ballot := func(source string) string {
		b, _ := json.Marshal(map[string]string{"ballot": source})
		return string(b)
	}
	me, other := s.members[0].ID, s.members[1].ID
	for _, c := range []struct {
		name                             string
		payload, proposal, named, member string
	}{
		{"vote unknown proposal", ballot(yes), zeroID, zeroID, me},
		{"vote short proposal", ballot(yes), "abc", "abc", me},
		{"vote header mismatch", ballot(yes), id, zeroID, me},
		{"vote for other", ballot(yes), id, id, other},
		{"vote not json", "x", id, id, me},
		{"vote no ballot", "{}", id, id, me},
		{"vote number", `{"ballot":1}`, id, id, me},
		{"vote array", "[]", id, id, me},
		{"vote no", ballot(no), id, id, me},
		{"vote no again", ballot(no), id, id, me},
		{"vote changes", ballot(yes), id, id, me},
	} {
		check(t, want, c.name, raw(c.payload, c.proposal, c.named, c.member))
	}
	text, err := gov.Ballot(s.head(), id, me)
	check(t, want, "ballot get", err)
	if text != no {
		t.Errorf("ballot get: got %q", text)
	}
	_, err = gov.Ballot(s.head(), id, other)
	check(t, want, "ballot get other", err)
	for name, path := range map[string]string{"ZERO": zeroID, "short": "short"} {
		_, err = gov.GetProposal(s.head(), path)
		check(t, want, "gov /members/proposals/"+name, err)
	}
	_, err = gov.ProposalText(s.head(), zeroID)
	check(t, want, "gov /members/proposals/ZERO/actions", err)
	_, err = gov.Ballot(s.head(), zeroID, me)
	check(t, want, "gov /members/proposals/ZERO/ballots/M0", err)
}

func TestWithdraw(t *testing.T) {
	want := answers(t)
	s := newService(t, 2, "default", 1)
	s.activate(0)
	s.accept(action{"transition_service_to_open", args{"next_service_identity": s.certPEM}})
	withdraw := func(i int, id, named string) (v *gov.ProposalView, err error) {
		_, err = s.run(func(tx *kv.Tx, _ *effects) error {
			v, err = gov.Withdraw(tx, s.message(i, cose.TypeWithdrawal, named, nil), id)
			return err
		})
		return v, err
	}
	if v, err := withdraw(0, zeroID, zeroID); v != nil || err != nil {
		t.Errorf("withdraw unknown: got %+v, %v, want nothing", v, err)
	}
	p, err := s.propose(0, noop(s))
	must(t, err)
	_, err = withdraw(0, p.ProposalID, zeroID)
	check(t, want, "withdraw mismatch", err)
	_, err = withdraw(1, p.ProposalID, p.ProposalID)
	wantError(t, err, gov.Denied, gov.CodeAuthorizationFailed, "can only be withdrawn by proposer")
	for _, name := range []string{"withdraw", "withdraw again"} {
		v, err := withdraw(0, p.ProposalID, p.ProposalID)
		check(t, want, name, err)
		if v == nil || v.ProposalState != tables.ProposalWithdrawn || v.FinalVotes != nil {
			t.Errorf("%s: got %+v", name, v)
		}
	}
	_, err = s.vote(0, p.ProposalID, yes)
	check(t, want, "vote withdrawn", err)

	p, err = s.propose(0, noop(s))
	check(t, want, "accept: propose", err)
	_, err = s.vote(0, p.ProposalID, yes)
	check(t, want, "accept: vote", err)
	_, err = s.vote(0, p.ProposalID, yes)
	check(t, want, "accept: vote late", err)
	_, err = withdraw(0, p.ProposalID, p.ProposalID)
	check(t, want, "withdraw accepted", err)
	// The withdrawn one is forgotten, and so is its text.
	if all, _ := gov.Proposals(s.head()); len(all) != 1 || len(tables.Proposals.Keys(s.head())) != 1 {
		t.Errorf("got %d proposals, want the accepted one alone", len(all))
	}
}

func TestDigests(t *testing.T) {
	want := answers(t)
	s := newService(t, 2, "default", 1)
	s.activate(0)
	me, other := s.members[0].ID, s.members[1].ID
	update := func(id string) (v *gov.DigestView, err error) {
		_, err = s.run(func(tx *kv.Tx, _ *effects) error {
			v, err = gov.UpdateStateDigest(tx, s.message(0, cose.TypeStateDigest, "", nil), id)
			return err
		})
		return v, err
	}
	ack := func(payload, id string) error {
		_, err := s.run(func(tx *kv.Tx, fx *effects) error {
			return gov.Ack(tx, fx, s.message(0, cose.TypeAck, "", []byte(payload)), id)
		})
		return err
	}
	_, err := update(other)
	check(t, want, "digest other", err)
	_, err = update(zeroID)
	check(t, want, "digest unknown", err)
	v, err := update(me)
	check(t, want, "digest update", err)
	body, err := json.Marshal(v)
	must(t, err)
	check(t, want, "ack mismatch", ack(`{"stateDigest":"`+zeroID+`"}`, me))
	check(t, want, "ack junk", ack("x", me))
	check(t, want, "ack none", ack("{}", me))
	check(t, want, "ack other", ack(string(body), other))
	wantError(t, ack("[]", me), gov.Invalid, gov.CodeInvalidInput, "")
	must(t, ack(string(body), me))
	_, err = gov.StateDigest(s.head(), zeroID)
	check(t, want, "gov /members/state-digests/ZERO", err)
}

// TestActivationShares activates a recovery member of an open service: it gets a share at
// once, of a new sharing.
func TestActivationShares(t *testing.T) {
	s := newService(t, 2, "default", 1)
	s.activate(0)
	s.accept(action{"transition_service_to_open", args{"next_service_identity": s.certPEM}})
	_, err := gov.Share(s.head(), s.members[1].ID)
	wantError(t, err, gov.Missing, gov.CodeResourceNotFound, "Recovery share not found")
	before, _, err := tables.RecoveryShares.Get(s.head())
	must(t, err)
	s.activate(1)
	after, _, err := tables.RecoveryShares.Get(s.head())
	must(t, err)
	if slices.Equal(before.WrappedLatestSecret, after.WrappedLatestSecret) {
		t.Error("the wrapping key is the old one")
	}
	checkShares(t, s, 1)
}

// TestApplySees checks that apply finds its own proposal accepted, with its votes, and
// that the others fall when the constitution changes.
func TestApplySees(t *testing.T) {
	s := newService(t, 1, "default", 1)
	s.open()
	open, err := s.propose(0, noop(s))
	must(t, err)
	source, err := gov.Constitution(s.head())
	must(t, err)
	source = strings.Replace(source, "export function apply(proposal, proposalId) {", `export function apply(proposal, proposalId) {
  const own = ccf.bufToJsonCompatible(ccf.kv["public:ccf.gov.proposals_info"].get(ccf.strToBuf(proposalId)));
  if (own.state !== "Accepted" || Object.keys(own.final_votes).length !== 1) { throw new Error("not there: " + JSON.stringify(own)); }`, 1)
	s.accept(action{"set_constitution", args{"constitution": source}})
	if p, err := gov.GetProposal(s.head(), open.ProposalID); err != nil || p.ProposalState != tables.ProposalDropped {
		t.Errorf("other proposal: got %+v, %v, want it Dropped", p, err)
	}
	s.accept(action{Name: "trigger_snapshot"})
	if !s.snapshot || s.chunk {
		t.Errorf("snapshot %t, chunk %t", s.snapshot, s.chunk)
	}
}
