package gov_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/ccftest"
	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// TestReenact reads a ledger that CCF 7.0.2 wrote, with a recovery in it, and at each
// governance transaction does the same from the state before it, under CCF's own
// constitution. The rows must be the same, byte for byte, but for what is drawn at random.
func TestReenact(t *testing.T) {
	r := newReenactment(t, "seven_service", "ledger_recovered")
	kinds := map[string]int{}
	for _, e := range r.entries {
		if kind, got := r.again(e); kind != "" {
			kinds[kind]++
			want := rows(e.Public)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s: rows differ (-CCF +ours):\n%s", e.ID, kind, diff)
			}
		}
		r.apply(e)
	}
	want := map[string]int{"create": 2, "state_digest": 3, "ack": 3, "proposal": 10, "ballot": 20, "recovery_share": 2, "open": 1}
	for kind, n := range want {
		if kinds[kind] < n {
			t.Errorf("%d transactions of kind %s, want at least %d: %v", kinds[kind], kind, n, kinds)
		}
	}
}

// reenactment is the state of a service that is replayed from its ledger.
type reenactment struct {
	*service
	entries []*ledger.Entry
}

func newReenactment(t *testing.T, name, dir string) *reenactment {
	t.Helper()
	s := &service{t: t, store: kv.NewStore(), tree: merkle.New(), now: start}
	s.newIdentity()
	s.tree.Append(merkle.Hash{})
	r := &reenactment{service: s, entries: readLedger(t, filepath.Join(ccftest.Vectors(t), name, dir))}
	raw, err := os.ReadFile(filepath.Join(ccftest.Vectors(t), name+".json"))
	must(t, err)
	var facts struct {
		Secrets map[string]string `json:"ledger_secrets"`
	}
	must(t, json.Unmarshal(raw, &facts))
	for from, text := range facts.Secrets {
		seqno, err := strconv.ParseUint(from, 10, 64)
		must(t, err)
		key, err := hex.DecodeString(text)
		must(t, err)
		secret, err := ledger.NewSecret(key)
		must(t, err)
		must(t, s.secrets.Add(seqno, secret))
	}
	return r
}

// readLedger reads every entry of a ledger directory in the order of seqnos.
func readLedger(t *testing.T, dir string) []*ledger.Entry {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "ledger_*"))
	must(t, err)
	first := func(file string) int {
		n, err := strconv.Atoi(regexp.MustCompile(`ledger_(\d+)`).FindStringSubmatch(filepath.Base(file))[1])
		must(t, err)
		return n
	}
	slices.SortFunc(files, func(a, b string) int { return first(a) - first(b) })
	var out []*ledger.Entry
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		end := binary.LittleEndian.Uint64(raw)
		if end == 0 {
			end = uint64(len(raw))
		}
		for rest := raw[8:end]; len(rest) > 0; {
			size, err := ledger.EntrySize(rest)
			must(t, err)
			e, err := ledger.ParseEntry(rest[:size])
			must(t, err)
			out = append(out, e)
			rest = rest[size:]
		}
	}
	return out
}

// apply takes an entry's public writes into the state.
func (r *reenactment) apply(e *ledger.Entry) {
	r.t.Helper()
	_, err := r.store.Apply(e.ID, canonical(e.Public))
	must(r.t, err)
	r.tree.Append(e.Leaf())
	if link, ok, err := tables.SecretHistory.Get(r.head()); wrote(e.Public, tables.NameSecretHistory) && ok && err == nil {
		r.links = append(r.links, gov.SecretLink{Seqno: e.ID.Seqno, Entry: link})
	}
	svc, _, err := tables.ServiceInfo.Get(r.head())
	must(r.t, err)
	r.publicOnly = svc.Status == tables.ServiceRecovering || svc.Status == tables.ServiceWaiting
}

