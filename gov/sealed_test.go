package gov_test

import (
	"encoding/json"
	"strings"
	"testing"

	"chancery/attest"
	"chancery/attest/snp/guest"
	"chancery/attest/snp/snptest"
	"chancery/attest/virtual"
	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/durable/memfs"
	"chancery/kv"
)

// tcbOf is the version that a machine reports, as a recovery key names it.
func tcbOf(m *snptest.Machine) string { return m.Report.ReportedTCB.String() }

func sealedNode(t *testing.T, m *snptest.Machine, name string) *gov.SealedNode {
	t.Helper()
	key, err := gov.SealRecoveryKey(guest.Sealer{Device: m}, tcbOf(m))
	must(t, err)
	return &gov.SealedNode{Key: key, Name: name}
}

// TestSealedRecovery: a node whose processor sealed a share recovers the service without
// members' shares, through rekeys, joins and a second disaster.
func TestSealedRecovery(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	s := newService(t, 2, "sandbox", 2)
	_, err := s.run(func(tx *kv.Tx, _ *effects) error {
		must(t, tables.NodesSealedRecoveryKeys.Put(tx, s.nodeID, sealedNode(t, m, "here").Key))
		return tables.SealingNames.Put(tx, "here", s.nodeID)
	})
	must(t, err)
	if _, written, _ := tables.SealedShares.Get(s.head()); written {
		t.Error("the create transaction seals, unlike CCF's")
	}
	s.open()
	if v, err := gov.GetNode(s.head(), s.nodeID); err != nil || v.SealingLocation != "here" {
		t.Errorf("members see %+v, %v", v, err)
	}
	for life := 1; life <= 2; life++ {
		s.accept(action{Name: "trigger_ledger_rekey"})
		before, _, err := tables.SealedShares.Get(s.head())
		must(t, err)
		s.accept(action{Name: "trigger_recovery_shares_refresh"})
		if after, _, _ := tables.SealedShares.Get(s.head()); string(after.WrappedLatestSecret) != string(before.WrappedLatestSecret) {
			t.Error("a refresh of the members' shares seals anew, unlike CCF's")
		}
		joiner := s.addPending()
		s.accept(action{"transition_node_to_trusted", args{"node_id": joiner.id, "valid_from": "20261125100000Z"}})
		after, _, err := tables.SealedShares.Get(s.head())
		must(t, err)
		if string(after.WrappedLatestSecret) == string(before.WrappedLatestSecret) || after.EncryptedWrappingKeys[s.nodeID] == nil || after.EncryptedWrappingKeys[joiner.id] != nil || after.PreviousStoredVersion == nil {
			t.Error("a node that is trusted does not shuffle, or not among those that seal")
		}
		if s.earlier, err = gov.FindSealedShare(s.head(), "elsewhere"); s.earlier != nil || err != nil {
			t.Errorf("elsewhere: %v, %v", s.earlier, err)
		}
		s.earlier, err = gov.FindSealedShare(s.head(), "here")
		must(t, err)
		if s.earlier == nil || s.earlier.NodeID != s.nodeID {
			t.Fatalf("here: %+v", s.earlier)
		}
		s.sealer, s.sealed = guest.Sealer{Device: m}, sealedNode(t, m, "here")
		previous := s.lose()
		both := args{"previous_service_identity": previous, "next_service_identity": s.certPEM}
		for name, other := range otherMachines(t, m) {
			s.sealer = other
			if _, err := s.act(action{"transition_service_to_open", both}); err == nil || !strings.Contains(err.Error(), "Unable to open service") {
				t.Errorf("%s: %v", name, err)
			}
			if svc, _, _ := tables.ServiceInfo.Get(s.head()); svc.Status != tables.ServiceRecovering {
				t.Fatalf("%s: the service is %s", name, svc.Status)
			}
		}
		s.sealer = guest.Sealer{Device: m}
		s.accept(action{"transition_service_to_open", both})
		if how, _, _ := tables.LastRecoveryType.Get(s.head()); how != tables.RecoveryUnsealing {
			t.Errorf("the last recovery is %q", how)
		}
		for _, old := range s.lost {
			if got, err := s.secrets.At(old.From); err != nil || !got.Equal(old.Secret) {
				t.Errorf("life %d: the secret from seqno %d was not restored: %v", life, old.From, err)
			}
		}
		s.publicOnly, s.lost = false, nil
		_, err = s.run(func(tx *kv.Tx, fx *effects) error { return gov.OpenRecovered(tx, fx) })
		must(t, err)
	}
}

