package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	osReadWrite = os.O_RDWR
	osCreate    = os.O_RDWR | os.O_CREATE | os.O_EXCL

	chunkPerm = 0o644
)

// AppendSigned writes a signed span: entries that follow Last without a gap, of
// which the last one, and no other, is a signature. A ForceChunkBefore on the first
// closes the open chunk before, a ForceChunkAfter on the last closes it behind.
//
// The span is written with one call, and not synced unless the chunk is closed: see
// Sync. If the error is ENOSPC (as errors.Is finds it) nothing happened, and the
// same call may be made again once there is room. Any other error of the disk is
// final, as Sync's is.
func (d *Dir) AppendSigned(span []*Entry) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.failed != nil {
		return d.failed
	}
	if d.closing {
		// An earlier call ran out of space while it closed the chunk.
		if err := d.guard(d.finishClose()); err != nil {
			return err
		}
		if n := len(span); n > 0 && span[n-1].ID == d.last {
			return nil
		}
	}
	if err := d.checkSpan(span); err != nil {
		return err
	}
	if span[0].Flags&ForceChunkBefore != 0 && d.open != nil && len(d.open.positions) > 0 {
		if err := d.guard(d.closeChunk()); err != nil {
			return err
		}
	}
	return d.guard(d.append(span))
}

// guard makes an error final unless the call may be repeated after it.
func (d *Dir) guard(err error) error {
	if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, errTooLarge) {
		d.failed = fmt.Errorf("the ledger files are not written any more: %w", err)
	}
	return err
}

var errTooLarge = errors.New("the chunk would pass 4 GiB")

// checkSpan reports a caller's mistake.
func (d *Dir) checkSpan(span []*Entry) error {
	if len(span) == 0 {
		return errors.New("appending an empty span to the ledger")
	}
	next := d.last.Seqno + 1
	if d.last.IsZero() && d.open != nil {
		next = d.open.first
	}
	for i, e := range span {
		last := i == len(span)-1
		switch {
		case e.ID.Seqno != next+uint64(i) || e.ID.View < d.last.View:
			return fmt.Errorf("appending %v to the ledger behind %v", e.ID, d.last)
		case IsSignature(e.Public) != last:
			return fmt.Errorf("appending %v to the ledger: a span ends in its one signature", e.ID)
		case e.Flags&ForceChunkAfter != 0 && !last, e.Flags&ForceChunkBefore != 0 && i != 0:
			return fmt.Errorf("appending %v to the ledger: flags %d inside a span", e.ID, e.Flags)
		}
	}
	return nil
}

// append writes the span to the open chunk, or to a new one.
func (d *Dir) append(span []*Entry) error {
	c := d.open
	if c == nil {
		var err error
		if c, err = d.create(span[0].ID.Seqno); err != nil {
			return err
		}
	}
	last := span[len(span)-1]
	closing := last.Flags&ForceChunkAfter != 0
	if err := d.admitTail(c, last.ID.Seqno, closing); err != nil {
		return err
	}

	off := c.end
	buf := d.buf[:0]
	if len(c.positions) == 0 {
		off = 0
		buf = append(buf, make([]byte, chunkHeaderSize)...)
	}
	positions := c.positions
	for _, e := range span {
		positions = append(positions, uint32(off+int64(len(buf))))
		buf = append(buf, e.Raw...)
	}
	end := off + int64(len(buf))
	if end > maxChunkSize {
		return fmt.Errorf("appending %v to the ledger: %w", last.ID, errTooLarge)
	}
	if closing {
		buf = appendPositions(buf, positions)
	}
	d.keepBuffer(buf)
	if err := c.write(buf, off); err != nil {
		return err
	}
	d.mu.Lock()
	c.positions, c.end, d.last = positions, end, last.ID
	d.mu.Unlock()
	if closing {
		return d.finishClose()
	}
	return nil
}

const keptBuffer = 1 << 20

func (d *Dir) keepBuffer(b []byte) {
	if cap(b) <= keptBuffer {
		d.buf = b
	}
}

func appendPositions(b []byte, positions []uint32) []byte {
	for _, p := range positions {
		b = binary.LittleEndian.AppendUint32(b, p)
	}
	return b
}

// write writes b at off, and takes back what a full disk let through of it.
//
// A crash here leaves a part of b: the beginning of the span, which OpenDir reports
// as Tail and Raft's log still holds.
func (c *openChunk) write(b []byte, off int64) error {
	_, err := c.file.WriteAt(b, off)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("writing %s: %w", c.path, err)
	if c.tail != nil {
		return err // what stands there must not be cut
	}
	if cut := c.file.Truncate(max(c.end, off)); cut != nil {
		// The remains are read as a torn tail; writing again overwrites them.
		return fmt.Errorf("%w (and cutting off what was written: %v)", err, cut)
	}
	return err
}

// create makes the file of a new chunk.
//
// A crash here, or at any time before the directory is synced, may lose the file.
// Raft's log holds what was in it: it is not compacted before Sync.
func (d *Dir) create(first uint64) (*openChunk, error) {
	path := filepath.Join(d.path, chunkName{first: first, recovery: d.ofRecovery(first)}.String())
	f, err := d.fs.OpenFile(path, osCreate, chunkPerm)
	if err != nil {
		return nil, fmt.Errorf("creating a chunk: %w", err)
	}
	c := &openChunk{file: f, path: path, first: first, end: chunkHeaderSize}
	d.mu.Lock()
	d.open = c
	d.mu.Unlock()
	return c, nil
}

