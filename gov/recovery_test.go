package gov_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/internal/shamir"
	"chancery/kv"
	"chancery/kv/writeset"
)

// lose brings the service to where a recovery begins: a new node with a new identity and
// secret, which knows the public state alone. It returns the old service certificate.
func (s *service) lose() (previous string) {
	s.t.Helper()
	s.sign() // what is not signed would be cut off
	previous = s.certPEM
	s.newIdentity()
	s.publicOnly = true
	for from, secret := range s.secrets.All() {
		s.lost = append(s.lost, gov.LedgerSecret{From: from, Secret: secret})
	}
	s.secrets.Truncate(0)
	seqno := s.store.Head().TxID().Seqno + 1
	s.addSecret(seqno)
	s.view += 2
	tx := s.store.Begin()
	must(s.t, gov.Create(tx, s.createParams(writeset.TxID{View: s.view, Seqno: seqno}, nil)))
	s.commit(tx, &effects{s: s})
	s.sign()
	return previous
}

// shareOf decrypts the share of member i.
func (s *service) shareOf(i int) []byte {
	s.t.Helper()
	info, _, err := tables.RecoveryShares.Get(s.head())
	must(s.t, err)
	raw, err := identity.UnwrapWith(s.members[i].Encryption, info.EncryptedShares[s.members[i].ID])
	must(s.t, err)
	return raw
}

func (s *service) submitShare(i int, payload []byte) (v *gov.SubmissionView, err error) {
	s.t.Helper()
	_, err = s.run(func(tx *kv.Tx, fx *effects) error {
		v, err = gov.SubmitShare(tx, fx, s.message(i, cose.TypeRecoveryShare, "", payload), s.members[i].ID)
		return err
	})
	return v, err
}

func sharePayload(t *testing.T, raw []byte) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]string{"share": base64.StdEncoding.EncodeToString(raw)})
	must(t, err)
	return b
}

