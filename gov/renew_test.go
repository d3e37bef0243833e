package gov_test

import (
	"testing"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
)

// TestRenewCertificates: certificates are renewed in time, for as long as governance allows,
// and no sooner; those of nodes that are not trusted are left alone.
func TestRenewCertificates(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	renew := func(within time.Duration) (n int) {
		t.Helper()
		_, err := s.run(func(tx *kv.Tx, fx *effects) (err error) {
			n, err = gov.RenewCertificates(tx, fx, within)
			return err
		})
		must(t, err)
		return n
	}
	ends := func(pem string) string {
		t.Helper()
		cert, err := identity.ParseCertificate([]byte(pem))
		must(t, err)
		return cert.NotAfter.Format(time.DateTime)
	}
	node := func() string {
		t.Helper()
		pem, _, err := tables.NodesEndorsedCertificates.Get(s.head(), s.nodeID)
		must(t, err)
		return ends(pem)
	}
	const day = 24 * time.Hour
	if n := renew(100 * day); n != 0 {
		t.Errorf("%d were renewed in a service that is not open", n)
	}
	s.open()
	other := s.addPending()
	s.accept(action{"transition_node_to_trusted", args{"node_id": other.id, "valid_from": "20261125100000Z", "validity_period_days": 2}})
	s.accept(action{"remove_node", args{"node_id": other.id}})
	retired, _, err := tables.NodesEndorsedCertificates.Get(s.head(), other.id)
	must(t, err)
	first := node()
	if n := renew(10 * day); n != 0 || node() != first {
		t.Errorf("%d were renewed, 90 days before the end", n)
	}
	s.now = s.now.Add(80*day + time.Hour)
	if n := renew(10 * day); n != 2 || node() != s.now.Add(365*day-time.Second).Format(time.DateTime) {
		t.Errorf("%d were renewed, to %s", n, node())
	}
	svc, _, err := tables.ServiceInfo.Get(s.head())
	must(t, err)
	if ends(svc.Cert) != node() {
		t.Errorf("the service's certificate ends at %s", ends(svc.Cert))
	}
	s.certPEM = svc.Cert
	if after, _, _ := tables.NodesEndorsedCertificates.Get(s.head(), other.id); after != retired {
		t.Error("a retired node's certificate was renewed")
	}
	if n := renew(10 * day); n != 0 {
		t.Errorf("%d were renewed again", n)
	}
	// A time that is longer than what is allowed does not renew them all the time.
	two := uint64(2)
	_, err = s.run(func(tx *kv.Tx, _ *effects) error {
		return tables.ServiceConfig.Put(tx, tables.Config{RecoveryThreshold: 1, MaxNodeCertDays: &two, MaxServiceCertDays: &two})
	})
	must(t, err)
	s.now = s.now.Add(364*day + 12*time.Hour)
	if n := renew(100 * day); n != 2 {
		t.Errorf("%d were renewed on the last day", n)
	}
	s.now = s.now.Add(12 * time.Hour)
	if n := renew(100 * day); n != 0 {
		t.Errorf("%d were renewed after half a day of two", n)
	}
}