// admitTail prepares the overwriting of a tail that was found behind the last signed
// span. Without later entries in it, it is cut off. With later entries it is kept,
// and overwritten in its place: if the entries that are missing come from Raft's log
// they are the same, byte by byte; nothing that can still be read is ever cut. If the
// chunk is to be closed behind last, there can be no later entries in it.
func (d *Dir) admitTail(c *openChunk, last uint64, closing bool) error {
	switch {
	case c.tail == nil:
		return nil
	case c.tail.Later > last && closing:
		return &CorruptError{File: c.path, Offset: c.end, Seqno: c.tail.Later, Reason: fmt.Sprintf("the chunk is to be closed behind entry %d, but others follow there", last)}
	case c.tail.Later > last:
		return nil
	}
	if err := c.file.Truncate(c.end); err != nil {
		return fmt.Errorf("cutting the tail of %s: %w", c.path, err)
	}
	d.mu.Lock()
	c.tail = nil
	d.mu.Unlock()
	return nil
}

// DropTail cuts what stands behind the last whole signed span, whatever it is. It is
// for a caller that has no other source for it and has reported it.
func (d *Dir) DropTail() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.failed != nil {
		return d.failed
	}
	c := d.open
	if c == nil || c.tail == nil {
		return nil
	}
	if err := c.file.Truncate(c.end); err != nil {
		return d.guard(fmt.Errorf("cutting the tail of %s: %w", c.path, err))
	}
	d.mu.Lock()
	c.tail = nil
	d.mu.Unlock()
	return nil
}

// closeChunk closes the open chunk behind its last signed span.
func (d *Dir) closeChunk() error {
	c := d.open
	if err := d.admitTail(c, c.next()-1, true); err != nil {
		return err
	}
	if err := c.write(appendPositions(d.buf[:0], c.positions), c.end); err != nil {
		return err
	}
	return d.finishClose()
}

// finishClose makes the open chunk, whose positions table is written behind its
// entries, a committed one. Each step says what a crash behind it leaves.
func (d *Dir) finishClose() error {
	d.closing = true
	c := d.open
	// The entries and the table, under a header of zero: an open chunk with a tail
	// that is recognised as a cut-off closing.
	if err := c.file.Sync(); err != nil {
		return notSynced(c.path, err)
	}
	// The header, or not: since everything else was synced before it, a header that
	// is not zero is true.
	var header [chunkHeaderSize]byte
	binary.LittleEndian.PutUint64(header[:], uint64(c.end))
	if _, err := c.file.WriteAt(header[:], 0); err != nil {
		return fmt.Errorf("writing the header of %s: %w", c.path, err)
	}
	if err := c.file.Sync(); err != nil {
		return notSynced(c.path, err)
	}
	// A complete chunk under its old name, or under none if the directory was never
	// synced: OpenDir renames the one, Raft's log still holds the other.
	closed, err := d.commitName(chunk{
		path: c.path, first: c.first, last: c.next() - 1,
		table: c.end, size: c.end + int64(len(c.positions))*positionSize,
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.chunks = append(d.chunks, closed)
	d.open = nil
	d.mu.Unlock()
	d.closing = false
	if err := c.file.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", closed.path, err)
	}
	return nil
}

// closeFlagged closes the chunk that was found open behind an entry that closes it: the
// crash came before its header was written.
func (d *Dir) closeFlagged() error {
	if d.open == nil || !d.open.flagged {
		return nil
	}
	return d.guard(d.closeChunk())
}

// commitFound ends the closing of a chunk that is complete and was not renamed. Its
// header may not have reached the disk yet.
func (d *Dir) commitFound(c chunk) (chunk, error) {
	f, err := d.fs.OpenFile(c.path, osReadWrite, 0)
	if err != nil {
		return chunk{}, fmt.Errorf("opening a closed chunk: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return chunk{}, fmt.Errorf("syncing %s: %w", c.path, err)
	}
	return d.commitName(c)
}

// commitName gives a complete chunk its committed name, durably. A crash between the
// two calls leaves either name, for the same bytes.
func (d *Dir) commitName(c chunk) (chunk, error) {
	old := c.path
	c.path = filepath.Join(filepath.Dir(old), chunkName{first: c.first, last: c.last, committed: true, recovery: d.ofRecovery(c.first)}.String())
	if err := d.rename(old, c.path); err != nil {
		return chunk{}, fmt.Errorf("renaming a closed chunk: %w", err)
	}
	if err := d.fs.SyncDir(filepath.Dir(c.path)); err != nil {
		return chunk{}, notSynced(filepath.Dir(c.path), err)
	}
	return c, nil
}

// rename gives a chunk another name in one step with where readers look for it.
func (d *Dir) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fs.Rename(from, to); err != nil {
		return err
	}
	if d.open != nil && d.open.path == from {
		d.open.path = to
	}
	return nil
}

// notSynced is the error of a failed sync. It hides what the disk said from
// errors.Is: even a full disk is no reason to try again, since what was given to the
// disk before may be gone.
func notSynced(path string, err error) error {
	return fmt.Errorf("syncing %s: %w: %v", path, errNotSynced, err)
}

var errNotSynced = errors.New("what was written may be lost")

// Sync returns when everything that was appended survives power loss. An error is
// final: the disk may have lost what it was given, and nothing is written any more.
func (d *Dir) Sync() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.failed != nil {
		return d.failed
	}
	c := d.open
	if c == nil {
		return nil
	}
	if err := c.file.Sync(); err != nil {
		return d.guard(notSynced(c.path, err))
	}
	if !c.named {
		if err := d.fs.SyncDir(d.path); err != nil {
			return d.guard(notSynced(d.path, err))
		}
		c.named = true
	}
	return nil
}
