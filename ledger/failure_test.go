package ledger

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"chancery/internal/durable/memfs"
)

// workload is a history with chunks that close in either way.
func workload(t testing.TB) *history {
	h := newService(t, elliptic.P256())
	h.span(2, ForceChunkAfter)
	h.span(1, 0)
	h.write(ForceChunkBefore)
	h.sign(0)
	h.span(1, ForceChunkAfter)
	h.span(3, 0)
	return h
}

// drive writes the spans behind d.Last, syncing after every second one, until an
// error. It returns the last seqno that is promised to survive power loss.
func drive(d *Dir, spans [][]*Entry) (durable uint64, err error) {
	for i, span := range spans {
		last := span[len(span)-1].ID.Seqno
		if last <= d.Last().Seqno {
			continue
		}
		if err := d.AppendSigned(span); err != nil {
			return durable, err
		}
		if i%2 == 1 {
			if err := d.Sync(); err != nil {
				return durable, err
			}
			durable = last
		}
	}
	return durable, nil
}

// checkStored audits the directory and compares its entries with the history.
func checkStored(t *testing.T, h *history, fsys *memfs.FS) {
	t.Helper()
	report, err := h.verifyAt(fsys)
	if err != nil {
		t.Fatalf("auditing: %v", err)
	}
	if want := h.entries[len(h.entries)-1].ID; report.LastSigned != want || report.Tail != nil || len(report.Findings) != 0 {
		t.Fatalf("the audit ends at %v (tail %v, findings %v), want %v", report.LastSigned, report.Tail, report.Findings, want)
	}
	d := openDir(t, fsys)
	checkDir(t, d, h.entries)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDirFailures fails every operation on the disk in both ways, cuts the power in
// several ways and reopens. What was promised to survive is there, what is there is
// what was written, and the rest, which Raft's log holds, can be written again.
func TestDirFailures(t *testing.T) {
	h := workload(t)
	spans := h.spans()
	cuts := map[string]func(*memfs.FS){
		"lost":   (*memfs.FS).Crash,
		"torn":   func(m *memfs.FS) { m.CrashTorn(1000) },
		"landed": func(m *memfs.FS) { m.CrashTorn(1 << 30) },
		"later":  func(m *memfs.FS) { m.CrashKeeping(everySecond()) },
	}
	for op, done := 1, false; !done; op++ {
		for _, landed := range []bool{false, true} {
			for cut, crash := range cuts {
				t.Run(fmt.Sprintf("op=%d/landed=%t/%s", op, landed, cut), func(t *testing.T) {
					m := memfs.New()
					m.Inject(func(o memfs.Op) memfs.Fault {
						if o.N == op {
							return memfs.Fault{Err: syscall.EIO, Landed: landed, Short: 50}
						}
						return memfs.Fault{}
					})
					var promised uint64
					d, err := OpenDir(m, "/ledger", nil)
					if err == nil {
						promised, err = drive(d, spans)
					}
					if err == nil {
						done = done || m.Ops() < op
					} else if d != nil {
						if again := d.AppendSigned(spans[0]); again == nil {
							t.Fatal("appending works after an error of the disk")
						}
						if again := d.Sync(); again == nil {
							t.Fatal("syncing works after an error of the disk")
						}
					}
					crash(m)
					d = openDir(t, m)
					if d.Last().Seqno < promised {
						t.Fatalf("reopened at %v, and %d was promised", d.Last(), promised)
					}
					checkDir(t, d, h.entries[:d.Last().Seqno])
					if _, err := drive(d, spans); err != nil {
						t.Fatalf("writing again from %v: %v", d.Last(), err)
					}
					if err := d.Close(); err != nil {
						t.Fatal(err)
					}
					checkStored(t, h, m)
				})
			}
		}
	}
}

// everySecond lets the disk lose every second write since the last sync.
func everySecond() func(string, []byte) int {
	n := 0
	return func(_ string, data []byte) int {
		if n++; n%2 == 1 {
			return 0
		}
		return max(1, len(data))
	}
}

// TestDirFullDisk makes every operation that needs room find none, at first: the call
// says so, nothing has happened, and the same call succeeds once there is room.
func TestDirFullDisk(t *testing.T) {
	h := workload(t)
	for op, done := 1, false; !done; op++ {
		for _, short := range []int{0, 100} {
			t.Run(fmt.Sprintf("op=%d/short=%d", op, short), func(t *testing.T) {
				m := memfs.New()
				full := 0
				m.Inject(func(o memfs.Op) memfs.Fault {
					needsRoom := o.Kind == memfs.Write || o.Kind == memfs.Create || o.Kind == memfs.Rename
					if o.N == op && needsRoom {
						full++
						return memfs.Fault{Err: syscall.ENOSPC, Short: short}
					}
					return memfs.Fault{}
				})
				d := openDir(t, m)
				errs := 0
				for _, span := range h.spans() {
					err := d.AppendSigned(span)
					if errors.Is(err, syscall.ENOSPC) {
						errs++
						if last := d.Last(); last.Seqno != span[0].ID.Seqno-1 && last != span[len(span)-1].ID {
							t.Errorf("a refused span left the ledger at %v", last)
						}
						checkDir(t, d, h.entries[:d.Last().Seqno])
						err = d.AppendSigned(span)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if errs != full {
					t.Errorf("%d errors for %d refusals", errs, full)
				}
				done = done || m.Ops() < op
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				checkStored(t, h, m)
			})
		}
	}
}

// TestFailedSyncIsFinal: not even a full disk is a reason to sync again.
func TestFailedSyncIsFinal(t *testing.T) {
	h := workload(t)
	for _, kind := range []memfs.Kind{memfs.Sync, memfs.SyncDir} {
		t.Run(string(kind), func(t *testing.T) {
			m := memfs.New()
			d := openDir(t, m)
			m.Inject(func(o memfs.Op) memfs.Fault {
				if o.Kind == kind {
					return memfs.Fault{Err: syscall.ENOSPC}
				}
				return memfs.Fault{}
			})
			_, err := drive(d, h.spans())
			if err == nil || errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the error of a failed sync is %v", err)
			}
			m.Inject(nil)
			if err := d.Sync(); err == nil || errors.Is(err, syscall.ENOSPC) {
				t.Errorf("a second sync: %v", err)
			}
		})
	}
}

// TestOpenChunkCutAnywhere cuts the open chunk at every byte of its last two spans:
// it opens at the last whole span, says what is behind, and can be written again.
func TestOpenChunkCutAnywhere(t *testing.T) {
	h := workload(t)
	h.span(1, 0)
	whole := memfs.New()
	h.store(whole)
	spans := h.spans()
	path := "/ledger/ledger_14"
	data, err := whole.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int]TxID{} // where a signed span ends in the chunk
	at, low := chunkHeaderSize, 0
	for i, span := range spans {
		if span[0].ID.Seqno < 14 {
			continue
		}
		for _, e := range span {
			at += e.Size()
		}
		ends[at] = span[len(span)-1].ID
		if i == len(spans)-3 {
			low = at
		}
	}
	if at != len(data) {
		t.Fatalf("the chunk has %d bytes, its entries %d", len(data), at)
	}
	for size := len(data); size >= low; size-- {
		m := copyLedger(t, whole)
		writeFile(t, m, path, data[:size])
		want, bound := TxID{}, 0
		for end, id := range ends {
			if end <= size && end > bound {
				want, bound = id, end
			}
		}
		if bound == 0 {
			want = h.entries[12].ID
		}
		d := openDir(t, m)
		if d.Last() != want {
			t.Fatalf("cut to %d bytes it opens at %v, want %v", size, d.Last(), want)
		}
		if tail := d.Tail(); (tail == nil) != (size <= max(bound, chunkHeaderSize)) || tail != nil && (!tail.Torn || tail.Later != 0) {
			t.Fatalf("cut to %d bytes the tail is %+v", size, tail)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if size%16 != 0 && size != bound {
			continue
		}
		if report, err := h.verifyAt(m); err != nil || report.LastSigned != want {
			t.Fatalf("cut to %d bytes the audit says %v, %v", size, report.LastSigned, err)
		}
		if size%32 == 0 {
			d := openDir(t, m)
			if _, err := drive(d, spans); err != nil {
				t.Fatalf("cut to %d bytes it can't be written again: %v", size, err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := m.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data) {
				t.Fatalf("cut to %d bytes and written again it is another file", size)
			}
		}
	}
}
