package gov_test

import (
	"encoding/json"
	"strings"
	"testing"

	"chancery/gov"
	"chancery/gov/constitution"
	"chancery/gov/tables"
	"chancery/js"
)

func TestVariantsAreConstitutions(t *testing.T) {
	for _, variant := range constitution.Variants() {
		source, err := constitution.Source(variant + "+virtual+roles")
		must(t, err)
		if err := js.ValidateConstitution(source); err != nil {
			t.Errorf("%s: %v", variant, err)
		}
	}
}

// TestResolve sends ballots to a proposal of member 0, of three active members, and
// wants the given state after each.
func TestResolve(t *testing.T) {
	const o, a, r = tables.ProposalOpen, tables.ProposalAccepted, tables.ProposalRejected
	for _, c := range []struct {
		variant string
		first   tables.ProposalState
		ballots []string
		states  []tables.ProposalState
	}{
		{"default", o, []string{yes, yes}, []tables.ProposalState{o, a}},
		{"default", o, []string{no, yes, yes}, []tables.ProposalState{o, o, a}},
		{"default", o, []string{no, no, no}, []tables.ProposalState{o, o, o}},
		{"sandbox", a, nil, nil},
		{"unanimous", o, []string{yes, yes, yes}, []tables.ProposalState{o, o, a}},
		{"unanimous", o, []string{yes, no}, []tables.ProposalState{o, r}},
		{"veto", o, []string{yes, yes}, []tables.ProposalState{o, a}},
		{"veto", o, []string{no}, []tables.ProposalState{r}},
		{"operator", o, []string{yes, yes}, []tables.ProposalState{o, a}},
	} {
		t.Run(c.variant, func(t *testing.T) {
			s := newService(t, 3, c.variant, 1)
			for i := range s.members {
				s.activate(i)
			}
			v, err := s.propose(0, noop(s))
			must(t, err)
			if v.ProposalState != c.first {
				t.Fatalf("proposed: %s, want %s", v.ProposalState, c.first)
			}
			for i, ballot := range c.ballots {
				v, err = s.vote(i, v.ProposalID, ballot)
				must(t, err)
				if v.ProposalState != c.states[i] {
					t.Fatalf("ballot %d: %s, want %s", i, v.ProposalState, c.states[i])
				}
			}
		})
	}
}

// TestOperator lets an operator trust and remove nodes, and nothing else.
func TestOperator(t *testing.T) {
	s := newService(t, 3, "operator", 1)
	for i := range s.members {
		s.activate(i)
	}
	operator := s.members[2]
	text, err := json.Marshal(map[string]any{"actions": []action{{"set_member", args{"cert": string(operator.Cert), "member_data": args{"is_operator": true}}}}})
	must(t, err)
	v, err := s.propose(0, string(text))
	must(t, err)
	for i := 0; i < 2; i++ {
		v, err = s.vote(i, v.ProposalID, yes)
		must(t, err)
	}
	s.activate(2)
	for _, c := range []struct {
		name    string
		by      int
		actions []action
		want    tables.ProposalState
	}{
		{"operator removes a node", 2, []action{{"remove_node", args{"node_id": zeroID}}}, tables.ProposalAccepted},
		{"operator does nothing", 2, []action{}, tables.ProposalOpen},
		{"operator adds a user", 2, []action{{"remove_user", args{"user_id": zeroID}}}, tables.ProposalOpen},
		{"operator mixes", 2, []action{{"remove_node", args{"node_id": zeroID}}, {"remove_user", args{"user_id": zeroID}}}, tables.ProposalOpen},
		{"member removes a node", 0, []action{{"remove_node", args{"node_id": zeroID}}}, tables.ProposalOpen},
	} {
		text, err := json.Marshal(map[string]any{"actions": c.actions})
		must(t, err)
		v, err := s.propose(c.by, string(text))
		must(t, err)
		if v.ProposalState != c.want {
			t.Errorf("%s: %s, want %s", c.name, v.ProposalState, c.want)
		}
	}
	// An operator's vote does not count.
	v, err = s.propose(0, noop(s))
	must(t, err)
	for _, i := range []int{2, 0} {
		if v, err = s.vote(i, v.ProposalID, yes); err != nil || v.ProposalState != tables.ProposalOpen {
			t.Errorf("vote of %d: got %+v, %v, want it Open", i, v, err)
		}
	}
}

