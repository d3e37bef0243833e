package gov_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"chancery/attest"
	"chancery/gov"
	"chancery/gov/constitution"
	"chancery/gov/tables"
	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// service is a one-node service without a ledger: a real store, real keys, and a tree
// whose leaves stand for entries. Its clock moves only when a test moves it.
type service struct {
	t       *testing.T
	store   *kv.Store
	tree    *merkle.Tree
	now     time.Time
	key     *ecdsa.PrivateKey
	cert    *x509.Certificate
	certPEM string
	secrets ledger.Secrets
	members []*identity.Participant
	nodeID  string

	// what the last committed transaction asked for
	chunk, snapshot bool
	publicOnly      bool
	view            uint64
	lost            []gov.LedgerSecret // secrets that the disaster took
	links           []gov.SecretLink
	sealer          attest.Sealer // of the node; nil where it seals nothing
	sealed          *gov.SealedNode
	earlier         *gov.SealedShare
	decision        *gov.Decision
}

// effects is what one transaction does beside its writes.
type effects struct {
	s               *service
	root            ledger.Digest
	chunk, snapshot bool
}

func (e *effects) Root() (ledger.Digest, error) { return e.root, nil }

func (e *effects) LedgerSecrets() (gov.LedgerSecret, *gov.LedgerSecret, error) {
	var all []gov.LedgerSecret
	for from, s := range e.s.secrets.All() {
		all = append(all, gov.LedgerSecret{From: from, Secret: s})
	}
	current := all[len(all)-1]
	if len(all) == 1 {
		return current, nil, nil
	}
	return current, &all[len(all)-2], nil
}

func (e *effects) ForceChunk()                   { e.chunk = true }
func (e *effects) RequestSnapshot()              { e.snapshot = true }
func (e *effects) PublicOnly() bool              { return e.s.publicOnly }
func (e *effects) ServiceKey() crypto.Signer     { return e.s.key }
func (e *effects) Now() time.Time                { return e.s.now }
func (e *effects) Log(_ slog.Level, line string) { e.s.t.Log(line) }
func (e *effects) ReadingPrivate() bool          { return false }

func (e *effects) SecretHistory() ([]gov.SecretLink, error) { return e.s.links, nil }

func (e *effects) Unseal(info tables.SealedSharesInfo) ([]byte, bool, error) {
	if e.s.sealer == nil {
		return nil, false, nil
	}
	secret, err := e.s.earlier.Open(e.s.sealer, info)
	return secret, true, err
}

func (e *effects) EndorseNode(csr, validFrom string, days uint64) (string, error) {
	v, err := validity(validFrom, days)
	if err != nil {
		return "", err
	}
	pem, err := identity.EndorseNode([]byte(csr), e.s.key, e.s.cert, v)
	return string(pem), err
}

func (e *effects) RenewService(validFrom string, days uint64) (string, error) {
	v, err := validity(validFrom, days)
	if err != nil {
		return "", err
	}
	pem, err := identity.SelfSignedService(e.s.key, e.s.cert.RawSubject, v)
	return string(pem), err
}

func validity(validFrom string, days uint64) (identity.Validity, error) {
	from, err := identity.ParseValidFrom(validFrom)
	if err != nil {
		return identity.Validity{}, err
	}
	return identity.ValidFor(from, int(days))
}

var start = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

// newService creates a service with n members that hold encryption keys.
func newService(t *testing.T, n int, variant string, threshold uint64) *service {
	t.Helper()
	s := &service{t: t, store: kv.NewStore(), tree: merkle.New(), now: start, view: 2}
	s.tree.Append(merkle.Hash{})
	s.newIdentity()
	s.addSecret(1)
	source, err := constitution.Source(variant)
	must(t, err)
	genesis := gov.Genesis{Config: tables.Config{RecoveryThreshold: threshold}, Constitution: source}
	for i := range n {
		m := participant(t, i)
		s.members = append(s.members, m)
		genesis.Members = append(genesis.Members, gov.NewMember{Cert: string(m.Cert), EncryptionKey: encryptionKey(t, m)})
	}
	tx := s.store.Begin()
	must(t, gov.Create(tx, s.createParams(writeset.TxID{View: 2, Seqno: 1}, &genesis)))
	s.commit(tx, &effects{s: s})
	s.sign()
	return s
}

func (s *service) newIdentity() {
	s.t.Helper()
	key, err := identity.GenerateKey(elliptic.P384())
	must(s.t, err)
	subject, err := identity.ParseSubject("CN=CCF Service")
	must(s.t, err)
	v, err := identity.ValidFor(s.now, 90)
	must(s.t, err)
	pem, err := identity.SelfSignedService(key, subject, v)
	must(s.t, err)
	cert, err := identity.ParseCertificate(pem)
	must(s.t, err)
	s.key, s.cert, s.certPEM = key, cert, string(pem)
}

