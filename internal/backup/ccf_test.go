package backup

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/ccftest"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/ledger"
)

// TestCCFService backs up a service that CCF wrote, before and after its recovery, with its
// snapshots, and restores it to points in both lives.
func TestCCFService(t *testing.T) {
	if testing.Short() {
		t.Skip("not in short mode")
	}
	vectors := filepath.Join(ccftest.Vectors(t), "seven_service")
	cert := func(name string) *x509.Certificate {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(vectors, "common", name))
		must(t, err)
		c, err := identity.ParseCertificate(text)
		must(t, err)
		return c
	}
	first, second := cert("service_cert_0.pem"), cert("service_cert_1.pem")
	dir := t.TempDir()
	store, err := OpenStore(durable.OS(), filepath.Join(dir, "backups"), S3Options{})
	must(t, err)
	clock := begun
	create := func(service *x509.Certificate, ledgerDir, snapshots string) (*Created, error) {
		clock = clock.Add(time.Hour)
		return Create(t.Context(), CreateOptions{
			FS: durable.OS(), Store: store, Service: service, Now: func() time.Time { return clock },
			Source: &Directories{FS: durable.OS(), Ledger: []string{ledgerDir}, Snapshots: []string{snapshots}},
		})
	}
	names := func(c *Created) string {
		var out []string
		for _, f := range c.Manifest.Files {
			if _, ok := f.snapshot(); ok {
				out = append(out, f.Name)
			}
		}
		return strings.Join(out, " ")
	}
	c, err := create(first, filepath.Join(vectors, "ledger"), filepath.Join(vectors, "snapshots"))
	must(t, err)
	// The evidence of the newest snapshot is in the chunk that is still open.
	if c.Manifest.Through != "2.241" || names(c) != "snapshots/snapshot_88_89.committed" {
		t.Errorf("the first life through %s with %q", c.Manifest.Through, names(c))
	}
	if _, err := create(first, filepath.Join(vectors, "ledger_recovered"), filepath.Join(vectors, "snapshots_recovered")); err == nil || !strings.Contains(err.Error(), "of another service") {
		t.Errorf("the second life under the first one's certificate: %v", err)
	}
	c, err = create(second, filepath.Join(vectors, "ledger_recovered"), filepath.Join(vectors, "snapshots_recovered"))
	must(t, err)
	if c.Manifest.Last().Seqno != 331 || names(c) != "snapshots/snapshot_276_277.committed" || len(c.Notes) > 0 {
		t.Errorf("the second life through %s with %q: %q", c.Manifest.Through, names(c), c.Notes)
	}
	v, err := Verify(t.Context(), VerifyOptions{FS: durable.OS(), Store: store, Service: second})
	if err != nil || v.Report.Snapshots != 1 || len(v.Report.Services) != 2 {
		t.Fatalf("%+v, %v", v, err)
	}
	for name, p := range map[string]struct {
		to       ledger.TxID
		service  *x509.Certificate
		snapshot string
	}{
		"in the first life":  {ledger.TxID{View: 2, Seqno: 130}, first, "snapshot_88_89.committed"},
		"early":              {ledger.TxID{View: 2, Seqno: 60}, first, ""},
		"in the second life": {ledger.TxID{}, second, "snapshot_276_277.committed"},
	} {
		r, err := Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: store, Dir: filepath.Join(dir, name), To: p.to, Service: p.service})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Snapshot != p.snapshot || !bytes.Equal(r.Service.Cert.Raw, p.service.Raw) || r.SignedAt.IsZero() || len(r.Notes) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}

	// A snapshot that is not what the ledger says stays out, and is named.
	damaged := filepath.Join(dir, "damaged")
	must(t, os.CopyFS(damaged, os.DirFS(filepath.Join(vectors, "snapshots_recovered"))))
	change(t, filepath.Join(damaged, "snapshot_276_277.committed"))
	store, err = OpenStore(durable.OS(), filepath.Join(dir, "others"), S3Options{})
	must(t, err)
	c, err = create(second, filepath.Join(vectors, "ledger_recovered"), damaged)
	must(t, err)
	if names(c) != "" || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "snapshot_276_277.committed") {
		t.Errorf("with a damaged snapshot: %q, %q", names(c), c.Notes)
	}
}