// canonical orders a write set of CCF's, whose order within a map is its own.
func canonical(ws writeset.WriteSet) writeset.WriteSet {
	out := slices.Clone(ws)
	for i := range out {
		out[i].Writes = slices.Clone(out[i].Writes)
		slices.SortFunc(out[i].Writes, func(a, b writeset.Write) int { return bytes.Compare(a.Key, b.Key) })
		out[i].Removes = slices.Clone(out[i].Removes)
		slices.SortFunc(out[i].Removes, bytes.Compare)
	}
	slices.SortFunc(out, func(a, b writeset.MapWrites) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// again does what the transaction did, on the state before it. It returns "" for a
// transaction that is none of governance.
func (r *reenactment) again(e *ledger.Entry) (kind string, got map[string]string) {
	r.t.Helper()
	fx := &reenactedEffects{effects{s: r.service, root: r.tree.Root()}, e.ID.Seqno}
	tx := r.store.Begin()
	var err error
	switch {
	case wrote(e.Public, tables.NameNodesVirtualMeasurements):
		kind, err = "create", gov.Create(tx, r.createOf(e))
	case wrote(e.Public, tables.NameCOSEHistory):
		kind, err = r.signedAgain(tx, fx, e)
	case wrote(e.Public, tables.NameMembersAcks):
		kind, err = r.ackAgain(tx, fx, e)
	case wrote(e.Public, tables.NameSubmittedShares):
		kind, err = r.shareAgain(tx, fx, e)
	case r.publicOnly && wrote(e.Public, tables.NameServiceInfo):
		r.publicOnly = false
		kind, err = "open", gov.OpenRecovered(tx, fx)
	default:
		return "", nil
	}
	if err != nil {
		r.t.Errorf("%s %s: %v", e.ID, kind, err)
	}
	return kind, rows(tx.WriteSet())
}

// reenactedEffects knows the secrets as of a position only.
type reenactedEffects struct {
	effects
	seqno uint64
}

func (e *reenactedEffects) LedgerSecrets() (gov.LedgerSecret, *gov.LedgerSecret, error) {
	var all []gov.LedgerSecret
	for from, s := range e.s.secrets.All() {
		if from <= e.seqno {
			all = append(all, gov.LedgerSecret{From: from, Secret: s})
		}
	}
	if len(all) < 2 {
		return all[0], nil, nil
	}
	return all[len(all)-1], &all[len(all)-2], nil
}

func value(ws writeset.WriteSet, table string) (key string, v []byte) {
	for _, m := range ws {
		if m.Name == table && len(m.Writes) > 0 {
			return string(m.Writes[0].Key), m.Writes[0].Value
		}
	}
	return "", nil
}

// createOf reads back what a create transaction was made from.
func (r *reenactment) createOf(e *ledger.Entry) gov.CreateParams {
	r.t.Helper()
	store := kv.NewStore()
	_, err := store.Apply(e.ID, canonical(e.Public))
	must(r.t, err)
	at := tables.View(store.Head())
	svc, _, err := tables.ServiceInfo.Get(at)
	must(r.t, err)
	id := tables.NodesEndorsedCertificates.Keys(at)[0]
	cert, _, _ := tables.NodesEndorsedCertificates.Get(at, id)
	row, _, err := tables.NodesInfo.Get(at, id)
	must(r.t, err)
	row.Status, row.CodeDigest = "", ""
	p := gov.CreateParams{
		TxID: e.ID, ServiceCert: svc.Cert, NodeID: id, Node: row, NodeCert: cert,
		Trusted: gov.Attested{
			Measurement: []byte(tables.VirtualMeasurements.Keys(at)[0]), HostData: tables.VirtualHostData.Keys(at)[0],
		},
	}
	if source, ok, _ := tables.Constitution.Get(at); ok {
		g := &gov.Genesis{Constitution: source}
		g.Config, _, err = tables.ServiceConfig.Get(at)
		must(r.t, err)
		for _, id := range tables.MembersCerts.Keys(at) {
			var m gov.NewMember
			m.Cert, _, _ = tables.MembersCerts.Get(at, id)
			m.EncryptionKey, _, _ = tables.MembersEncryptionKeys.Get(at, id)
			g.Members = append(g.Members, m)
		}
		p.Genesis = g
	}
	return p
}

func (r *reenactment) envelope(member string, stored []byte) gov.Signed {
	r.t.Helper()
	var raw []byte
	must(r.t, json.Unmarshal(stored, &raw))
	parsed, err := cose.ParseMember(raw)
	must(r.t, err)
	cert, _, err := tables.MembersCerts.Get(r.head(), member)
	must(r.t, err)
	x509, err := identity.ParseCertificate([]byte(cert))
	must(r.t, err)
	must(r.t, parsed.Verify(x509.PublicKey.(*ecdsa.PublicKey)))
	r.now = time.Unix(*parsed.Header.CreatedAt, 0)
	return gov.Signed{Member: member, Envelope: parsed, Raw: raw}
}

func (r *reenactment) signedAgain(tx *kv.Tx, fx gov.Effects, e *ledger.Entry) (string, error) {
	r.t.Helper()
	member, stored := value(e.Public, tables.NameCOSEHistory)
	m := r.envelope(member, stored)
	kind := *m.Envelope.Header.MsgType
	var err error
	switch kind {
	case cose.TypeProposal:
		_, err = gov.Propose(context.Background(), tx, fx, m)
	case cose.TypeBallot:
		_, err = gov.Vote(context.Background(), tx, fx, m, *m.Envelope.Header.ProposalID, member)
	default:
		err = fmt.Errorf("message of type %s in %s", kind, e.ID)
	}
	return kind, err
}

func (r *reenactment) ackAgain(tx *kv.Tx, fx gov.Effects, e *ledger.Entry) (string, error) {
	r.t.Helper()
	member, stored := value(e.Public, tables.NameMembersAcks)
	var ack tables.MemberAck
	must(r.t, json.Unmarshal(stored, &ack))
	if ack.COSESign1 == nil {
		_, err := gov.UpdateStateDigest(tx, gov.Signed{Member: member}, member)
		return cose.TypeStateDigest, err
	}
	raw, err := json.Marshal(ack.COSESign1)
	must(r.t, err)
	return cose.TypeAck, gov.Ack(tx, fx, r.envelope(member, raw), member)
}

// shareAgain submits the share that the transaction holds under the ledger secret.
func (r *reenactment) shareAgain(tx *kv.Tx, fx *reenactedEffects, e *ledger.Entry) (string, error) {
	r.t.Helper()
	member, stored := value(e.Public, tables.NameSubmittedShares)
	var sealed []byte
	must(r.t, json.Unmarshal(stored, &sealed))
	current, _, err := fx.LedgerSecrets()
	must(r.t, err)
	share, err := identity.Unwrap(current.Secret.Key(), sealed)
	must(r.t, err)
	body, err := json.Marshal(map[string][]byte{"share": share})
	must(r.t, err)
	m := gov.Signed{Member: member, Envelope: &cose.Sign1{Payload: body}}
	_, err = gov.SubmitShare(tx, fx, m, member)
	return cose.TypeRecoveryShare, err
}

// drawn are the tables with values that are drawn at random; their base64 is blanked.
var drawn = map[string]bool{
	tables.NameRecoveryShares: true, tables.NameSealedShares: true, tables.NameSecretHistory: true,
	tables.NameEncryptedSecrets: true, tables.NameSubmittedShares: true, tables.NamePreviousEndorse: true,
}

// ours are the tables where we write what CCF does not: the version of our JavaScript
// engine, and no code compiled by it.
var ours = map[string]bool{tables.NameModulesQuickJSBytecode: true, tables.NameModulesQuickJSVersion: true}

var base64Text = regexp.MustCompile(`"[A-Za-z0-9+/]{40,}={0,2}"`)

// id64 spares ids, which are base64 too.
var id64 = regexp.MustCompile(`^"[0-9a-f]{64}"$`)

// rows lists what a write set writes and removes, by "table[key]".
func rows(ws writeset.WriteSet) map[string]string {
	out := map[string]string{}
	for _, m := range ws {
		if ours[m.Name] {
			continue
		}
		for _, w := range m.Writes {
			v := string(w.Value)
			if drawn[m.Name] {
				v = base64Text.ReplaceAllStringFunc(v, func(s string) string {
					if id64.MatchString(s) {
						return s
					}
					return `"<drawn>"`
				})
			}
			out[fmt.Sprintf("%s[%s]", m.Name, w.Key)] = v
		}
		for _, k := range m.Removes {
			out[fmt.Sprintf("%s[%s]", m.Name, k)] = "<removed>"
		}
	}
	return out
}