// otherMachines are sealers that must not open what m sealed.
func otherMachines(t *testing.T, m *snptest.Machine) map[string]attest.Sealer {
	t.Helper()
	out := map[string]attest.Sealer{"another chip": guest.Sealer{Device: snptest.New(t, attest.Milan)}}
	for name, edit := range map[string]func(*snptest.Machine){
		"another measurement": func(m *snptest.Machine) { m.Report.Measurement[5]++ },
		"other host data":     func(m *snptest.Machine) { m.Report.HostData[5]++ },
		"an older TCB":        func(m *snptest.Machine) { m.Report.CommittedTCB = 1 },
	} {
		other := *m
		edit(&other)
		out[name] = guest.Sealer{Device: &other}
	}
	v, err := virtual.NewSealer(memfs.New(), "key.json", [32]byte{})
	must(t, err)
	out["the virtual platform"] = v
	return out
}

// TestSealedRefusals changes each part of what is sealed.
func TestSealedRefusals(t *testing.T) {
	m := snptest.New(t, attest.Milan)
	s := newService(t, 1, "sandbox", 1)
	node := sealedNode(t, m, "here")
	_, err := s.run(func(tx *kv.Tx, _ *effects) error {
		must(t, tables.NodesSealedRecoveryKeys.Put(tx, s.nodeID, node.Key))
		return tables.SealingNames.Put(tx, "here", s.nodeID)
	})
	must(t, err)
	s.open()
	good, _, err := tables.SealedShares.Get(s.head())
	must(t, err)
	for name, edit := range map[string]func(*tables.SealedRecoveryKey, *tables.SealedSharesInfo){
		"public key":    func(k *tables.SealedRecoveryKey, _ *tables.SealedSharesInfo) { k.PublicKey += "\n" },
		"ciphertext":    func(k *tables.SealedRecoveryKey, _ *tables.SealedSharesInfo) { k.Ciphertext[40]++ },
		"cut":           func(k *tables.SealedRecoveryKey, _ *tables.SealedSharesInfo) { k.Ciphertext = k.Ciphertext[:20] },
		"TCB":           func(k *tables.SealedRecoveryKey, _ *tables.SealedSharesInfo) { k.TCBVersion = "00" },
		"version":       func(k *tables.SealedRecoveryKey, _ *tables.SealedSharesInfo) { k.Version = "SNP_v2" },
		"wrapped key":   func(_ *tables.SealedRecoveryKey, i *tables.SealedSharesInfo) { i.EncryptedWrappingKeys[s.nodeID][3]++ },
		"ledger secret": func(_ *tables.SealedRecoveryKey, i *tables.SealedSharesInfo) { i.WrappedLatestSecret[30]++ },
		"nothing":       nil,
	} {
		k, i := clone(t, node.Key), clone(t, good)
		if edit != nil {
			edit(&k, &i)
		}
		_, err := s.run(func(tx *kv.Tx, _ *effects) error {
			must(t, tables.NodesSealedRecoveryKeys.Put(tx, s.nodeID, k))
			return tables.SealedShares.Put(tx, i)
		})
		must(t, err)
		found, err := gov.FindSealedShare(s.head(), "here")
		must(t, err)
		raw, err := found.Open(guest.Sealer{Device: m}, i)
		if (err == nil) != (edit == nil) || (raw == nil) != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tx := s.store.Begin()
	must(t, gov.ForgetNode(tx, s.nodeID))
	s.commit(tx, &effects{s: s})
	if found, err := gov.FindSealedShare(s.head(), "here"); found != nil || err != nil || len(tables.SealingNames.Keys(s.head())) != 0 {
		t.Errorf("a node that is gone: %v, %v", found, err)
	}
}

func clone[T any](t *testing.T, v T) (out T) {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	must(t, json.Unmarshal(text, &out))
	return out
}
