package backup

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"chancery/internal/durable"
	"chancery/internal/ledgertest"
	"chancery/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a ledger in a directory, and a directory for its backups.
type fixture struct {
	t      testing.TB
	dir    string
	clock  time.Time
	ledger *ledgertest.Ledger
	store  Store
}

var begun = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), clock: begun}
	l, err := ledgertest.New(durable.OS(), filepath.Join(f.dir, "ledger"), elliptic.P256(), func() time.Time { return f.clock })
	if err != nil {
		t.Fatal(err)
	}
	f.ledger = l
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	f.store = f.open(filepath.Join(f.dir, "backups"))
	return f
}

func (f *fixture) open(name string) Store {
	f.t.Helper()
	s, err := OpenStore(durable.OS(), name, S3Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// chunk adds a chunk with so many signatures, a minute after one another.
func (f *fixture) chunk(signatures int) (ids []ledger.TxID) {
	for i := range signatures {
		f.clock = f.clock.Add(time.Minute)
		f.ledger.Write(3, 100)
		ids = append(ids, f.ledger.Sign(i == signatures-1))
	}
	return ids
}

// leaf is that of a transaction in the ledger.
func (f *fixture) leaf(id ledger.TxID) ledger.Digest {
	f.t.Helper()
	for e, err := range ledger.ReadEntries(durable.OS(), filepath.Join(f.dir, "ledger"), id.Seqno) {
		if err != nil {
			f.t.Fatal(err)
		}
		return e.Leaf()
	}
	f.t.Fatalf("the ledger ends before %v", id)
	return ledger.Digest{}
}

func (f *fixture) options() CreateOptions {
	return CreateOptions{
		FS: durable.OS(), Store: f.store, Service: f.ledger.Service, Now: func() time.Time { return f.clock },
		Source: &Directories{FS: durable.OS(), Ledger: []string{filepath.Join(f.dir, "ledger")}},
	}
}

func (f *fixture) create() *Created {
	f.t.Helper()
	f.clock = f.clock.Add(time.Second)
	c, err := Create(f.t.Context(), f.options())
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) verify() (*Verified, error) {
	return Verify(f.t.Context(), VerifyOptions{FS: durable.OS(), Store: f.store, Service: f.ledger.Service})
}

func (f *fixture) mustVerify() *Verified {
	f.t.Helper()
	v, err := f.verify()
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// path is that of a file in the store.
func (f *fixture) path(name string) string { return filepath.Join(f.dir, "backups", name) }

// TestCreate copies what is new, once, and what it copied verifies.
func TestCreate(t *testing.T) {
	f := newFixture(t)
	if _, err := Create(t.Context(), f.options()); err == nil || !strings.Contains(err.Error(), "no committed ledger chunk") {
		t.Errorf("of a ledger without closed chunks: %v", err)
	}
	f.chunk(2)
	last := f.chunk(3)
	c := f.create()
	if !c.New || c.Files != 2 || c.Manifest.Through != last[2].String() || len(c.Manifest.Files) != 2 {
		t.Errorf("the first: %+v of %+v", c, c.Manifest)
	}
	if again := f.create(); again.New || again.Files != 0 || again.Manifest.ID() != c.Manifest.ID() {
		t.Errorf("without anything new: %+v", again)
	}
	f.ledger.Write(2, 10)
	f.ledger.Sign(false) // in a chunk that is open
	f.chunk(1)
	more := f.create()
	if !more.New || more.Files != 1 || len(more.Manifest.Files) != 3 {
		t.Errorf("the second: %+v", more)
	}
	v := f.mustVerify()
	if v.Backups != 2 || v.Report.LastSigned != more.Manifest.Last() || v.Manifest.ID() != more.Manifest.ID() {
		t.Errorf("verified: %+v", v)
	}
	for _, file := range more.Manifest.Files {
		want, err := os.ReadFile(filepath.Join(f.dir, file.Name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(f.path(file.Name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was (%v)", file.Name, err)
		}
	}
}

// TestRestore restores to transactions and times, in the middle of a chunk, at its ends,
// and beyond both ends.
func TestRestore(t *testing.T) {
	f := newFixture(t)
	first, second := f.chunk(3), f.chunk(3)
	f.create()
	before := tree(t, filepath.Join(f.dir, "backups"))
	minute := func(i int) time.Time { return begun.Add(time.Duration(i) * time.Minute) }
	at := func(id ledger.TxID, by int) ledger.TxID {
		return ledger.TxID{View: id.View, Seqno: uint64(int(id.Seqno) + by)}
	}
	for name, c := range map[string]struct {
		to      ledger.TxID
		at      time.Time
		expect  ledger.TxID
		want    ledger.TxID
		fails   string
		service bool
	}{
		"everything":                      {want: second[2]},
		"a signature":                     {to: second[0], want: second[0]},
		"between signatures":              {to: at(second[1], 2), want: second[1]},
		"just before a signature":         {to: at(second[1], -1), want: second[0]},
		"the end of a chunk":              {to: first[2], want: first[2]},
		"the first of a chunk":            {to: at(first[2], 1), want: first[2]},
		"in the first chunk":              {to: at(first[0], 1), want: first[0]},
		"the last":                        {to: second[2], want: second[2]},
		"behind the end":                  {to: at(second[2], 1), fails: "reaches " + second[2].String()},
		"another history":                 {to: ledger.TxID{View: 3, Seqno: second[1].Seqno}, fails: fmt.Sprintf("%v stands where 3.%d is expected", second[1], second[1].Seqno)},
		"a time":                          {at: minute(2), want: first[1]},
		"a time between":                  {at: minute(2).Add(time.Second), want: first[1]},
		"a time between two chunks":       {at: minute(3).Add(time.Second), want: first[2]},
		"a time in the second chunk":      {at: minute(4), want: second[0]},
		"a time to come":                  {at: minute(9), want: second[2]},
		"a time before all":               {at: begun.Add(-24 * 365 * time.Hour), fails: "nothing in backup"},
		"expected, and there":             {to: second[1], expect: second[0], want: second[1]},
		"expected twice in a chunk":       {to: second[1], expect: at(second[1], 1), fails: "does not hold " + at(second[1], 1).String()},
		"expected, and later":             {to: first[1], expect: second[0], fails: "does not hold " + second[0].String()},
		"expected of another history":     {expect: ledger.TxID{View: 4, Seqno: first[1].Seqno}, fails: "is expected"},
		"the identity that is in force":   {to: second[0], want: second[0], service: true},
		"everything, with that identity ": {want: second[2], service: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "restored")
			var service *x509.Certificate
			if c.service {
				service = f.ledger.Service
			}
			r, err := Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir, To: c.to, At: c.at, Expect: ledger.Expected{ID: c.expect}, Service: service})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("%v, want %q", err, c.fails)
				}
				if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the directory is there (%v)", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			report, err := ledger.Verify(t.Context(), durable.OS(), []string{filepath.Join(dir, RestoredLedger)}, ledger.VerifyOptions{Service: f.ledger.Service})
			if err != nil {
				t.Fatal(err)
			}
			if r.Through != c.want || report.LastSigned != c.want || report.Last != c.want || report.Root != r.Root {
				t.Errorf("restored through %v (%v), want %v", r.Through, report.Last, c.want)
			}
			// As a node opens it.
			d, err := ledger.OpenDir(durable.OS(), filepath.Join(dir, RestoredLedger), nil)
			if err != nil {
				t.Fatal(err)
			}
			if d.Last() != c.want || d.Tail() != nil {
				t.Errorf("a node finds %v, tail %v", d.Last(), d.Tail())
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(dir + ".part"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the unfinished directory is left (%v)", err)
			}
		})
	}
	if after := tree(t, filepath.Join(f.dir, "backups")); after != before {
		t.Errorf("the backup changed:\n%s\n%s", before, after)
	}
	// A receipt says more than a TxID.
	leaf, other := f.leaf(second[0]), f.leaf(second[1])
	for name, c := range map[string]struct {
		leaf *ledger.Digest
		ok   bool
	}{"its own leaf": {&leaf, true}, "another's": {&other, false}} {
		o := RestoreOptions{FS: durable.OS(), Store: f.store, Dir: filepath.Join(t.TempDir(), "r"), Expect: ledger.Expected{ID: second[0], Leaf: c.leaf}}
		if _, err := Restore(t.Context(), o); (err == nil) != c.ok || !c.ok && !errors.Is(err, ledger.ErrUnexpected) {
			t.Errorf("restoring with %s: %v", name, err)
		}
		if _, err := Verify(t.Context(), VerifyOptions{FS: durable.OS(), Store: f.store, Expect: ledger.Expected{ID: second[0], Leaf: c.leaf}}); (err == nil) != c.ok {
			t.Errorf("verifying with %s: %v", name, err)
		}
	}
	// A directory that is in use stays as it is, and one that was begun is gone on with.
	dir := filepath.Join(f.dir, "ledger")
	if _, err := Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir}); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("over the original: %v", err)
	}
	dir = filepath.Join(f.dir, "again")
	fails := errors.New("no more")
	o := RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir, Finish: func(string, *Restored) error { return fails }}
	if _, err := Restore(t.Context(), o); !errors.Is(err, fails) {
		t.Fatal(err)
	}
	o.Finish, o.To = nil, first[1]
	if r, err := Restore(t.Context(), o); err != nil || r.Through != first[1] {
		t.Errorf("gone on with, to an earlier point: %+v, %v", r, err)
	}
}

// tree describes all files below a directory.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
