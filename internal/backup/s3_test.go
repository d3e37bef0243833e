package backup

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"chancery/internal/durable"
)

const secretKey = "a-secret-access-key"

// objectStore is an S3 server in this process, which misbehaves when it is told to.
type objectStore struct {
	*httptest.Server
	backend *s3mem.Backend
	fault   atomic.Pointer[http.HandlerFunc] // serves instead where it is set
}

func newObjectStore(t testing.TB) *objectStore {
	t.Helper()
	o := &objectStore{backend: s3mem.New()}
	if err := o.backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	good := gofakes3.New(o.backend).Server()
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := o.fault.Load(); f != nil {
			(*f)(w, r)
			return
		}
		good.ServeHTTP(w, r)
	}))
	t.Cleanup(o.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "an-access-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	t.Setenv("AWS_ENDPOINT_URL", o.URL)
	return o
}

// with has the server misbehave: f is given what a good server would do.
func (o *objectStore) with(f func(good http.Handler, w http.ResponseWriter, r *http.Request)) {
	good := gofakes3.New(o.backend).Server()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(good, w, r) })
	o.fault.Store(&h)
}

// inObjectStore has the fixture's backups go to a bucket.
func (f *fixture) inObjectStore(o *objectStore) {
	f.t.Helper()
	s, err := OpenStore(durable.OS(), "s3://bucket/some/where/", S3Options{Patience: 100 * time.Millisecond, Scratch: f.t.TempDir()})
	if err != nil {
		f.t.Fatal(err)
	}
	f.store = s
}

// TestObjectStore does in a bucket what TestCreate and TestRestore do in a directory.
func TestObjectStore(t *testing.T) {
	f := newFixture(t)
	f.inObjectStore(newObjectStore(t))
	f.chunk(2)
	f.create()
	last := f.chunk(3)
	c := f.create()
	if c.Files != 1 || len(c.Manifest.Files) != 2 || c.Manifest.Last() != last[2] {
		t.Errorf("the second backup: %+v", c)
	}
	if v := f.mustVerify(); v.Report.LastSigned != last[2] || v.Backups != 2 {
		t.Errorf("verified: %+v", v)
	}
	dir := filepath.Join(f.dir, "restored")
	r, err := Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir, To: last[0]})
	if err != nil || r.Through != last[0] {
		t.Errorf("restored: %+v, %v", r, err)
	}
	left, err := os.ReadDir(f.store.Staging())
	if err != nil || len(left) > 0 {
		t.Errorf("left in the staging directory: %v, %v", left, err)
	}
}

// truncating lets the beginning of an answer's body through.
type truncating struct {
	http.ResponseWriter
	left int
}

