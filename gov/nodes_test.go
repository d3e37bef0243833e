package gov_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
)

// addPending writes the row of a node that asks to join.
func (s *service) addPending() node {
	s.t.Helper()
	n := s.newNode()
	n.row.Status = tables.NodePending
	_, err := s.run(func(tx *kv.Tx, _ *effects) error { return tables.NodesInfo.Put(tx, n.id, n.row) })
	must(s.t, err)
	return n
}

func (s *service) nodeRow(id string) tables.Node {
	s.t.Helper()
	n, _, err := tables.NodesInfo.Get(s.head(), id)
	must(s.t, err)
	return n
}

// TestNodeLife trusts, renews, describes and retires nodes.
func TestNodeLife(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	s.open()
	s.accept(action{Name: "trigger_ledger_rekey"})
	n := s.addPending()
	_, err := s.act(action{"set_node_certificate_validity", args{"node_id": n.id, "valid_from": "260101000000Z"}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "is not trusted")
	_, err = s.act(action{"transition_node_to_trusted", args{"node_id": n.id, "valid_from": "soon"}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "Failed to create endorsed cert")
	s.accept(action{"transition_node_to_trusted", args{"node_id": n.id, "valid_from": "260101000000Z", "validity_period_days": 30}})
	row := s.nodeRow(n.id)
	latest, _ := s.secrets.Last()
	if row.Status != tables.NodeTrusted || row.LedgerSecretSeqno == nil || *row.LedgerSecretSeqno != latest {
		t.Errorf("trusted: got %s, secret from %v, want Trusted, %d", row.Status, row.LedgerSecretSeqno, latest)
	}
	view, err := gov.GetNode(s.head(), n.id)
	must(t, err)
	cert, err := identity.ParseCertificate([]byte(view.Certificate))
	must(t, err)
	if got := cert.NotAfter.Format("2006-01-02 15:04:05"); got != "2026-01-30 23:59:59" {
		t.Errorf("certificate ends %s", got)
	}
	if err := cert.CheckSignatureFrom(s.cert); err != nil {
		t.Errorf("certificate is not the service's: %v", err)
	}
	if view.QuoteInfo.Details == nil || view.QuoteInfo.Details.HostData != hostData || view.QuoteInfo.Details.Measurement != measurement {
		t.Errorf("quote: got %+v", view.QuoteInfo)
	}

	s.accept(action{"set_node_data", args{"node_id": n.id, "node_data": args{"rack": 2}}})
	s.accept(action{"set_all_nodes_certificate_validity", args{"valid_from": "2026-02-01 00:00:00"}})
	s.accept(action{"set_service_certificate_validity", args{"valid_from": "20260201000000Z", "validity_period_days": 10}})
	svc, err := gov.ServiceInfo(s.head(), nil)
	must(t, err)
	renewed, err := identity.ParseCertificate([]byte(svc.Certificate))
	must(t, err)
	if !s.key.PublicKey.Equal(renewed.PublicKey) {
		t.Error("the renewed service certificate has another key")
	}
	// Trusting again changes nothing.
	s.accept(action{"transition_node_to_trusted", args{"node_id": n.id, "valid_from": "270101000000Z"}})
	s.accept(action{"remove_node", args{"node_id": n.id}})
	s.accept(action{"remove_node", args{"node_id": n.id}})
	if row := s.nodeRow(n.id); row.Status != tables.NodeRetired || string(row.Data) != `{"rack":2}` {
		t.Errorf("retired: got %s %s", row.Status, row.Data)
	}
	pending := s.addPending()
	s.accept(action{"remove_node", args{"node_id": pending.id}})
	if tables.NodesInfo.Has(s.head(), pending.id) {
		t.Error("a removed pending node is still there")
	}
	all, err := gov.Nodes(s.head())
	if err != nil || len(all) != 2 {
		t.Errorf("nodes: got %d, %v, want the first and the retired one", len(all), err)
	}
}

// TestJoinPolicy adds and removes what may join, on every platform.
func TestJoinPolicy(t *testing.T) {
	s := newService(t, 1, "sandbox+virtual+roles", 1)
	open, err := gov.JoinPolicy(s.head())
	must(t, err)
	if len(open.Virtual.Measurements) != 1 || len(open.Virtual.HostData) != 1 || open.SGX.Measurements == nil {
		t.Errorf("at genesis: got %+v", open)
	}
	digest := "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" // of "x"
	s.accept(
		action{"add_virtual_measurement", args{"measurement": "m"}},
		action{"add_virtual_host_data", args{"host_data": digest}},
		action{"remove_virtual_host_data", args{"host_data": hostData}},
		action{"remove_virtual_measurement", args{"measurement": measurement}},
		action{"add_snp_measurement", args{"measurement": "ab"}},
		action{"add_snp_host_data", args{"host_data": digest, "security_policy": "x"}},
		action{"add_snp_uvm_endorsement", args{"did": "d", "feed": "f", "svn": "1"}},
		action{"add_snp_uvm_endorsement", args{"did": "d", "feed": "g", "svn": "2"}},
		action{"set_snp_minimum_tcb_version", args{"cpuid": "00a00f11", "tcb_version": args{"boot_loader": 1, "tee": 0, "snp": 2, "microcode": 3}}},
		action{"set_node_join_policy", args{"policy": "export function apply () { return true }"}},
		action{"set_role_definition", args{"role": "reader", "actions": []string{"read", "list", "read"}}},
	)
	v, err := gov.JoinPolicy(s.head())
	must(t, err)
	if len(v.Virtual.Measurements) != 1 || v.Virtual.Measurements[0] != "m" || len(v.Virtual.HostData) != 1 || v.Virtual.HostData[0] != digest {
		t.Errorf("virtual: got %+v", v.Virtual)
	}
	if len(v.SNP.Measurements) != 1 || v.SNP.HostData[digest] != "x" || v.SNP.UVMEndorsements["d"]["g"].SVN != "2" || *v.SNP.TCBVersions["00a00f11"].Microcode != 3 {
		t.Errorf("SNP: got %+v", v.SNP)
	}
	if n := s.store.Head().Len("public:programmability.roles.reader"); n != 2 {
		t.Errorf("role has %d actions, want 2", n)
	}
	if p, ok, _ := tables.JoinPolicy.Get(s.head()); !ok || p == "" {
		t.Error("no join policy")
	}
	s.accept(
		action{"remove_snp_measurement", args{"measurement": "ab"}}, action{"remove_snp_host_data", args{"host_data": digest}},
		action{"remove_snp_uvm_endorsement", args{"did": "d", "feed": "f"}}, action{"remove_snp_uvm_endorsement", args{"did": "d", "feed": "g"}},
		action{"remove_snp_minimum_tcb_version", args{"cpuid": "00a00f11"}}, action{Name: "remove_node_join_policy"},
	)
	v, err = gov.JoinPolicy(s.head())
	must(t, err)
	if len(v.SNP.Measurements)+len(v.SNP.HostData)+len(v.SNP.UVMEndorsements)+len(v.SNP.TCBVersions) != 0 {
		t.Errorf("after removal: got %+v", v.SNP)
	}
}

// TestLastNode: no proposal leaves the service without a trusted node, whatever its
// constitution says; one that trusts another in the same breath does not.
func TestLastNode(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	s.open()
	var first string
	rows, err := gov.Nodes(s.head())
	must(t, err)
	for _, row := range rows {
		first = row.NodeID
	}
	remove := action{"remove_node", args{"node_id": first}}
	_, err = s.act(remove)
	wantError(t, err, gov.Failed, gov.CodeInternalError, "no trusted node would be left")
	if row := s.nodeRow(first); row.Status != tables.NodeTrusted {
		t.Fatalf("the refused proposal left the node %s", row.Status)
	}
	next := s.addPending()
	s.accept(remove, action{"transition_node_to_trusted", args{"node_id": next.id, "valid_from": "260101000000Z"}})
	_, err = s.act(action{"remove_node", args{"node_id": next.id}})
	wantError(t, err, gov.Failed, gov.CodeInternalError, "no trusted node would be left")
}

// TestExpiredPending forgets the Pending nodes that have ceased to ask, and no others.
func TestExpiredPending(t *testing.T) {
	now := time.UnixMilli(10 * time.Hour.Milliseconds())
	ms := func(at time.Duration) *int64 { v := now.Add(at).UnixMilli(); return &v }
	negative := int64(-1)
	for name, tt := range map[string]struct {
		status  tables.NodeStatus
		seen    *int64
		timeout time.Duration
		gone    bool
		want    *int64
	}{
		"asks still":           {tables.NodePending, ms(-time.Minute), time.Hour, false, ms(-time.Minute)},
		"at the limit":         {tables.NodePending, ms(-time.Hour), time.Hour, false, ms(-time.Hour)},
		"ceased to ask":        {tables.NodePending, ms(-time.Hour - time.Millisecond), time.Hour, true, nil},
		"without an end":       {tables.NodePending, ms(-9 * time.Hour), 0, false, ms(-9 * time.Hour)},
		"of an older release":  {tables.NodePending, nil, time.Hour, false, ms(0)},
		"before the beginning": {tables.NodePending, &negative, time.Hour, false, ms(0)},
		"of the future":        {tables.NodePending, ms(time.Hour), time.Hour, false, ms(0)},
		"trusted meanwhile":    {tables.NodeTrusted, ms(-9 * time.Hour), time.Hour, false, ms(-9 * time.Hour)},
		"retired":              {tables.NodeRetired, ms(-9 * time.Hour), time.Hour, false, ms(-9 * time.Hour)},
	} {
		tx := kv.NewStore().Begin()
		must(t, tables.NodesInfo.Put(tx, "n", tables.Node{Status: tt.status, PendingLastSeen: tt.seen}))
		removed, err := gov.RemoveExpiredPending(tx, now, tt.timeout)
		must(t, err)
		row, ok, err := tables.NodesInfo.Get(tx, "n")
		must(t, err)
		if ok == tt.gone || (len(removed) == 1) != tt.gone {
			t.Errorf("%s: there: %t, removed: %v", name, ok, removed)
		}
		if diff := cmp.Diff(tt.want, row.PendingLastSeen); diff != "" {
			t.Errorf("%s: last seen (-want +got):\n%s", name, diff)
		}
	}
}
