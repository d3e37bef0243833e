package gov

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/gov/tables"
	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// Act is one act of governance, as the ledger shows it.
type Act struct {
	ID   ledger.TxID
	Kind string // "proposal", "ballot", "withdrawal", "ack"; or what the node did by itself
	// Member signed it, at Signed by its own clock; "" and zero where nobody did.
	Member string
	Signed time.Time
	// Proposal is the id of the proposal concerned, State what it came to.
	Proposal string
	State    tables.ProposalState
	// Text says in words what was asked.
	Text string
	// Repeated: the act was done again, over the state before it and under the
	// constitution in force there, and came to the same. Problems say what does not fit.
	Repeated bool
	Problems []string
}

// Audit reads a ledger from its first transaction and reports every act of governance:
// who signed it, whether the signature is that member's, active at the time, and whether
// doing it again comes to the same rows. What is drawn at random or made with the
// service's key (shares, wrapped secrets, certificates) is compared by its keys alone.
//
// That the entries are the service's is not its question: ledger.Verify answers it.
func Audit(ctx context.Context, entries iter.Seq2[*ledger.Entry, error], report func(Act)) error {
	a, err := newAudit(ctx)
	if err != nil {
		return err
	}
	for e, err := range entries {
		if err != nil {
			return err
		}
		if act := a.judge(e); act != nil {
			report(*act)
		}
		if err := a.take(e); err != nil {
			return fmt.Errorf("transaction %v: %w", e.ID, err)
		}
	}
	return nil
}

// audit is the state of a service as its public ledger tells it.
type audit struct {
	ctx   context.Context
	store *kv.Store
	tree  merkle.Frontier
	aside *auditKeys
}

func newAudit(ctx context.Context) (*audit, error) {
	a := &audit{ctx: ctx, store: kv.NewStore()}
	a.tree.Append(merkle.Hash{})
	var err error
	a.aside, err = newAuditKeys()
	return a, err
}

// take makes an entry's public writes part of the state.
func (a *audit) take(e *ledger.Entry) error {
	ws := slices.Clone(e.Public)
	for i := range ws {
		ws[i].Writes = slices.Clone(ws[i].Writes)
		ws[i].Removes = slices.Clone(ws[i].Removes)
	}
	ws.Sort()
	if _, err := a.store.Apply(e.ID, ws); err != nil {
		return err
	}
	a.tree.Append(e.Leaf())
	return a.store.Compact(e.ID.Seqno)
}

// judge says what an entry is as an act of governance, nil when it is none.
func (a *audit) judge(e *ledger.Entry) *Act {
	if m := e.Public.Map(tables.NameCOSEHistory); m != nil {
		return a.signed(e, m, func(value []byte) (raw []byte, err error) { return raw, json.Unmarshal(value, &raw) })
	}
	if m := e.Public.Map(tables.NameMembersAcks); m != nil && len(m.Writes) == 1 && len(e.Public) <= 4 {
		var ack tables.MemberAck
		if err := json.Unmarshal(m.Writes[0].Value, &ack); err == nil && ack.COSESign1 != nil {
			return a.signed(e, m, func([]byte) ([]byte, error) { return ack.COSESign1, nil })
		}
	}
	return unsigned(e)
}

// signed judges an act whose message is recorded.
func (a *audit) signed(e *ledger.Entry, m *writeset.MapWrites, message func([]byte) ([]byte, error)) *Act {
	act := &Act{ID: e.ID}
	problem := func(format string, args ...any) { act.Problems = append(act.Problems, fmt.Sprintf(format, args...)) }
	if len(m.Writes) != 1 {
		act.Kind = "unknown"
		problem("it records %d messages of members", len(m.Writes))
		return act
	}
	act.Member = string(m.Writes[0].Key)
	raw, err := message(m.Writes[0].Value)
	if err == nil {
		var s Signed
		if s, err = a.authenticate(act.Member, raw); err == nil {
			act.Signed = time.Unix(*s.Envelope.Header.CreatedAt, 0).UTC()
			act.Kind = *s.Envelope.Header.MsgType
			a.describe(e, act, s)
			if unsealed(e) {
				act.Text += "; the node opened the ledger secrets with a share that it had sealed"
			}
			a.repeat(e, act, s)
			return act
		}
	}
	act.Kind = "unknown"
	problem("the recorded message: %v", err)
	return act
}