// TestForeignFragment adds an action in the way that fragments written for CCF do.
func TestForeignFragment(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	source, err := gov.Constitution(s.head())
	must(t, err)
	source += `
actions.set("note", new Action(
  function (args) { checkType(args.text, "string", "text"); checkBounds(args.n, 1, 3, "n"); },
  function (args, proposalId) {
    ccf.kv["public:ccf.gov.x.notes"].set(getSingletonKvKey(), ccf.jsonCompatibleToBuf(args.text));
    invalidateOtherOpenProposals(proposalId);
  }));`
	s.accept(action{"set_constitution", args{"constitution": source}})
	s.accept(action{"note", args{"text": "hello", "n": 2}})
	if b, _ := s.head().Get("public:ccf.gov.x.notes", tables.SingletonKey); string(b) != `"hello"` {
		t.Errorf("note: got %s", b)
	}
	_, err = s.act(action{"note", args{"text": "hello", "n": 4}})
	wantError(t, err, gov.Invalid, gov.CodeProposalFailedToValidate, "n must be lower than 3")
}

// TestBrokenConstitution runs constitutions that fail at each of their functions: the
// answer is an internal error, and nothing is recorded.
func TestBrokenConstitution(t *testing.T) {
	const validate = "export function validate (i) { return {valid: true, description: ''} }\n"
	const resolve = "export function resolve (p, i, v) { return 'Accepted' }\n"
	const apply = "export function apply (p, i) {}\n"
	for _, c := range []struct{ name, source, text string }{
		{"validate throws", "export function validate (i) { throw new Error('bad') }\n" + resolve + apply, "Failed to execute validation: Error: bad"},
		{"validate gives text", "export function validate (i) { return 'yes' }\n" + resolve + apply, "Validation failed to return an object"},
		{"resolve throws", validate + "export function resolve (p, i, v) { throw new Error('bad') }\n" + apply, "Failed to resolve(): Error: bad"},
		{"resolve gives nonsense", validate + "export function resolve (p, i, v) { return 'Perhaps' }\n" + apply, `resolve() returned invalid status value: "Perhaps"`},
		{"resolve gives a number", validate + "export function resolve (p, i, v) { return 1 }\n" + apply, `resolve() returned invalid status value: "1"`},
		{"apply throws", validate + resolve + "export function apply (p, i) { throw new Error('bad') }\n", "Failed to apply(): Error: bad"},
		{"apply writes too much", validate + resolve + "export function apply (p, i) { ccf.kv['public:ccf.internal.x'].clear() }\n", "Failed to apply(): TypeError"},
		{"no apply", validate + resolve, "Failed to find export 'apply'"},
		{"no module", "x(", "Failed to compile public:ccf.gov.constitution[0]"},
		{"top level throws", "throw new Error('bad');" + validate + resolve + apply, "bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, 1, "default", 1)
			s.activate(0)
			tx := s.store.Begin()
			must(t, tables.Constitution.Put(tx, c.source))
			s.commit(tx, &effects{s: s})
			before := s.store.Head().TxID()
			_, err := s.propose(0, `{"actions":[]}`)
			wantError(t, err, gov.Failed, gov.CodeInternalError, c.text)
			if after := s.store.Head().TxID(); after != before {
				t.Errorf("recorded at %s", after)
			}
		})
	}
}

