package gov_test

import (
	"errors"
	"strings"
	"testing"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/internal/shamir"
)

// TestConsortium is the life of a service under three members: they activate, open it,
// vote changes in, and every member's share helps to open its ledger secret.
func TestConsortium(t *testing.T) {
	s := newService(t, 3, "default", 2)
	s.open()
	if svc, _, err := tables.ServiceInfo.Get(s.head()); err != nil || svc.Status != tables.ServiceOpen {
		t.Fatalf("service: got %+v, %v, want it Open", svc, err)
	}
	if !s.snapshot {
		t.Error("opening asked for no snapshot")
	}
	checkShares(t, s, 2)

	u := user(t)
	s.accept(action{"set_user", args{"cert": string(u.Cert), "user_data": args{"isAdmin": true}}},
		action{"set_js_app", args{"bundle": args{
			"modules": []any{args{"name": "a.js", "module": "export function f () { return {body: 1} }"}},
			"metadata": args{"endpoints": args{"/a": args{"get": args{
				"js_module": "a.js", "js_function": "f", "mode": "readonly", "forwarding_required": "never", "authn_policies": []any{"user_cert"}, "openapi": args{}}}}},
		}}})
	got, err := gov.GetUser(s.head(), u.ID)
	must(t, err)
	if got.Certificate != string(u.Cert) || got.UserData == nil || string(got.UserData.Data) != `{"isAdmin":true}` {
		t.Errorf("user: got %+v", got)
	}
	if text, err := gov.Module(s.head(), "/a.js"); err != nil || !strings.Contains(text, "function f") {
		t.Errorf("module: got %q, %v", text, err)
	}

	s.accept(action{Name: "trigger_ledger_rekey"})
	checkShares(t, s, 2)
	s.accept(action{"remove_member", args{"member_id": s.members[2].ID}})
	s.members = s.members[:2]
	checkShares(t, s, 2)
	_, err = s.act(action{"remove_member", args{"member_id": s.members[1].ID}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "would be less than recovery threshold")
}

// checkShares opens the latest ledger secret with the shares of the first k members.
func checkShares(t *testing.T, s *service, k int) {
	t.Helper()
	info, _, err := tables.RecoveryShares.Get(s.head())
	must(t, err)
	if len(info.EncryptedShares) != len(s.members) {
		t.Fatalf("%d shares for %d members", len(info.EncryptedShares), len(s.members))
	}
	var shares []shamir.Share
	for _, m := range s.members[:k] {
		raw, err := identity.UnwrapWith(m.Encryption, info.EncryptedShares[m.ID])
		must(t, err)
		share, err := shamir.ParseShare(raw)
		must(t, err)
		shares = append(shares, share)
	}
	wrapping, err := shamir.Combine(shares, k)
	must(t, err)
	key, err := wrapping.WrappingKey()
	must(t, err)
	raw, err := identity.Unwrap(key, info.WrappedLatestSecret)
	must(t, err)
	restored, err := gov.Unchain(raw, s.links)
	must(t, err)
	i := 0
	for from, secret := range s.secrets.All() {
		if i >= len(restored) || restored[i].From != from || !restored[i].Secret.Equal(secret) {
			t.Fatalf("secret %d, from seqno %d: not restored", i, from)
		}
		i++
	}
}

func wantError(t *testing.T, err error, kind gov.Kind, code, text string) {
	t.Helper()
	var refused *gov.Error
	if !errors.As(err, &refused) || refused.Kind != kind || refused.Code != code || !strings.Contains(refused.Message, text) {
		t.Errorf("got error %#v, want kind %d, code %s, text %q", err, kind, code, text)
	}
}
