package backup

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/internal/durable"
	"chancery/internal/ledgertest"
	"chancery/ledger"
)

// change replaces a byte in the middle of a file.
func change(t testing.TB, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedBackup changes what is in a store: it is named, nothing is restored from it,
// and where the next backup can mend it, it does.
func TestDamagedBackup(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, f *fixture, last *Manifest)
		says   string // by Verify
		mended bool   // by the next Create
	}{
		"a chunk is missing": {
			func(t *testing.T, f *fixture, m *Manifest) { must(t, os.Remove(f.path(m.Files[1].Name))) },
			"is missing; the next backup", true,
		},
		"a chunk is changed": {
			func(t *testing.T, f *fixture, m *Manifest) { change(t, f.path(m.Files[0].Name)) },
			"was changed: its SHA-256 is not the one in the manifest", false,
		},
		"a chunk is cut": {
			func(t *testing.T, f *fixture, m *Manifest) { must(t, os.Truncate(f.path(m.Files[1].Name), 100)) },
			"has 100 bytes, and should have", true,
		},
		"a chunk is another one": {
			func(t *testing.T, f *fixture, m *Manifest) {
				must(t, os.Rename(f.path(m.Files[0].Name), f.path(m.Files[1].Name)))
			},
			"is missing", true,
		},
		"a file too many": {
			func(t *testing.T, f *fixture, m *Manifest) {
				must(t, os.WriteFile(f.path("ledger/ledger_90-99.committed"), []byte("x"), 0o600))
			},
			"ledger/ledger_90-99.committed belongs to no backup", false,
		},
		"a manifest is changed": {
			func(t *testing.T, f *fixture, m *Manifest) {
				text, err := os.ReadFile(f.path(m.name()))
				must(t, err)
				must(t, os.WriteFile(f.path(m.name()), bytes.ReplaceAll(text, []byte(m.Files[0].SHA256), []byte(m.Files[1].SHA256)), 0o600))
			},
			"its root is not that of its files", false,
		},
		"a manifest under another name": {
			func(t *testing.T, f *fixture, m *Manifest) {
				must(t, os.Rename(f.path(m.name()), f.path(manifestDir+"20300101T000000.000Z_"+m.Through+".json")))
			},
			"it is of backup " + begun.Format("2006"), false,
		},
		"all manifests are gone": {
			func(t *testing.T, f *fixture, m *Manifest) { must(t, os.RemoveAll(f.path(manifestDir))) },
			"holds no backup", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.chunk(2)
			f.create()
			f.chunk(2)
			m := f.create().Manifest
			c.damage(t, f, m)
			if _, err := f.verify(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			dir := filepath.Join(f.dir, "restored")
			if _, err := Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir}); err == nil && !strings.Contains(c.says, "belongs to no") {
				t.Error("it is restored")
			}
			f.chunk(1)
			f.clock = f.clock.Add(time.Second)
			_, err := Create(t.Context(), f.options())
			if !c.mended {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			f.mustVerify()
			if _, err := Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestManifestForged changes each field of a manifest, and keeps its form.
func TestManifestForged(t *testing.T) {
	f := newFixture(t)
	f.chunk(1)
	f.chunk(1)
	m := f.create().Manifest
	good, err := m.encode()
	must(t, err)
	if again, err := ParseManifest(good); err != nil || again.ID() != m.ID() {
		t.Fatalf("its own: %v", err)
	}
	for name, forge := range map[string]func(m *Manifest){
		"version":            func(m *Manifest) { m.Version = 2 },
		"created":            func(m *Manifest) { m.Created = m.Created.Add(time.Nanosecond) },
		"through":            func(m *Manifest) { m.Through = "2.9" },
		"ledger root":        func(m *Manifest) { m.LedgerRoot = strings.Repeat("0", 64) },
		"root":               func(m *Manifest) { m.Root = strings.Repeat("0", 64) },
		"size":               func(m *Manifest) { m.Files[0].Size++ },
		"no size":            func(m *Manifest) { m.Files[0].Size = 0 },
		"digest":             func(m *Manifest) { m.Files[0].SHA256 = m.Files[1].SHA256 },
		"digest in capitals": func(m *Manifest) { m.Files[0].SHA256 = strings.ToUpper(m.Files[0].SHA256) },
		"a file less":        func(m *Manifest) { m.Files = m.Files[:1] },
		"a file twice":       func(m *Manifest) { m.Files = append(m.Files, m.Files[1]) },
		"no files":           func(m *Manifest) { m.Files = nil },
		"order":              func(m *Manifest) { slices.Reverse(m.Files) },
		"another directory":  func(m *Manifest) { m.Files[0].Name = "ledger/../" + m.Files[0].Name },
		"a snapshot too late": func(m *Manifest) {
			m.Files = append(m.Files, File{"snapshots/snapshot_90_99.committed", 1, m.Files[0].SHA256})
		},
		"service":       func(m *Manifest) { m.Service.KeyID = strings.Repeat("0", 64) },
		"no checkpoint": func(m *Manifest) { m.Checkpoint = nil },
	} {
		bad, err := ParseManifest(good)
		must(t, err)
		forge(bad)
		for _, rooted := range []bool{false, true} {
			if rooted && len(bad.Files) > 0 && name != "root" { // as who can compute a root
				if root, err := rootOf(bad.Files); err == nil {
					bad.Root = hexOf(root[:])
				}
			}
			text, err := bad.encode()
			must(t, err)
			if _, err := ParseManifest(text); !errors.Is(err, ErrUnverified) && !(rooted && slices.Contains([]string{"size", "digest"}, name)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, text := range map[string][]byte{
		"spaces": append([]byte(" "), good...), "more behind": append(bytes.Clone(good), '{'),
		"unknown": bytes.Replace(good, []byte(`"version"`), []byte(`"versions": 1, "version"`), 1), "cut": good[:len(good)/2], "empty": nil,
	} {
		if _, err := ParseManifest(text); !errors.Is(err, ErrUnverified) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	x := newFixture(f)
	x.chunk(1)
	good, err := x.create().Manifest.encode()
	must(f, err)
	f.Add(good)
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("another spelling is taken: %q", text)
		}
		for _, file := range m.Files {
			if strings.Contains(file.Name, "..") || filepath.IsAbs(file.Name) {
				t.Errorf("it leads elsewhere: %q", file.Name)
			}
		}
	})
}

// TestOtherSources backs up to a store what is not the ledger that it has.
func TestOtherSources(t *testing.T) {
	source := func(f *fixture, dir string) CreateOptions {
		o := f.options()
		o.Source = &Directories{FS: durable.OS(), Ledger: []string{dir}}
		return o
	}
	copied := func(t *testing.T, f *fixture) string {
		t.Helper()
		dir := filepath.Join(f.dir, "copy")
		must(t, os.CopyFS(dir, os.DirFS(filepath.Join(f.dir, "ledger"))))
		return dir
	}
	chunks := func(t *testing.T, dir string) []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "*.committed"))
		must(t, err)
		slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) })
		return found
	}
	f := newFixture(t)
	f.chunk(1)
	f.create()
	older := copied(t, f)
	f.chunk(2)
	f.create()
	if _, err := Create(t.Context(), source(f, older)); !errors.Is(err, ErrUnverified) || !strings.Contains(err.Error(), "an older copy") {
		t.Errorf("an older copy: %v", err)
	}
	must(t, os.RemoveAll(older))
	f.chunk(1)
	damaged := copied(t, f)
	all := chunks(t, damaged)
	change(t, all[len(all)-1])
	var corrupt *ledger.CorruptError
	if _, err := Create(t.Context(), source(f, damaged)); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), filepath.Base(all[len(all)-1])) {
		t.Errorf("a damaged chunk: %v", err)
	}
	change(t, all[len(all)-1]) // and back
	change(t, all[1])
	if _, err := Create(t.Context(), source(f, damaged)); !errors.Is(err, ErrUnverified) || !strings.Contains(err.Error(), "damaged, or of another history") {
		t.Errorf("a damaged chunk that the store has: %v", err)
	}
	other := filepath.Join(f.dir, "other")
	l, err := ledgertest.New(durable.OS(), other, elliptic.P256(), time.Now)
	must(t, err)
	for range 30 {
		l.Write(1, 10)
		l.Sign(true)
	}
	must(t, l.Close())
	if _, err := Create(t.Context(), source(f, other)); !errors.Is(err, ErrUnverified) {
		t.Errorf("another service's ledger: %v", err)
	}
	o := f.options()
	o.Service = l.Service
	if _, err := Create(t.Context(), o); !errors.Is(err, ErrUnverified) || !strings.Contains(err.Error(), "of another service") {
		t.Errorf("under another service's certificate: %v", err)
	}
	if c := f.create(); !c.New {
		t.Error("the right one has nothing new")
	}
	f.mustVerify()
	lock, err := f.store.Lock()
	must(t, err)
	if _, err := Create(t.Context(), f.options()); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("while another one runs: %v", err)
	}
	must(t, lock.Close())
}

