package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"
	"testing"

	"chancery/internal/durable/memfs"
	"chancery/ledger"
)

// cuts are ways in which the power goes.
func cuts() map[string]func(*memfs.FS) {
	all := map[string]func(*memfs.FS){"lost": (*memfs.FS).Crash}
	if !testing.Short() {
		all["torn"] = func(m *memfs.FS) { m.CrashTorn(1000) }
		all["landed"] = func(m *memfs.FS) { m.CrashTorn(1 << 30) }
	}
	return all
}

// failing is a disk whose op-th operation fails.
func failing(op int, landed bool) *memfs.FS {
	m := memfs.New()
	m.Inject(func(o memfs.Op) memfs.Fault {
		if o.N == op {
			return memfs.Fault{Err: syscall.EIO, Landed: landed, Short: 50}
		}
		return memfs.Fault{}
	})
	return m
}

// TestCreateCrash fails every operation on the store's disk in both ways, and cuts the power
// in several ways: a backup that was said to be made is there, every manifest that is there
// finds its files whole, and the next backup works.
func TestCreateCrash(t *testing.T) {
	f := newFixture(t)
	f.chunk(1)
	f.chunk(1)
	for op, done := 1, false; !done; op++ {
		for _, landed := range []bool{false, true} {
			for cut, crash := range cuts() {
				name := fmt.Sprintf("op=%d/landed=%t/%s", op, landed, cut)
				m := failing(op, landed)
				o := f.options()
				o.FS, o.Store = m, &dirStore{fs: m, dir: "/backups"}
				c, err := Create(t.Context(), o)
				done = done || err == nil && m.Ops() < op
				crash(m)
				all, listErr := Manifests(t.Context(), o.Store)
				if listErr != nil {
					t.Fatalf("%s: %v", name, listErr)
				}
				if err == nil && (len(all) != 1 || all[0].ID() != c.Manifest.ID()) {
					t.Fatalf("%s: the backup that was made is lost", name)
				}
				for _, b := range all {
					if _, err := audit(t.Context(), VerifyOptions{FS: m, Store: o.Store}, b); err != nil {
						t.Fatalf("%s: a manifest is there, and its files are not: %v", name, err)
					}
				}
				if _, err := Create(t.Context(), o); err != nil {
					t.Fatalf("%s: the next backup: %v", name, err)
				}
				if _, err := Verify(t.Context(), VerifyOptions{FS: m, Store: o.Store, Service: f.ledger.Service}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	}
}

// TestRestoreCrash does the same to the disk of a restore: the directory is there as a whole
// or not at all, and the next restore works.
func TestRestoreCrash(t *testing.T) {
	f := newFixture(t)
	f.chunk(1)
	ids := f.chunk(2)
	f.create()
	check := func(name string, m *memfs.FS) {
		t.Helper()
		r, err := ledger.Verify(t.Context(), m, []string{path.Join("/restored", RestoredLedger)}, ledger.VerifyOptions{Service: f.ledger.Service})
		if err != nil || r.LastSigned != ids[0] || r.Last != ids[0] {
			t.Fatalf("%s: the restored ledger: %v", name, err)
		}
	}
	for op, done := 1, false; !done; op++ {
		for _, landed := range []bool{false, true} {
			for cut, crash := range cuts() {
				name := fmt.Sprintf("op=%d/landed=%t/%s", op, landed, cut)
				m := failing(op, landed)
				o := RestoreOptions{FS: m, Store: f.store, Dir: "/restored", To: ids[0]}
				_, err := Restore(t.Context(), o)
				done = done || err == nil && m.Ops() < op
				crash(m)
				_, statErr := m.Stat("/restored")
				if err == nil && statErr != nil {
					t.Fatalf("%s: what was restored is lost: %v", name, statErr)
				}
				if statErr == nil {
					check(name, m)
					continue
				}
				if !errors.Is(statErr, fs.ErrNotExist) {
					t.Fatal(statErr)
				}
				if _, err := Restore(t.Context(), o); err != nil {
					t.Fatalf("%s: the next restore: %v", name, err)
				}
				check(name, m)
			}
		}
	}
}
