package gov_test

import (
	"strings"
	"testing"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/kv/writeset"
)

// TestCreateMembers makes genesis members of every combination of key and role.
func TestCreateMembers(t *testing.T) {
	p := participant(t, 0)
	for _, c := range []struct {
		name string
		key  bool
		role tables.RecoveryRole
		want string // the row, "" where it is refused
	}{
		{"no key", false, "", `{"member_data":{"a":1},"status":"Accepted"}`},
		{"no key, no part", false, tables.NonParticipant, `{"member_data":{"a":1},"recovery_role":"NonParticipant","status":"Accepted"}`},
		{"no key, participant", false, tables.Participant, ""},
		{"no key, owner", false, tables.Owner, ""},
		{"key", true, "", `{"member_data":{"a":1},"status":"Accepted"}`},
		{"key, owner", true, tables.Owner, `{"member_data":{"a":1},"recovery_role":"Owner","status":"Accepted"}`},
		{"key, no part", true, tables.NonParticipant, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, 0, "default", 1)
			m := gov.NewMember{Cert: string(p.Cert), Data: tables.Data(`{"a":1}`), RecoveryRole: c.role}
			if c.key {
				m.EncryptionKey = encryptionKey(t, p)
			}
			g := &gov.Genesis{Members: []gov.NewMember{m, m}, Config: tables.Config{RecoveryThreshold: 1}, Constitution: "x"}
			tx := kv.NewStore().Begin()
			err := gov.Create(tx, s.createParams(writeset.TxID{View: 2, Seqno: 1}, g))
			if (err == nil) != (c.want != "") {
				t.Fatalf("got %v, want row %q", err, c.want)
			}
			if row, _ := tx.Get(tables.NameMembersInfo, []byte(p.ID)); err == nil && string(row) != c.want {
				t.Errorf("row %s, want %s", row, c.want)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	s := newService(t, 1, "default", 1)
	id := writeset.TxID{View: 2, Seqno: 2}
	for _, c := range []struct {
		name, text string
		change     func(*gov.CreateParams) tables.Writer
	}{
		{"created already", "created already", func(p *gov.CreateParams) tables.Writer { return s.store.Begin() }},
		{"nothing to recover", "the ledger holds none", func(p *gov.CreateParams) tables.Writer { p.Genesis = nil; return kv.NewStore().Begin() }},
		{"unknown platform", "quote format", func(p *gov.CreateParams) tables.Writer {
			p.Node.Quote.Format = "TDX"
			return kv.NewStore().Begin()
		}},
		{"member without certificate", "adding a member", func(p *gov.CreateParams) tables.Writer {
			p.Genesis.Members = []gov.NewMember{{Cert: "x"}}
			return kv.NewStore().Begin()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := s.createParams(id, &gov.Genesis{})
			w := c.change(&p)
			if err := gov.Create(w, p); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
		})
	}
}

// TestCreateSNP records what an SNP node attests to; in a recovery the lower of two
// versions of the utility VM stays.
func TestCreateSNP(t *testing.T) {
	s := newService(t, 1, "default", 1)
	create := func(tx tables.Writer, id writeset.TxID, g *gov.Genesis, u *gov.UVMEndorsement) {
		t.Helper()
		p := s.createParams(id, g)
		p.Node.Quote.Format = tables.QuoteSNP
		two := uint32(2)
		p.Trusted = gov.Attested{
			Measurement: []byte{0xab}, HostData: hostData, SecurityPolicy: "package policy", UVM: u,
			CPUID: "00a00f11", TCB: &tables.TCBVersion{SNP: &two},
		}
		must(t, gov.Create(tx, p))
	}
	feeds := func(tx tables.Reader) string {
		row, _ := tx.Get(tables.NameNodesSNPUVMEndorsements, []byte("did"))
		return string(row)
	}
	tx := kv.NewStore().Begin()
	create(tx, writeset.TxID{View: 2, Seqno: 1}, &gov.Genesis{}, &gov.UVMEndorsement{DID: "did", Feed: "f", SVN: "100"})
	if policy, _, _ := tables.SNPHostData.Get(tx, hostData); policy != "package policy" {
		t.Errorf("policy %q", policy)
	}
	if row := feeds(tx); row != `{"f":{"svn":"100"}}` || tables.SNPMeasurements.Has(tx, "ab") {
		t.Errorf("endorsed: feeds %s, measurement %t", row, tables.SNPMeasurements.Has(tx, "ab"))
	}
	must(t, tables.Tree.Put(tx, s.tree.AppendTo(nil, 0)))
	for _, c := range [][2]string{{"101", `{"f":{"svn":"100"}}`}, {"99", `{"f":{"svn":"99"}}`}} {
		s.newIdentity()
		create(tx, writeset.TxID{View: 4, Seqno: 9}, nil, &gov.UVMEndorsement{DID: "did", Feed: "f", SVN: c[0]})
		if row := feeds(tx); row != c[1] {
			t.Errorf("recovered with version %s: feeds %s, want %s", c[0], row, c[1])
		}
	}
	tx = kv.NewStore().Begin()
	create(tx, writeset.TxID{View: 2, Seqno: 1}, &gov.Genesis{}, nil)
	if !tables.SNPMeasurements.Has(tx, "ab") {
		t.Error("without endorsements the measurement is not trusted")
	}
}

// TestLastMember keeps the last active member, who alone could bring in others.
func TestLastMember(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	s.activate(0)
	u := user(t)
	s.accept(action{"set_member", args{"cert": string(u.Cert)}})
	_, err := s.act(action{"remove_member", args{"member_id": s.members[0].ID}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "last active member")
	s.accept(action{"remove_member", args{"member_id": u.ID}})
}

// TestQueryIDs asks for what is not there, by ids of every form.
func TestQueryIDs(t *testing.T) {
	s := newService(t, 1, "default", 1)
	upper := strings.ToUpper(s.members[0].ID)
	for name, get := range map[string]func(id string) error{
		"member":   func(id string) error { _, err := gov.GetMember(s.head(), id); return err },
		"user":     func(id string) error { _, err := gov.GetUser(s.head(), id); return err },
		"node":     func(id string) error { _, err := gov.GetNode(s.head(), id); return err },
		"proposal": func(id string) error { _, err := gov.GetProposal(s.head(), id); return err },
	} {
		for _, id := range []string{"", "abc", zeroID + "0", strings.Repeat("g", 64), strings.Repeat("é", 32)} {
			wantError(t, get(id), gov.Invalid, gov.CodeInvalidResourceName, "is not a valid hex-encoded "+name+" ID")
		}
		for _, id := range []string{zeroID, upper} {
			if got := verdict(t, get(id)); got.Status != 404 {
				t.Errorf("%s %s: got %+v, want none", name, id, got)
			}
		}
	}
	empty := tables.View(kv.NewStore().Head())
	_, err := gov.ServiceInfo(empty, nil)
	wantError(t, err, gov.Missing, gov.CodeResourceNotFound, "Service info not yet available")
	_, err = gov.Constitution(empty)
	wantError(t, err, gov.Missing, gov.CodeResourceNotFound, "Constitution not found")
	_, err = gov.Module(empty, "none")
	wantError(t, err, gov.Missing, gov.CodeResourceNotFound, "Module none does not exist.")
}
