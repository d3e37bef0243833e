package server

import (
	"bytes"
	"fmt"
	"io/fs"
	"testing"

	"chancery/gov/tables"
	"chancery/server/api"
)

// memFiles has one chunk, one snapshot and an empty chunk.
type memFiles struct{ content []byte }

type memFile struct{ *bytes.Reader }

func (memFile) Close() error  { return nil }
func (f memFile) Size() int64 { return f.Reader.Size() }

func (m memFiles) ChunkWith(seqno uint64) (string, bool) { return "ledger_1-2.committed", seqno <= 2 }
func (m memFiles) SnapshotSince(seqno uint64) (string, bool) {
	return "snapshot_2_3.committed", seqno <= 2
}
func (m memFiles) OpenChunk(name string) (File, error) { return m.open(name, "ledger_1-2.committed") }
func (m memFiles) OpenSnapshot(name string) (File, error) {
	return m.open(name, "snapshot_2_3.committed")
}

func (m memFiles) open(name, known string) (File, error) {
	switch name {
	case known:
		return memFile{bytes.NewReader(m.content)}, nil
	case "empty":
		return memFile{bytes.NewReader(nil)}, nil
	}
	return nil, fmt.Errorf("no %s: %w", name, fs.ErrNotExist)
}

// TestDownload asks for files and parts of them, as CCF 7.0.2 was asked.
func TestDownload(t *testing.T) {
	s := recordService(t, nil)
	s.node.files = memFiles{[]byte("0123456789")}
	c := s.client(t, nil)
	const file = "/node/ledger_chunk/ledger_1-2.committed"
	tests := []struct {
		path          string
		header        []string
		status        int
		body, message string
		rng           string
	}{
		{file, nil, 200, "0123456789", "", ""},
		{file, []string{"range", "bytes=0-7"}, 206, "01234567", "", "bytes 0-7/10"},
		{file, []string{"range", "bytes=8-"}, 206, "89", "", "bytes 8-9/10"},
		{file, []string{"range", "bytes=-3"}, 206, "789", "", "bytes 7-9/10"},
		{file, []string{"range", "bytes=-999999999"}, 206, "0123456789", "", "bytes 0-9/10"},
		{file, []string{"range", "bytes=0-999999999"}, 206, "0123456789", "", "bytes 0-9/10"},
		{file, []string{"range", "bytes=5-2"}, 400, "", "Invalid range: Start (5) and end (3) out of order", ""},
		{file, []string{"range", "bytes=a-b"}, 400, "", "Unable to parse start of range value a in bytes=a-b", ""},
		{file, []string{"range", "bytes=1-b"}, 400, "", "Unable to parse end of range value b in bytes=1-b", ""},
		{file, []string{"range", "bytes=0-1,3-4"}, 400, "", "Multiple ranges are not supported", ""},
		{file, []string{"range", "items=0-1"}, 400, "", "Only 'bytes' is supported as a Range header unit", ""},
		{file, []string{"range", "bytes=99-"}, 400, "", "Start of range 99 is larger than total file size 10", ""},
		{file, []string{"if-none-match", "*"}, 304, "", "", ""},
		{file, []string{"if-none-match", `"x"`}, 200, "0123456789", "", ""},
		{file, []string{"if-none-match", "x"}, 400, "", "Invalid If-Match header", ""},
		{"/node/ledger_chunk/none", nil, 404, "", "This node does not have a ledger chunk named none", ""},
		{"/node/ledger_chunk/%2e%2e%2fnode.pid", nil, 404, "", "This node does not have a ledger chunk named %2e%2e%2fnode.pid", ""},
		{"/node/ledger_chunk/empty", nil, 500, "", "Found empty file", ""},
		{"/node/ledger_chunk?since=x", nil, 400, "", "Missing required query parameter 'since'", ""},
		{"/node/ledger_chunk?since=99", nil, 404, "", "This node has no ledger chunk including index 99", ""},
		{"/node/snapshot?since=99", nil, 404, "", "This node has no committed snapshots since 99", ""},
		{"/node/snapshot/snapshot_2_3.committed", nil, 200, "0123456789", "", ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.path, tt.header), func(t *testing.T) {
			a := s.do(t, c, "GET", tt.path, "", tt.header...)
			if a.StatusCode != tt.status || a.Header.Get("content-range") != tt.rng {
				t.Fatalf("%d %q, range %q", a.StatusCode, a.body, a.Header.Get("content-range"))
			}
			if tt.message != "" {
				if _, message := errorOf(t, a); message != tt.message {
					t.Errorf("message %q, want %q", message, tt.message)
				}
			} else if a.body != tt.body {
				t.Errorf("body %q, want %q", a.body, tt.body)
			}
			head := s.do(t, c, "HEAD", tt.path, "", tt.header...)
			if head.StatusCode != tt.status || head.body != "" || head.Header.Get(api.HeaderETag) != a.Header.Get(api.HeaderETag) {
				t.Errorf("HEAD: %d %q, etag %q", head.StatusCode, head.body, head.Header.Get(api.HeaderETag))
			}
		})
	}
	tag := s.do(t, c, "GET", file, "").Header.Get(api.HeaderETag)
	if a := s.do(t, c, "GET", file, "", "if-none-match", tag); a.StatusCode != 304 {
		t.Errorf("with its own tag: %d", a.StatusCode)
	}
	for _, path := range []string{"/node/ledger_chunk?since=1", "/node/snapshot"} {
		a := s.do(t, c, "GET", path, "")
		if a.StatusCode != 308 || a.body != "" || a.Header.Get("location") == "" {
			t.Errorf("%s: %d %q to %q", path, a.StatusCode, a.body, a.Header.Get("location"))
		}
	}
}

func TestWantedDigest(t *testing.T) {
	for v, want := range map[string]string{
		"": "sha-256", "md5=1": "sha-256", "sha-512=3, sha-256=1": "sha-512", "sha-384=0": "sha-256", "sha-256=1,sha-384=9": "sha-384",
	} {
		if got := wantedDigest(v); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

// TestCreateSnapshot checks that the request is a transaction and reaches the node.
func TestCreateSnapshot(t *testing.T) {
	s := recordService(t, nil)
	a := s.do(t, s.client(t, nil), "POST", "/node/snapshot:create", "")
	if a.StatusCode != 204 || a.Header.Get(api.HeaderTxID) != "2.3" || !s.node.last.Snapshot {
		t.Errorf("%d at %q, asked %t", a.StatusCode, a.Header.Get(api.HeaderTxID), s.node.last.Snapshot)
	}
	if _, ok := s.node.Begin().Get(tables.NameSnapshotCreate, tables.SingletonKey); !ok {
		t.Error("nothing was written")
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-7", "bytes=8-", "bytes=-8", "bytes=5-2", "bytes=99999999999999999999-", "items=0-1", ""} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 1 {
			return
		}
		from, to, err := parseRange(header, size)
		if err == nil && (from < 0 || from >= to || to > size) {
			t.Errorf("%q over %d: [%d, %d)", header, size, from, to)
		}
	})
}
