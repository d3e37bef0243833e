package tables

import (
	"strings"
	"testing"

	"chancery/kv"
	"chancery/kv/writeset"
)

func TestMap(t *testing.T) {
	store := kv.NewStore()
	tx := store.Begin()
	for _, id := range []string{"b", "a"} {
		if err := MembersInfo.Put(tx, id, Member{Status: MemberAccepted}); err != nil {
			t.Fatal(err)
		}
	}
	if err := MembersCerts.Put(tx, "a", "PEM\n"); err != nil {
		t.Fatal(err)
	}
	if err := VirtualHostData.Put(tx, "h", Unit{}); err != nil {
		t.Fatal(err)
	}
	if err := ServiceConfig.Put(tx, Config{RecoveryThreshold: 3}); err != nil {
		t.Fatal(err)
	}
	tx.Put(NameMembersInfo, []byte("c"), []byte("{"))
	if _, err := store.Commit(tx, writeset.TxID{View: 2, Seqno: 1}); err != nil {
		t.Fatal(err)
	}

	for name, r := range map[string]Reader{"state": View(store.Head()), "transaction": store.Begin()} {
		m, ok, err := MembersInfo.Get(r, "a")
		if err != nil || !ok || m.Status != MemberAccepted {
			t.Errorf("%s: got %+v, %t, %v", name, m, ok, err)
		}
		if _, ok, err := MembersInfo.Get(r, "x"); ok || err != nil {
			t.Errorf("%s: absent key: got %t, %v", name, ok, err)
		}
		if _, ok, err := MembersInfo.Get(r, "c"); !ok || err == nil || !strings.Contains(err.Error(), `members.info["c"]`) {
			t.Errorf("%s: bad row: got %t, %v", name, ok, err)
		}
		if _, err := MembersInfo.All(r); err == nil {
			t.Errorf("%s: a bad row among all was not found", name)
		}
		if keys := MembersInfo.Keys(r); strings.Join(keys, "") != "abc" {
			t.Errorf("%s: keys %v", name, keys)
		}
		if pem, _, _ := MembersCerts.Get(r, "a"); pem != "PEM\n" {
			t.Errorf("%s: raw text %q", name, pem)
		}
		if raw, _ := r.Get(NameNodesVirtualHostData, []byte("h")); string(raw) != string(make([]byte, 8)) {
			t.Errorf("%s: unit %q", name, raw)
		}
		if raw, _ := r.Get(NameServiceConfig, make([]byte, 8)); string(raw) != `{"recovery_threshold":3}` {
			t.Errorf("%s: single value %q", name, raw)
		}
	}

	tx = store.Begin()
	MembersInfo.Delete(tx, "nobody")
	MembersInfo.Clear(tx)
	ServiceConfig.Delete(tx)
	ws := tx.WriteSet()
	if len(ws) != 2 || len(ws[0].Removes) != 4 || len(ws[1].Removes) != 1 {
		t.Errorf("removals: got %+v", ws)
	}
}