func (s *service) addSecret(from uint64) {
	s.t.Helper()
	raw := make([]byte, ledger.SecretSize)
	_, err := rand.Read(raw)
	must(s.t, err)
	secret, err := ledger.NewSecret(raw)
	must(s.t, err)
	must(s.t, s.secrets.Add(from, secret))
}

// createParams describes a virtual node and the service that it begins or recovers.
func (s *service) createParams(id writeset.TxID, g *gov.Genesis) gov.CreateParams {
	s.t.Helper()
	node := s.newNode()
	s.nodeID = node.id
	endorsed, err := (&effects{s: s}).EndorseNode(node.row.CSR, "20261125100000Z", 90)
	must(s.t, err)
	return gov.CreateParams{
		TxID: id, ServiceCert: s.certPEM, NodeID: node.id, Node: node.row, NodeCert: endorsed, Genesis: g,
		Trusted: gov.Attested{Measurement: []byte(measurement), HostData: hostData}, Sealed: s.sealed, Decision: s.decision,
	}
}

const (
	measurement = "Insecure hard-coded virtual measurement v1"
	hostData    = "6aeeea3e39204f74410dd0844857320e70e199d80a3d813987d2d14874b545eb"
)

type node struct {
	id  string
	row tables.Node
}

func (s *service) newNode() node {
	s.t.Helper()
	key, err := identity.GenerateKey(elliptic.P384())
	must(s.t, err)
	id, err := identity.KeyID(&key.PublicKey)
	must(s.t, err)
	subject, err := identity.ParseSubject("CN=CCF Node")
	must(s.t, err)
	csr, err := identity.NewRequest(key, subject, nil)
	must(s.t, err)
	pub, err := identity.PublicKeyPEM(&key.PublicKey)
	must(s.t, err)
	address := tables.Interface{BindAddress: "127.0.0.1:1", PublishedAddress: "127.0.0.1:1"}
	quote := `{"host_data":"` + hostData + `","measurement":"` + measurement + `","report_data":"AAAA"}`
	return node{id, tables.Node{
		NodeToNode: address, RPC: map[string]tables.Interface{"primary_rpc_interface": address},
		Quote:         tables.QuoteInfo{Format: tables.QuoteVirtual, Quote: []byte(quote), Endorsements: []byte{}},
		EncryptionKey: encryptionKey(s.t, participant(s.t, 0)), CSR: string(csr), PublicKey: string(pub),
	}}
}

// commit gives the transaction the next position and does what it asked for.
func (s *service) commit(tx *kv.Tx, fx *effects) writeset.WriteSet {
	s.t.Helper()
	id := writeset.TxID{View: s.view, Seqno: s.store.Head().TxID().Seqno + 1}
	ws, err := s.store.Commit(tx, id)
	must(s.t, err)
	s.tree.Append(leaf(id))
	s.chunk, s.snapshot = fx.chunk, fx.snapshot
	if wrote(ws, tables.NameEncryptedSecrets) {
		s.takeSecrets(id.Seqno)
	}
	if link, ok, err := tables.SecretHistory.Get(s.head()); ok && err == nil && wrote(ws, tables.NameSecretHistory) {
		s.links = append(s.links, gov.SecretLink{Seqno: id.Seqno, Entry: link})
	}
	return ws
}

// takeSecrets does what a node does with a write to encrypted_ledger_secrets.
func (s *service) takeSecrets(seqno uint64) {
	s.t.Helper()
	all, _, err := tables.EncryptedSecrets.Get(s.head())
	must(s.t, err)
	for _, e := range all[s.nodeID] {
		raw, err := identity.UnwrapWith(participant(s.t, 0).Encryption, e.EncryptedSecret)
		must(s.t, err)
		secret, err := ledger.NewSecret(raw)
		must(s.t, err)
		must(s.t, s.secrets.Add(tables.Or(e.Version, seqno+1), secret))
	}
}

func wrote(ws writeset.WriteSet, table string) bool {
	for _, m := range ws {
		if m.Name == table && len(m.Writes) > 0 {
			return true
		}
	}
	return false
}

func leaf(id writeset.TxID) (h merkle.Hash) {
	copy(h[:], "entry "+id.String())
	return h
}

// sign writes the tree as a signature transaction does.
func (s *service) sign() {
	s.t.Helper()
	tx := s.store.Begin()
	must(s.t, tables.Tree.Put(tx, s.tree.AppendTo(nil, 0)))
	root := s.tree.Root()
	text, err := json.Marshal(map[string]string{"root": hexOf(root[:])})
	must(s.t, err)
	tx.Put(tables.NameSignatures, tables.SingletonKey, text)
	s.commit(tx, &effects{s: s})
}

func (s *service) head() tables.Reader { return tables.View(s.store.Head()) }