// TestRecovery takes a service of three members through a rekey, a disaster, and back.
func TestRecovery(t *testing.T) {
	s := newService(t, 3, "default", 2)
	s.open()
	s.accept(action{Name: "trigger_ledger_rekey"})
	if _, err := s.submitShare(0, sharePayload(t, s.shareOf(0))); err == nil {
		t.Error("a share was taken while the service is open")
	} else {
		check(t, answers(t), "share not recovering", err)
	}
	previous := s.lose()
	open := func(previous, next any) error {
		_, err := s.act(action{"transition_service_to_open", args{"previous_service_identity": previous, "next_service_identity": next}})
		return err
	}
	_, err := s.act(action{"transition_service_to_open", args{"next_service_identity": s.certPEM}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "requires both")
	wantError(t, open(s.certPEM, s.certPEM), gov.Failed, gov.CodeInternalError, "Previous service identity does not match")
	wantError(t, open(previous, previous), gov.Failed, gov.CodeInternalError, "Service identity mismatch")
	for _, name := range []string{"trigger_recovery_shares_refresh", "trigger_ledger_rekey"} {
		_, err := s.act(action{Name: name})
		wantError(t, err, gov.Failed, gov.CodeInternalError, "")
	}
	must(t, open(previous, s.certPEM))
	must(t, open(previous, s.certPEM))
	wantError(t, open(s.certPEM, s.certPEM), gov.Failed, gov.CodeInternalError, "Previous service identity does not match")
	_, err = s.act(action{"set_recovery_threshold", args{"recovery_threshold": 1}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "WaitingForRecoveryShares")

	badShares(t, s)
	v, err := s.submitShare(0, sharePayload(t, s.shareOf(0)))
	must(t, err)
	if v.SubmittedCount != 1 || v.Message != "1/2 recovery shares successfully submitted" {
		t.Errorf("first share: got %+v", v)
	}
	v, err = s.submitShare(2, sharePayload(t, s.shareOf(2)))
	must(t, err)
	if v.Message != "2/2 recovery shares successfully submitted\nEnd of recovery procedure initiated" {
		t.Errorf("second share: got %+v", v)
	}
	for _, old := range s.lost {
		if got, err := s.secrets.At(old.From); err != nil || !got.Equal(old.Secret) {
			t.Errorf("secret from seqno %d was not restored: %v", old.From, err)
		}
	}
	s.publicOnly = false
	_, err = s.run(func(tx *kv.Tx, fx *effects) error { return gov.OpenRecovered(tx, fx) })
	must(t, err)
	if left := tables.SubmittedShares.Keys(s.head()); len(left) != 0 {
		t.Errorf("%d submitted shares left", len(left))
	}
	checkShares(t, s, 2)
	info, err := gov.ServiceInfo(s.head(), func(uint64) uint64 { return 2 })
	must(t, err)
	if info.Status != tables.ServiceOpen || info.RecoveryCount != 1 || info.PreviousCreationTxID != "2.1" {
		t.Errorf("service: got %+v", info)
	}
}

// badShares submits what is no share, or none of this member's, and wants a refusal; in
// the end no share is left.
func badShares(t *testing.T, s *service) {
	t.Helper()
	good := s.shareOf(0)
	large := append([]byte{}, good...)
	for i := 4; i < 8; i++ {
		large[i] = 0xff
	}
	for payload, text := range map[string]string{
		"x": "", "{}": "type must be string, but is null", `{"share":null}`: "type must be string, but is null",
		`{"share":1}`: "but is number", `[]`: "cannot use operator[] with a string argument with array",
	} {
		_, err := s.submitShare(0, []byte(payload))
		wantError(t, err, gov.Invalid, gov.CodeInvalidInput, text)
	}
	for _, raw := range [][]byte{nil, good[:43], append(good, 0), large} {
		_, err := s.submitShare(0, sharePayload(t, raw))
		wantError(t, err, gov.Failed, gov.CodeInternalError, "this is not a decrypted recovery share")
	}
	_, err := s.submitShare(0, []byte(`{"share":"%%"}`))
	wantError(t, err, gov.Failed, gov.CodeInternalError, "base64")

	_, err = s.submitShare(0, sharePayload(t, good))
	must(t, err)
	_, err = s.submitShare(1, sharePayload(t, good))
	wantError(t, err, gov.Failed, gov.CodeInternalError, "another member has submitted this share")

	// A well-formed share that is not the issued one shows when the last one comes.
	wrong, err := shamir.ParseShare(s.shareOf(1))
	must(t, err)
	wrong.Y[3]++
	_, err = s.submitShare(1, sharePayload(t, wrong.Bytes()))
	wantError(t, err, gov.Failed, gov.CodeInternalError, "Failed to initiate private recovery.")
	if left := tables.SubmittedShares.Keys(s.head()); len(left) != 0 {
		t.Errorf("%d shares left after a wrong set", len(left))
	}
}

// TestRecoveryOwner lets one owner recover alone.
func TestRecoveryOwner(t *testing.T) {
	s := newService(t, 2, "sandbox", 1)
	owner := s.members[1]
	s.activate(0)
	s.accept(action{"set_member", args{"cert": string(owner.Cert), "encryption_pub_key": encryptionKey(t, owner), "recovery_role": "Owner"}})
	s.activate(1)
	s.accept(action{"transition_service_to_open", args{"next_service_identity": s.certPEM}})
	if m, err := gov.GetMember(s.head(), owner.ID); err != nil || m.RecoveryRole != tables.Owner {
		t.Fatalf("owner: got %+v, %v", m, err)
	}
	previous := s.lose()
	s.accept(action{"transition_service_to_open", args{"previous_service_identity": previous, "next_service_identity": s.certPEM}})
	v, err := s.submitShare(1, sharePayload(t, s.shareOf(1)))
	must(t, err)
	if !v.FullKeySubmitted || v.Message != "Full recovery key successfully submitted\nEnd of recovery procedure initiated" {
		t.Errorf("got %+v", v)
	}
	if got, err := s.secrets.At(s.lost[0].From); err != nil || !got.Equal(s.lost[0].Secret) {
		t.Errorf("the first secret was not restored: %v", err)
	}
}

// TestOpenNeedsShares refuses to open a service whose members could not recover it.
func TestOpenNeedsShares(t *testing.T) {
	for _, c := range []struct {
		name      string
		activate  int
		threshold uint64
		text      string
	}{
		{"nobody active", 0, 1, "at least one active recovery member"},
		{"threshold too high", 1, 2, "should be equal to or less than the number of active recovery members"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, 2, "sandbox", c.threshold)
			for i := range c.activate {
				s.activate(i)
			}
			_, err := s.act(action{"transition_service_to_open", args{"next_service_identity": s.certPEM}})
			wantError(t, err, gov.Failed, gov.CodeInternalError, c.text)
		})
	}
}
