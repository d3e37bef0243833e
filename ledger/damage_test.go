package ledger

import (
	"context"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"chancery/internal/durable/memfs"
)

// place is where a byte of a ledger belongs: an entry, a header, a position.
type place struct {
	path  string
	off   int64
	seqno uint64 // of the entry, or of the entry that a position is of; 0 for a header
	what  string
}

// places lists every byte of a ledger directory, leaving out all but each stride-th
// in the middle of long fields.
func places(t testing.TB, m *memfs.FS, stride int) []place {
	t.Helper()
	var out []place
	files, err := listChunks(m, "/ledger", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := m.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(chunkHeaderSize) {
			out = append(out, place{f.path, i, 0, "header"})
		}
		end := int64(len(data))
		if table := int64(binary.LittleEndian.Uint64(data)); table != 0 {
			for i := table; i < end; i++ {
				out = append(out, place{f.path, i, f.name.first + uint64(i-table)/4, "position"})
			}
			end = table
		}
		seqno := f.name.first
		for at := int64(chunkHeaderSize); at < end; seqno++ {
			size, err := EntrySize(data[at:])
			if err != nil {
				t.Fatal(err)
			}
			for i := range size {
				if i < 126 || i > size-24 || i%int64(stride) == 0 {
					out = append(out, place{f.path, at + i, seqno, entryField(data[at:at+size], i)})
				}
			}
			at += size
		}
	}
	return out
}

// entryField names the field of an entry that byte i is in.
func entryField(raw []byte, i int64) string {
	public := int64(binary.LittleEndian.Uint64(raw[publicLenOffset:]))
	for _, f := range []struct {
		end  int64
		name string
	}{
		{1, "version"}, {2, "flags"}, {8, "size"}, {24, "tag"}, {32, "IV seqno"}, {36, "IV view"}, {44, "public length"},
		{45, "type"}, {53, "seqno"}, {85, "claims"}, {117, "commit evidence"}, {125, "max_conflict_version"},
		{44 + public, "public maps"}, {int64(len(raw)), "private domain"},
	} {
		if i < f.end {
			return f.name
		}
	}
	return "nowhere"
}

// flipped returns a copy of the ledger with one bit changed.
func flipped(t testing.TB, m *memfs.FS, p place, bit int) *memfs.FS {
	t.Helper()
	c := copyLedger(t, m)
	data, err := c.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	data[p.off] ^= 1 << bit
	writeFile(t, c, p.path, data)
	return c
}

// TestFlippedBits changes one bit of every byte: the audit says which file and which
// entry is damaged. Two fields of the last signature alone are beyond an auditor who
// has no secrets: its tag and its commit evidence, which no later signature covers.
func TestFlippedBits(t *testing.T) {
	h := newService(t, elliptic.P256())
	h.span(1, ForceChunkAfter)
	h.span(1, 0)
	h.span(2, 0)
	m := memfs.New()
	h.store(m)
	last := h.entries[len(h.entries)-1].ID.Seqno
	stride := 23
	if testing.Short() {
		stride = 101
	}
	for i, p := range places(t, m, stride) {
		c := flipped(t, m, p, i%8)
		for _, secrets := range []*Secrets{h.secrets(), nil} {
			if secrets == nil && p.seqno == last && (p.what == "tag" || p.what == "commit evidence") {
				continue
			}
			report, err := Verify(context.Background(), c, []string{"/ledger"}, VerifyOptions{Secrets: secrets, Service: h.service})
			if reason := named(report, err, p); reason != "" {
				t.Errorf("%s: bit %d of byte %d, %s of entry %d (secrets %t): %s",
					filepath.Base(p.path), i%8, p.off, p.what, p.seqno, secrets != nil, reason)
			}
		}
	}
}

// named reports what is wrong with the way an audit names the damage at p.
func named(report *Report, err error, p place) string {
	var c *CorruptError
	switch {
	case err == nil && report.Tail != nil:
		c = &report.Tail.CorruptError
	case err == nil && len(report.Findings) > 0:
		if report.Findings[0].ID.Seqno == p.seqno {
			return ""
		}
		return fmt.Sprintf("found %v", report.Findings)
	case !errors.As(err, &c):
		return fmt.Sprintf("not named: %v", err)
	}
	if c.File != p.path || p.seqno != 0 && c.Seqno != p.seqno {
		return fmt.Sprintf("named as %v", c)
	}
	return ""
}