// run executes a governance request and commits it, unless it is refused.
func (s *service) run(f func(tx *kv.Tx, fx *effects) error) (writeset.WriteSet, error) {
	s.t.Helper()
	tx := s.store.Begin()
	fx := &effects{s: s, root: s.tree.Root()}
	if err := f(tx, fx); err != nil {
		var refused *gov.Error
		if !errors.As(err, &refused) || !refused.Apply {
			return nil, err
		}
		s.commit(tx, fx)
		return nil, err
	}
	return s.commit(tx, fx), nil
}

// message signs a governance message as member i.
func (s *service) message(i int, kind, proposal string, payload []byte) gov.Signed {
	s.t.Helper()
	at := s.now.Unix()
	h := cose.Header{KID: s.members[i].ID, MsgType: &kind, CreatedAt: &at}
	if proposal != "" {
		h.ProposalID = &proposal
	}
	raw, err := cose.Sign(s.members[i].Key, h, payload)
	must(s.t, err)
	return s.signed(i, raw)
}

func (s *service) signed(i int, raw []byte) gov.Signed {
	s.t.Helper()
	envelope, err := cose.ParseMember(raw)
	must(s.t, err)
	return gov.Signed{Member: s.members[i].ID, Envelope: envelope, Raw: raw}
}

func (s *service) propose(i int, text string) (*gov.ProposalView, error) {
	s.t.Helper()
	return s.submit(s.message(i, cose.TypeProposal, "", []byte(text)))
}

func (s *service) submit(m gov.Signed) (v *gov.ProposalView, err error) {
	s.t.Helper()
	_, err = s.run(func(tx *kv.Tx, fx *effects) error {
		v, err = gov.Propose(context.Background(), tx, fx, m)
		return err
	})
	return v, err
}

const yes = "export function vote (proposal, proposerId) { return true }"
const no = "export function vote (proposal, proposerId) { return false }"

func (s *service) vote(i int, id, ballot string) (v *gov.ProposalView, err error) {
	s.t.Helper()
	text, err := json.Marshal(map[string]string{"ballot": ballot})
	must(s.t, err)
	m := s.message(i, cose.TypeBallot, id, text)
	_, err = s.run(func(tx *kv.Tx, fx *effects) error {
		v, err = gov.Vote(context.Background(), tx, fx, m, id, s.members[i].ID)
		return err
	})
	return v, err
}

// activate makes member i acknowledge the state.
func (s *service) activate(i int) {
	s.t.Helper()
	id := s.members[i].ID
	var digest *gov.DigestView
	_, err := s.run(func(tx *kv.Tx, _ *effects) (err error) {
		digest, err = gov.UpdateStateDigest(tx, s.message(i, cose.TypeStateDigest, "", nil), id)
		return err
	})
	must(s.t, err)
	body, err := json.Marshal(digest)
	must(s.t, err)
	_, err = s.run(func(tx *kv.Tx, fx *effects) error {
		return gov.Ack(tx, fx, s.message(i, cose.TypeAck, "", body), id)
	})
	must(s.t, err)
	s.sign()
}

// act proposes actions as member 0 and has members vote for them until they pass.
func (s *service) act(actions ...action) (*gov.ProposalView, error) {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	text, err := json.Marshal(map[string]any{"actions": actions})
	must(s.t, err)
	v, err := s.propose(0, string(text))
	for i := 0; err == nil && v.ProposalState == tables.ProposalOpen && i < len(s.members); i++ {
		v, err = s.vote(i, v.ProposalID, yes)
	}
	return v, err
}

type action struct {
	Name string `json:"name"`
	Args any    `json:"args,omitempty"`
}

type args map[string]any

// accept is act that must end Accepted.
func (s *service) accept(actions ...action) {
	s.t.Helper()
	v, err := s.act(actions...)
	if err != nil || v.ProposalState != tables.ProposalAccepted {
		s.t.Fatalf("%v: got %+v, %v, want it Accepted", actions, v, err)
	}
}

// open activates all members and opens the service.
func (s *service) open() {
	s.t.Helper()
	for i := range s.members {
		s.activate(i)
	}
	s.accept(action{"transition_service_to_open", args{"next_service_identity": s.certPEM}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// participant returns one of a few participants with RSA keys, made once: they are slow
// to make.
func participant(t *testing.T, i int) *identity.Participant {
	t.Helper()
	for len(participants) <= i {
		p, err := identity.NewParticipant("member", elliptic.P384(), start.Add(-time.Hour), 365, true)
		must(t, err)
		participants = append(participants, p)
	}
	return participants[i]
}

var participants []*identity.Participant

func encryptionKey(t *testing.T, p *identity.Participant) string {
	t.Helper()
	pem, err := identity.PublicKeyPEM(&p.Encryption.PublicKey)
	must(t, err)
	return string(pem)
}

func user(t *testing.T) *identity.Participant {
	t.Helper()
	p, err := identity.NewParticipant("user", elliptic.P384(), start, 90, false)
	must(t, err)
	return p
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}
