package ledger

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"chancery/ledger/merkle"
)

// What is read at a time: little at first, since who looks for one entry wants no more.
var (
	firstBlock = 16 << 10 // at least an entry's header
	maxBlock   = 256 << 10
)

// block is consecutive entries of a chunk. Who keeps one of them keeps all; where the blocks
// are reused, none may be kept, nor what is inside.
type block struct {
	at      int64  // offset of the first entry
	first   uint64 // its seqno
	buf     []byte // that holds them
	raw     [][]byte
	entries []Entry       // as far as they are well-formed
	err     error         // what comes behind entries; nil where the next block does
	parsed  chan struct{} // closed when entries and err are there

	spans []merkle.Span // see digestSpans
}

// each calls f with each entry and its offset.
func (b *block) each(f func(*Entry, int64) error) error {
	at := b.at
	for i := range b.entries {
		e := &b.entries[i]
		if err := f(e, at); err != nil {
			return err
		}
		at += int64(len(e.Raw))
	}
	return nil
}

// stream gives the chunk's entries to use, block by block in order, until use returns an
// error, which it returns, or the entries end. In an open chunk the error may be what a
// crash has left: see judgeTail. While use has one block, the next ones are read, parsed,
// hashed, and given to prepare (if it is not nil) on other goroutines, all of which have
// ended when stream returns. It holds one block for each core, and two; of the entries that
// are larger than a block, one.
func (r *chunkReader) stream(prepare func(*block), use func(*block) error) error {
	b := new(block)
	r.fill(b, firstBlock)
	if b.err != nil { // that is all
		r.parse(b, prepare)
		return b.give(use)
	}
	ahead := make(chan *block, runtime.GOMAXPROCS(0))
	used := make(chan *block, cap(ahead)+2)
	taken := make(chan struct{}) // an entry that is larger than a block
	stop := make(chan struct{})
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer close(stop)
	tasks.Go(func() {
		defer close(ahead)
		for target := firstBlock; ; target = min(2*target, maxBlock) {
			now, last := b, b.err != nil // parse may set err
			select {
			case <-stop:
				return
			case ahead <- now:
			}
			tasks.Go(func() { r.parse(now, prepare) })
			if last {
				return
			}
			if len(now.buf) > maxBlock {
				select {
				case <-stop:
					return
				case <-taken:
				}
			}
			select {
			case b = <-used:
			default:
				b = new(block)
			}
			r.fill(b, target)
		}
	})
	for b := range ahead {
		<-b.parsed
		if err := b.give(use); err != nil || b.err != nil {
			return err
		}
		switch {
		case len(b.buf) > maxBlock:
			taken <- struct{}{}
		case r.reuse:
			used <- b
		}
	}
	return nil
}

// give gives a block to use and returns what comes behind it.
func (b *block) give(use func(*block) error) error {
	if err := use(b); err != nil || b.err == io.EOF {
		return err
	}
	return b.err
}

// fill reads whole entries, of about target bytes and at least one, and checks where they
// stand.
func (r *chunkReader) fill(b *block, target int) {
	*b = block{at: r.off, first: r.next, buf: b.buf, raw: b.raw[:0], entries: b.entries[:0], spans: b.spans[:0], parsed: make(chan struct{})}
	b.err = r.load(b, max(min(int64(target), r.frame.entries-r.off), int64(len(r.buf))))
	for b.err == nil {
		left := r.frame.entries - r.off
		if left == 0 {
			b.err = r.end()
			return
		}
		have, begun := int64(len(r.buf)), len(b.raw) > 0
		if begun && have < min(entryHeaderSize, left) {
			return
		}
		size, err := EntrySize(r.buf)
		if begun && err == nil && have < size && size <= left {
			return
		}
		if b.err = r.checkPosition(); b.err != nil {
			return
		}
		switch {
		case err != nil:
			b.err = r.corrupt(err, "entry header")
		case size > left:
			b.err = r.corrupt(nil, "an entry of %d bytes where %d are left", size, left)
		case size > have:
			b.err = r.load(b, size)
		}
		if b.err != nil {
			return
		}
		b.raw = append(b.raw, r.buf[:size:size])
		r.buf = r.buf[size:]
		r.before = r.off
		r.off += size
		r.next++
	}
}

// load moves what was read to the beginning of a block, which holds no entry yet, and reads
// on until it is n bytes, which the chunk has.
func (r *chunkReader) load(b *block, n int64) error {
	if int64(cap(b.buf)) < n {
		b.buf = make([]byte, n)
	}
	b.buf = b.buf[:n]
	have := int64(copy(b.buf, r.buf))
	r.buf = b.buf
	if got, err := r.file.ReadAt(b.buf[have:], r.off+have); int64(got) < n-have {
		return fmt.Errorf("reading entry %d of %s: %w", r.next, r.path, err)
	}
	return nil
}

// parse reads a block's entries, and prepares them.
func (r *chunkReader) parse(b *block, prepare func(*block)) {
	defer close(b.parsed)
	b.entries = slices.Grow(b.entries, len(b.raw))[:len(b.raw)]
	clear(b.entries)
	at := b.at
	for i, raw := range b.raw {
		e, seqno := &b.entries[i], b.first+uint64(i)
		err := e.parse(raw)
		switch {
		case err != nil:
			b.err = &CorruptError{File: r.path, Offset: at, Seqno: seqno, Reason: fmt.Sprintf("entry of %d bytes", len(raw)), Err: err}
		case e.ID.Seqno != seqno:
			b.err = &CorruptError{File: r.path, Offset: at, Seqno: seqno, Reason: fmt.Sprintf("entry %v stands in the place of seqno %d", e.ID, seqno)}
		default:
			at += int64(len(raw))
			continue
		}
		b.entries = b.entries[:i]
		break
	}
	if prepare != nil {
		prepare(b)
	}
}

// openAhead decrypts the entries that have a known secret.
func (b *block) openAhead(secrets *Secrets) {
	for i := range b.entries {
		b.entries[i].openAhead(secrets)
	}
}

// digestSpans joins the leaves of a block as far as they can be without what is before
// them: those through each signature on their own, since its root is over them.
func (b *block) digestSpans() {
	for i := range b.entries {
		e := &b.entries[i]
		if i == 0 || IsSignature(e.Public) {
			b.spans = append(b.spans, merkle.NewSpan(e.ID.Seqno))
		}
		b.spans[len(b.spans)-1].Append(e.Leaf())
	}
}
