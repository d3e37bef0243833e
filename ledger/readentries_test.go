package ledger

import (
	"bytes"
	"errors"
	"testing"
)

func TestReadEntries(t *testing.T) {
	h, m := stored(t)
	d := openDir(t, m) // a node holds the directory
	defer d.Close()
	unsigned := append(read(t, m, "ledger_11"), h.write(0).Raw...)
	writeFile(t, m, "/ledger/ledger_11", append(unsigned, 1, 0, 9)) // and a torn entry
	for from := uint64(1); from <= uint64(len(h.entries)); from++ {
		next := from
		for e, err := range ReadEntries(m, "/ledger", from) {
			if err != nil {
				t.Fatalf("from %d: %v", from, err)
			}
			if !bytes.Equal(e.Raw, h.entries[next-1].Raw) {
				t.Fatalf("from %d: %v is another entry", from, e.ID)
			}
			next++
		}
		if next != uint64(len(h.entries))+1 {
			t.Errorf("from %d it ends before %d", from, next)
		}
	}
	for e, err := range ReadEntries(m, "/ledger", 6) {
		if err != nil || e.ID.Seqno != 6 {
			t.Errorf("%v, %v", e, err)
		}
		break
	}
}

func TestReadEntriesErrors(t *testing.T) {
	_, m := stored(t)
	lastError := func(from uint64) (err error) {
		for _, err = range ReadEntries(m, "/ledger", from) {
		}
		return err
	}
	if err := lastError(0); !errors.Is(err, ErrNotFound) {
		t.Errorf("from 0: %v, want ErrNotFound", err)
	}
	if err := lastError(100); err != nil {
		t.Errorf("from behind the end: %v, want nothing", err)
	}
	var corrupt *CorruptError
	data := read(t, m, "ledger_11")
	data[8] = 9
	writeFile(t, m, "/ledger/ledger_11", data)
	if err := lastError(8); !errors.As(err, &corrupt) || corrupt.Seqno != 11 {
		t.Errorf("with a damaged open chunk: %v", err)
	}
	if err := m.Remove("/ledger/ledger_5-7.committed"); err != nil {
		t.Fatal(err)
	}
	if err := lastError(1); !errors.As(err, &corrupt) || corrupt.Seqno != 5 {
		t.Errorf("with a missing chunk: %v", err)
	}
	for _, err := range ReadEntries(m, "/none", 1) {
		if err == nil {
			t.Error("a directory that is not there is read")
		}
	}
}