// authenticate checks a member's message against the certificate and status that the
// member had.
func (a *audit) authenticate(member string, raw []byte) (Signed, error) {
	s := Signed{Member: member, Raw: raw}
	at := tables.View(a.store.Head())
	text, ok, err := tables.MembersCerts.Get(at, member)
	if err != nil || !ok {
		return s, errors.Join(fmt.Errorf("member %s is not known", member), err)
	}
	cert, err := identity.ParseCertificate([]byte(text))
	if err != nil {
		return s, err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return s, fmt.Errorf("member %s has a key that signs no message", member)
	}
	if s.Envelope, err = cose.ParseMember(raw); err != nil {
		return s, err
	}
	if s.Envelope.Header.KID != member {
		return s, fmt.Errorf("it names member %s", s.Envelope.Header.KID)
	}
	if s.Envelope.Header.MsgType == nil {
		return s, errors.New("it does not say what kind of message it is")
	}
	if err := s.Envelope.Verify(key); err != nil {
		return s, err
	}
	info, _, err := tables.MembersInfo.Get(at, member)
	if err == nil && info.Status != tables.MemberActive && *s.Envelope.Header.MsgType != cose.TypeAck {
		err = fmt.Errorf("member %s is %s", member, info.Status)
	}
	return s, err
}

// describe fills in the proposal and the words.
func (a *audit) describe(e *ledger.Entry, act *Act, s Signed) {
	if id := s.Envelope.Header.ProposalID; id != nil {
		act.Proposal = *id
	}
	if m := e.Public.Map(tables.NameProposalsInfo); m != nil {
		for _, w := range m.Writes {
			var p tables.Proposal
			if act.Proposal == "" || act.Proposal == string(w.Key) {
				if err := json.Unmarshal(w.Value, &p); err != nil {
					act.Problems = append(act.Problems, fmt.Sprintf("the proposal's row: %v", err))
				}
				act.Proposal, act.State = string(w.Key), p.State
			}
		}
	}
	switch act.Kind {
	case cose.TypeProposal:
		act.Text = describeProposal(s.payload())
	case cose.TypeBallot:
		var ballot struct{ Ballot string }
		_ = json.Unmarshal(s.payload(), &ballot) // repeating it finds what is wrong
		act.Text = oneLine(ballot.Ballot)
	case cose.TypeAck:
		act.Text = "accepts the state of the service"
	}
}