// TestRetention keeps backups by count and by age, and never breaks one that stays.
func TestRetention(t *testing.T) {
	for name, c := range map[string]struct {
		keep Retention
		want int
	}{
		"all": {Retention{}, 6}, "by count": {Retention{Count: 2}, 2}, "by age": {Retention{For: 150 * time.Minute}, 3},
		"by either": {Retention{Count: 4, For: 90 * time.Minute}, 4}, "the newest always": {Retention{For: time.Nanosecond}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			for range 6 {
				f.clock = f.clock.Add(58 * time.Minute)
				f.chunk(2)
				o := f.options()
				o.Keep = c.keep
				_, err := Create(t.Context(), o)
				must(t, err)
			}
			if v := f.mustVerify(); v.Backups != c.want {
				t.Errorf("%d backups stay, want %d", v.Backups, c.want)
			}
			all, err := Manifests(t.Context(), f.store)
			must(t, err)
			for _, m := range all {
				if _, err := Verify(t.Context(), VerifyOptions{FS: durable.OS(), Store: f.store, ID: m.ID()}); err != nil {
					t.Errorf("%s: %v", m.ID(), err)
				}
			}
		})
	}
}

// TestFullDisk fills the disk of the store, and then that of a restore: each says so,
// leaves nothing half-open, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	f := newFixture(t)
	small := filepath.Join(f.dir, "small")
	must(t, os.Mkdir(small, 0o700))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: needs root and a kernel that mounts: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", small).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	for range 4 {
		f.ledger.Write(10, 10<<10)
		f.ledger.Sign(true)
	}
	grow := func(size string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,size="+size, small).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	f.store = f.open(filepath.Join(small, "backups"))
	if _, err := Create(t.Context(), f.options()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a backup to a full disk: %v", err)
	}
	if all, err := Manifests(t.Context(), f.store); err != nil || len(all) > 0 {
		t.Errorf("there is a backup: %v, %v", all, err)
	}
	grow("700k")
	f.create()
	f.mustVerify()
	dir := filepath.Join(small, "restored")
	o := RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir}
	if _, err := Restore(t.Context(), o); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a restore to a full disk: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory is there: %v", err)
	}
	grow("2m")
	if _, err := Restore(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f.mustVerify()
}

// TestBackupHoldsFilesOfTheLedgerAlone: what else lies beside the chunks stays there.
func TestBackupHoldsFilesOfTheLedgerAlone(t *testing.T) {
	f := newFixture(t)
	f.chunk(1)
	for _, name := range []string{"insecure_keys.json", "raft.db", "ledger_99", "ledger_5-9.committed.recovery", "ledger_1-3.committed.ignored"} {
		must(t, os.WriteFile(filepath.Join(f.dir, "ledger", name), []byte("a key"), 0o600))
	}
	m := f.create().Manifest
	objects, err := f.store.List(t.Context())
	must(t, err)
	for _, o := range objects {
		if o.Name != m.name() && o.Name != m.Files[0].Name {
			t.Errorf("%s is in the backup", o.Name)
		}
	}
}