// TestDryRun refuses constitutions that could never be replaced again, before anything
// is recorded.
func TestDryRun(t *testing.T) {
	const validate = "export function validate (i) { return {valid: true, description: ''} }\n"
	const resolve = "export function resolve (p, i, v) { return v.length > 1 ? 'Accepted' : 'Open' }\n"
	const apply = "export function apply (p, i) { throw new Error('not called') }\n"
	s := newService(t, 2, "default", 1)
	s.activate(0)
	s.activate(1)
	for _, c := range []struct{ name, source, text string }{
		{"validate throws", "export function validate (i) { throw new Error('bad') }\n" + resolve + apply, "fails at validate(): Error: bad"},
		{"validate gives text", "export function validate (i) { return 'yes' }\n" + resolve + apply, "returns no object"},
		{"resolve throws at once", validate + "export function resolve (p, i, v) { throw new Error('bad') }\n" + apply, "with 0 votes: Failed to resolve(): Error: bad"},
		{"resolve throws on votes", validate + "export function resolve (p, i, v) { if (v.length == 2) throw new Error(v[1].member_id + v[1].vote); return 'Open' }\n" + apply, "with 2 votes: Failed to resolve(): Error: "},
		{"resolve gives nonsense", validate + "export function resolve (p, i, v) { return 'Perhaps' }\n" + apply, "invalid status value"},
		{"resolve never ends", validate + "export function resolve (p, i, v) { for (;;) {} }\n" + apply, "Failed to resolve()"},
		{"resolve writes", validate + "export function resolve (p, i, v) { ccf.kv['public:ccf.gov.x'].clear(); return 'Open' }\n" + apply, "Failed to resolve(): TypeError"},
	} {
		before := s.store.Head().TxID()
		_, err := s.act(action{"set_constitution", args{"constitution": c.source}})
		wantError(t, err, gov.Invalid, gov.CodeProposalFailedToValidate, c.text)
		if after := s.store.Head().TxID(); after != before {
			t.Errorf("%s: recorded at %s", c.name, after)
		}
	}
	s.accept(action{"set_constitution", args{"constitution": validate + resolve + apply}})
}

// TestBadApp refuses applications that do not link, whole.
func TestBadApp(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	app := func(text string, cache bool) action {
		return action{"set_js_app", args{"disable_bytecode_cache": !cache, "bundle": args{
			"metadata": args{"endpoints": args{}}, "modules": []any{args{"name": "a.js", "module": text}}}}}
	}
	for _, text := range []string{"export function (", "import './none.js'", strings.Repeat("(", 1_000_000)} {
		_, err := s.act(app(text, true))
		wantError(t, err, gov.Failed, gov.CodeInternalError, "Failed to refresh bytecode")
	}
	if n := len(tables.Modules.Keys(s.head())); n != 0 {
		t.Errorf("%d modules of refused applications", n)
	}
	s.accept(app("export const a = 1", true))
	for _, low := range []args{
		{"max_heap_bytes": 1<<20 - 1, "max_stack_bytes": 16 << 10, "max_execution_time_ms": 10},
		{"max_heap_bytes": 1 << 20, "max_stack_bytes": 0, "max_execution_time_ms": 10},
		{"max_heap_bytes": 1 << 20, "max_stack_bytes": 16 << 10, "max_execution_time_ms": 9},
	} {
		_, err := s.act(action{"set_js_runtime_options", low})
		wantError(t, err, gov.Invalid, gov.CodeProposalFailedToValidate, "must be at least")
	}
	s.accept(action{Name: "refresh_js_app_bytecode_cache"}, action{"set_js_runtime_options", args{"max_heap_bytes": 1 << 20, "max_stack_bytes": 16 << 10, "max_execution_time_ms": 10}})
	// Governance goes on under limits that no application could run with.
	s.accept(action{Name: "remove_js_app"})
	if n := len(tables.Modules.Keys(s.head())); n != 0 {
		t.Errorf("%d modules left", n)
	}
}