// Write implements http.ResponseWriter.
func (t *truncating) Write(p []byte) (int, error) {
	n := min(t.left, len(p))
	t.left -= n
	if _, err := t.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestObjectStoreFaults has the store fail in every way while a backup is made and read:
// the error names cause and remedy and no credential, nothing half-open is left, and the
// next try works.
func TestObjectStoreFaults(t *testing.T) {
	isChunk := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/ledger/") }
	for name, c := range map[string]struct {
		fault         func(good http.Handler, w http.ResponseWriter, r *http.Request)
		create, fails []string // what the errors of Create and of Verify name; nil: they succeed
	}{
		"500": {
			func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
			},
			[]string{"s3://bucket/some/where/", "it answered 500", "run the same command again"}, []string{"it answered 500"},
		},
		"500 for chunks": {
			func(good http.Handler, w http.ResponseWriter, r *http.Request) {
				if isChunk(r) {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				good.ServeHTTP(w, r)
			},
			[]string{"storing ledger/", "it answered 500"}, []string{"reading ledger/", "it answered 500"},
		},
		"silence": {
			func(_ http.Handler, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			[]string{"silent for 100ms", "whether it is up"}, []string{"silent for 100ms"},
		},
		"another size": {
			func(good http.Handler, w http.ResponseWriter, r *http.Request) {
				if !isChunk(r) || r.Method != http.MethodHead {
					good.ServeHTTP(w, r)
					return
				}
				answer := httptest.NewRecorder()
				good.ServeHTTP(answer, r)
				for k, v := range answer.Header() {
					w.Header()[k] = v
				}
				size, _ := strconv.Atoi(w.Header().Get("Content-Length"))
				w.Header().Set("Content-Length", strconv.Itoa(size-1))
				w.WriteHeader(answer.Code)
			},
			[]string{"was stored with", "does not keep what it is given"}, nil,
		},
		"short bodies": {
			func(good http.Handler, w http.ResponseWriter, r *http.Request) {
				if isChunk(r) && r.Method == http.MethodGet {
					w = &truncating{w, 100}
				}
				good.ServeHTTP(w, r)
			},
			nil, []string{"reading ledger/", "sent less than it said"},
		},
		"another file": {
			func(good http.Handler, w http.ResponseWriter, r *http.Request) {
				if isChunk(r) && r.Method == http.MethodGet {
					w.Header().Set("Content-Length", "3")
					w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
					_, _ = w.Write([]byte("abc"))
					return
				}
				good.ServeHTTP(w, r)
			},
			nil, []string{"it was cut, or the store lies about its size"},
		},
		"no permission": {
			func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write([]byte(`<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`))
			},
			[]string{"Access Denied", "AWS_SECRET_ACCESS_KEY"}, []string{"Access Denied"},
		},
		"no bucket": {
			func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte(`<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist.</Message></Error>`))
			},
			[]string{"make the bucket first"}, []string{"make the bucket first"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			o := newObjectStore(t)
			f.inObjectStore(o)
			f.chunk(2)
			f.create()
			f.chunk(2)
			o.with(c.fault)
			_, err := Create(t.Context(), f.options())
			checkFault(t, "Create", err, c.create)
			if c.create == nil {
				o.fault.Store(nil)
				f.chunk(1)
				f.create()
				o.with(c.fault)
			}
			_, err = f.verify()
			checkFault(t, "Verify", err, c.fails)
			dir := filepath.Join(f.dir, "restored")
			if c.fails != nil && !testing.Short() {
				_, err = Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir})
				checkFault(t, "Restore", err, c.fails)
				if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a directory is there: %v", err)
				}
			}
			o.fault.Store(nil)
			f.chunk(1)
			f.create()
			f.mustVerify()
			if _, err = Restore(t.Context(), RestoreOptions{FS: durable.OS(), Store: f.store, Dir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkFault(t *testing.T, what string, err error, names []string) {
	t.Helper()
	if names == nil {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if err == nil {
		t.Fatalf("%s does not fail", what)
	}
	t.Logf("%s: %v", what, err)
	for _, n := range names {
		if !strings.Contains(err.Error(), n) {
			t.Errorf("%s: no %q in: %v", what, n, err)
		}
	}
	if strings.Contains(err.Error(), secretKey) || strings.Contains(err.Error(), "an-access-key") {
		t.Errorf("%s: the error shows a credential: %v", what, err)
	}
}

// TestAppendOnly makes backups with credentials that may add objects, and neither remove
// nor replace any.
func TestAppendOnly(t *testing.T) {
	f := newFixture(t)
	o := newObjectStore(t)
	f.inObjectStore(o)
	have := map[string]bool{}
	o.with(func(good http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete || r.Method == http.MethodPut && have[r.URL.Path] {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Method == http.MethodPut {
			have[r.URL.Path] = true
		}
		good.ServeHTTP(w, r)
	})
	for range 3 {
		f.chunk(1)
		f.create()
	}
	if v := f.mustVerify(); v.Backups != 3 {
		t.Errorf("%d backups", v.Backups)
	}
}

// TestResume ends a backup after some chunks, and has the next one copy the others alone.
func TestResume(t *testing.T) {
	f := newFixture(t)
	o := newObjectStore(t)
	f.inObjectStore(o)
	for range 5 {
		f.chunk(1)
	}
	var stored atomic.Int32
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	o.with(func(good http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/ledger/") && stored.Add(1) == 3 {
			cancel(stop)
		}
		good.ServeHTTP(w, r)
	})
	if _, err := Create(ctx, f.options()); !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	o.fault.Store(nil)
	c := f.create()
	if c.Files != 3 && c.Files != 2 || len(c.Manifest.Files) != 5 {
		t.Errorf("%d files are copied to go on, of %d", c.Files, len(c.Manifest.Files))
	}
	f.mustVerify()
}

// TestStoreNames refuses stores that can't be.
func TestStoreNames(t *testing.T) {
	for name, o := range map[string]S3Options{
		"s3://": {}, "s3:///x": {}, "ftp://host/x": {}, "s3://bucket/x": {Endpoint: "host:9000"}, "s3://bucket": {Endpoint: "https://user:pw@host"},
	} {
		if s, err := OpenStore(durable.OS(), name, o); err == nil {
			t.Errorf("%s is taken as %v", name, s)
		}
	}
}