// describeProposal lists a proposal's actions with their arguments, each cut short.
func describeProposal(text []byte) string {
	var p struct {
		Actions []struct {
			Name string          `json:"name"`
			Args json.RawMessage `json:"args"`
		} `json:"actions"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return oneLine(string(text))
	}
	parts := make([]string, len(p.Actions))
	for i, action := range p.Actions {
		parts[i] = action.Name + "(" + oneLine(string(action.Args)) + ")"
	}
	return strings.Join(parts, ", ")
}

// oneLine is a text without line breaks, cut to a readable length.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "…"
	}
	return s
}

// repeat does the act again and compares.
func (a *audit) repeat(e *ledger.Entry, act *Act, s Signed) {
	tx := a.store.Begin()
	defer tx.Discard()
	fx := a.aside.effects(a, e, *s.Envelope.Header.CreatedAt)
	var err error
	switch act.Kind {
	case cose.TypeProposal:
		_, err = proposeAs(a.ctx, tx, fx, s, act.Proposal)
	case cose.TypeBallot:
		_, err = Vote(a.ctx, tx, fx, s, act.Proposal, act.Member)
	case cose.TypeWithdrawal:
		_, err = Withdraw(tx, s, act.Proposal)
	case cose.TypeAck:
		err = Ack(tx, fx, s, act.Member)
	default:
		err = fmt.Errorf("a message of type %q", act.Kind)
	}
	if err != nil {
		act.Problems = append(act.Problems, fmt.Sprintf("repeating it fails: %v", err))
		return
	}
	want, got := comparable(e.Public), comparable(tx.WriteSet())
	for _, row := range slices.Sorted(maps.Keys(want)) {
		if have, ok := got[row]; !ok {
			act.Problems = append(act.Problems, fmt.Sprintf("it writes %s, which does not follow from it", row))
		} else if have != want[row] {
			act.Problems = append(act.Problems, fmt.Sprintf("it writes another value to %s than follows from it", row))
		}
	}
	for _, row := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[row]; !ok {
			act.Problems = append(act.Problems, fmt.Sprintf("it does not write %s, which follows from it", row))
		}
	}
	act.Repeated = len(act.Problems) == 0
}

// madeByService are tables with values that are drawn at random, or made with the
// service's keys: that they are written can be foreseen, what is written cannot.
var madeByService = map[string]bool{
	tables.NameRecoveryShares: true, tables.NameSealedShares: true, tables.NameSecretHistory: true,
	tables.NameEncryptedSecrets: true, tables.NameSubmittedShares: true, tables.NamePreviousEndorse: true,
	tables.NameNodesEndorsedCertificates: true, tables.NameServiceInfo: true,
}

// engineTables hold what a JavaScript engine made of an application: CCF's, not ours.
var engineTables = map[string]bool{tables.NameModulesQuickJSBytecode: true, tables.NameModulesQuickJSVersion: true}

// comparable lists the public rows of a write set by "table[key]"; removals are "-".
func comparable(ws writeset.WriteSet) map[string]string {
	out := map[string]string{}
	for _, m := range ws {
		if engineTables[m.Name] || !writeset.IsPublic(m.Name) {
			continue
		}
		for _, w := range m.Writes {
			value := "=" + string(w.Value)
			if madeByService[m.Name] {
				value = "="
			}
			out[fmt.Sprintf("%s[%s]", m.Name, rowKey(w.Key))] = value
		}
		for _, k := range m.Removes {
			out[fmt.Sprintf("%s[%s]", m.Name, rowKey(k))] = "-"
		}
	}
	return out
}

// rowKey is a key in words; the only key of a table of one row says nothing.
func rowKey(k []byte) string {
	if bytes.Equal(k, tables.SingletonKey) {
		return ""
	}
	return string(k)
}

// byNode are the governance tables that nodes write by themselves, and when.
var byNode = map[string]string{
	tables.NameNodesInfo:                 "a node joins, or has left for good",
	tables.NameNodesEndorsedCertificates: "a node is endorsed, or has left for good",
	tables.NameNodesSealedRecoveryKeys:   "a node joins, or has left for good",
	tables.NameJWTSigningKeys:            "keys of a token issuer are refreshed",
	tables.NameServiceInfo:               "the service is created, recovered or opened",
	tables.NameMembersAcks:               "a member asks for the state to accept",
}

// unsealed says whether a node opened the ledger secrets by itself in an entry.
func unsealed(e *ledger.Entry) bool {
	m := e.Public.Map(tables.NameLastRecoveryType)
	return m != nil && len(m.Writes) == 1 && string(m.Writes[0].Value) == `"`+tables.RecoveryUnsealing+`"`
}

// decisionTables begins the names of the tables in which locations decide.
const decisionTables = "public:ccf.gov.recovery_decision_protocol."

// unsigned judges an entry without a member's message: the genesis and the recoveries of
// the service, what nodes write by themselves, and what nobody may.
func unsigned(e *ledger.Entry) *Act {
	var written []string
	for _, m := range e.Public {
		if strings.HasPrefix(m.Name, "public:ccf.gov.") {
			written = append(written, m.Name)
		}
	}
	if len(written) == 0 {
		return nil
	}
	act := &Act{ID: e.ID, Kind: "by the service"}
	if m := e.Public.Map(tables.NameServiceInfo); m != nil {
		var info tables.Service
		if len(m.Writes) != 1 || json.Unmarshal(m.Writes[0].Value, &info) != nil {
			act.Problems = append(act.Problems, "it does not write one service")
		}
		act.Text = fmt.Sprintf("the service is %s", info.Status)
		if m := e.Public.Map(tables.NameRDPOpenKind); m != nil && len(m.Writes) == 1 {
			act.Text += fmt.Sprintf(", opened by %s of the locations, without a member's proposal", strings.Trim(string(m.Writes[0].Value), `"`))
		}
		return act
	}
	for _, name := range written {
		why, ok := byNode[name]
		if strings.HasPrefix(name, decisionTables) {
			why, ok = "recovering locations decide where the service goes on", true
		}
		if !ok {
			act.Problems = append(act.Problems, fmt.Sprintf("it writes %s, and no member signed that", name))
			continue
		}
		act.Text = why
	}
	return act
}
