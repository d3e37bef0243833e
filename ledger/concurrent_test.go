package ledger

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"chancery/internal/durable"
)

// TestReadersBesideTheWriter reads entries and streams the ledger while spans are
// appended, synced, and chunks are closed and renamed under the readers.
func TestReadersBesideTheWriter(t *testing.T) {
	h := newService(t, elliptic.P256())
	for i := range 60 {
		h.span(i%3, Flags(i%4/3)*ForceChunkAfter)
	}
	d, err := OpenDir(durable.OS(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	done := make(chan struct{})
	var readers sync.WaitGroup
	for seed := range uint64(3) {
		readers.Add(1)
		go func() {
			defer readers.Done()
			rng := rand.New(rand.NewPCG(seed, 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := readSome(d, h, rng); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	if _, err := drive(d, h.spans()); err != nil {
		t.Error(err)
	}
	close(done)
	readers.Wait()
	checkDir(t, d, h.entries)
}

// readSome reads one entry, or streams from it on.
func readSome(d *Dir, h *history, rng *rand.Rand) error {
	last := d.Last().Seqno
	if last == 0 {
		return nil
	}
	from := 1 + rng.Uint64N(last)
	if rng.IntN(2) == 0 {
		e, err := d.Read(from)
		if err == nil && !bytes.Equal(e.Raw, h.entries[from-1].Raw) {
			err = errors.New("another entry is read")
		}
		return err
	}
	next := from
	for e, err := range d.Entries(from) {
		if err != nil {
			return err
		}
		if !bytes.Equal(e.Raw, h.entries[next-1].Raw) {
			return errors.New("another entry is streamed")
		}
		if next++; next > from+20 {
			return nil
		}
	}
	if next <= last {
		return errors.New("the stream ends early")
	}
	return nil
}
