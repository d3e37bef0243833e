package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"chancery/internal/durable"
)

// ChunkInfo describes one chunk of a Dir.
type ChunkInfo struct {
	Path      string
	First     uint64
	Last      uint64 // First-1 while an open chunk holds no signed span
	Size      int64  // bytes of the file; of an open chunk, through its last signed span
	Committed bool   // closed, with a positions table
}

// Dir is a ledger directory that is open for writing. One process holds it at a
// time. Reading is safe beside writing; of the methods that write, one runs at a
// time.
type Dir struct {
	fs   durable.FS // immutable, as path is
	path string
	lock io.Closer

	writing  sync.Mutex // held through every method that writes
	buf      []byte     // guarded by writing
	closing  bool       // guarded by writing: the open chunk's table is written, see finishClose
	failed   error      // guarded by writing: the disk broke a promise, nothing is written any more
	recovers uint64     // guarded by writing: files that begin here or behind end in ".recovery", see BeginRecovery; 0: none

	mu     sync.RWMutex // guards what follows; held during no I/O but a rename
	chunks []chunk      // closed ones, ascending, without gaps
	open   *openChunk   // the one being written, or nil
	last   TxID
}

// chunk is a closed chunk. Its count and table were checked when it was opened or
// are as they were written; the file is not believed afterwards.
type chunk struct {
	path  string
	first uint64
	last  uint64
	table int64
	size  int64
}

// openChunk is the chunk being written. Its fields are guarded by Dir.mu, and by
// Dir.writing against other writers.
type openChunk struct {
	file      durable.File
	path      string
	first     uint64
	positions []uint32 // of the entries through the last signed span
	end       int64    // of the last signed span
	tail      *Tail    // what stands behind end since before we opened the file
	flagged   bool     // the entry at end closes the chunk
	named     bool     // this process has synced the directory since the file is there
}

func (c *openChunk) next() uint64 { return c.first + uint64(len(c.positions)) }

// OpenDir opens the ledger directory dir, which it creates if needed, and locks it
// against other processes. Committed chunks are also read from the directories
// readOnly. No entry is cut: a torn or damaged end of the open chunk is left as it is
// and reported by Tail. The closing of a chunk that a crash interrupted is carried out.
// Errors: durable.ErrLocked, a *CorruptError, or of the disk.
func OpenDir(fsys durable.FS, dir string, readOnly []string) (*Dir, error) {
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the ledger directory: %w", err)
	}
	lock, err := fsys.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger directory %s: %w", dir, err)
	}
	d := &Dir{fs: fsys, path: dir, lock: lock}
	if err := d.load(readOnly); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close ends the use of the directory. It syncs nothing.
func (d *Dir) Close() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.failed == nil {
		d.failed = errClosed
	}
	var err error
	if d.open != nil {
		err = d.open.file.Close()
	}
	return errors.Join(err, d.lock.Close())
}

var errClosed = errors.New("the ledger directory is closed")

// load lists the chunks and opens the last one.
func (d *Dir) load(readOnly []string) error {
	files, err := listChunks(d.fs, d.path, readOnly)
	if err != nil {
		return err
	}
	files = d.reachable(files)
	for i, f := range files {
		if err := d.loadChunk(f, i == len(files)-1); err != nil {
			return err
		}
	}
	if err := d.closeFlagged(); err != nil {
		return err
	}
	// The process that named a file may have ended before it synced the directory.
	if err := d.fs.SyncDir(d.path); err != nil {
		return fmt.Errorf("syncing the ledger directory: %w", err)
	}
	return nil
}

// reachable drops chunks of read-only directories behind which others are missing: whoever
// put them there may bring those later.
func (d *Dir) reachable(files []chunkFile) []chunkFile {
	for i := len(files) - 1; i > 0; i-- {
		before := files[i-1]
		if before.name.committed && before.name.last+1 < files[i].name.first && filepath.Dir(before.path) != filepath.Clean(d.path) {
			return files[i:]
		}
	}
	return files
}

// loadChunk takes in one chunk; isLast says that no other follows.
func (d *Dir) loadChunk(f chunkFile, isLast bool) (err error) {
	want := f.name.first
	if n := len(d.chunks); n > 0 {
		want = d.chunks[n-1].last + 1
	}
	if f.name.first > want {
		return &CorruptError{File: f.path, Seqno: want, Reason: fmt.Sprintf("no chunk holds entries %d to %d", want, f.name.first-1)}
	}
	if f.name.first < want {
		return &CorruptError{File: f.path, Seqno: f.name.first, Reason: fmt.Sprintf("the chunk begins at entry %d, which %s holds too", f.name.first, d.chunks[len(d.chunks)-1].path)}
	}
	file, err := d.fs.Open(f.path)
	if err != nil {
		return fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	frame, err := readFrame(file, f.path, f.name)
	if err != nil {
		return err
	}
	if !frame.complete() {
		if !isLast {
			return &CorruptError{File: f.path, Seqno: f.name.first, Reason: "the chunk is open, but another follows"}
		}
		return d.loadOpen(f)
	}
	c := chunk{path: f.path, first: f.name.first, last: f.name.first + frame.count - 1, table: frame.entries, size: frame.size}
	if isLast {
		e, err := readIn(file, c, c.last)
		if err != nil {
			return err
		}
		if !IsSignature(e.Public) {
			return &CorruptError{File: f.path, Seqno: c.last, Reason: "the chunk does not end in a signature"}
		}
		d.last = e.ID
	}
	if !f.name.committed {
		if c, err = d.commitFound(c); err != nil {
			return err
		}
	}
	d.chunks = append(d.chunks, c)
	return nil
}

// loadOpen reads the open chunk through its last whole signed span.
func (d *Dir) loadOpen(f chunkFile) error {
	c := &openChunk{path: f.path, first: f.name.first, end: chunkHeaderSize}
	var positions []uint32
	var behind *CorruptError
	var flags Flags
	last := TxID{}
	err := scanEntries(d.fs, f.path, f.name, nil, func(e *Entry, at int64) error {
		positions = append(positions, uint32(at))
		if IsSignature(e.Public) {
			c.positions, c.end, last = slices.Clone(positions), at+int64(e.Size()), e.ID
			flags = e.Flags
		}
		return nil
	})
	if err != nil && !errors.As(err, &behind) {
		return err
	}
	if last.IsZero() && len(d.chunks) > 0 {
		prev := d.chunks[len(d.chunks)-1]
		e, err := d.readChunk(prev, prev.last)
		if err != nil {
			return err
		}
		last = e.ID
	}
	if c.file, err = d.fs.OpenFile(f.path, osReadWrite, 0); err != nil {
		return fmt.Errorf("opening a chunk for writing: %w", err)
	}
	d.open, d.last = c, last
	c.flagged = flags&ForceChunkAfter != 0
	size, err := c.file.Size()
	if err != nil {
		return fmt.Errorf("reading the size of %s: %w", f.path, err)
	}
	if size <= c.end {
		return nil
	}
	if behind == nil {
		behind = &CorruptError{File: f.path, Offset: c.end, Seqno: c.next(), Reason: "entries behind the last signature"}
		c.tail = &Tail{CorruptError: *behind, Torn: true}
		return nil
	}
	c.tail, err = judgeTail(c.file, size, *behind, positions)
	return err
}

// Last returns the id of the last entry, which is a signature, or zero.
func (d *Dir) Last() TxID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.last
}

// First returns the seqno of the first entry that the directory holds, or will hold: a node
// that began with a snapshot has none before it.
func (d *Dir) First() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch {
	case len(d.chunks) > 0:
		return d.chunks[0].first
	case d.open != nil:
		return d.open.first
	}
	return d.last.Seqno + 1
}

// Tail describes what stands behind the last whole signed span since before OpenDir,
// or is nil. AppendSigned overwrites it with the entries that belong there.
func (d *Dir) Tail() *Tail {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.open == nil {
		return nil
	}
	return d.open.tail
}

// Chunks lists the chunks in order, the open one last.
func (d *Dir) Chunks() []ChunkInfo {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]ChunkInfo, 0, len(d.chunks)+1)
	for _, c := range d.chunks {
		out = append(out, ChunkInfo{Path: c.path, First: c.first, Last: c.last, Size: c.size, Committed: true})
	}
	if c := d.open; c != nil {
		out = append(out, ChunkInfo{Path: c.path, First: c.first, Last: c.next() - 1, Size: c.end})
	}
	return out
}

// OpenChunkBytes returns how many bytes of entries the open chunk holds.
func (d *Dir) OpenChunkBytes() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.open == nil {
		return 0
	}
	return uint64(d.open.end - chunkHeaderSize)
}

// chunkFile is a chunk file found in a directory.
type chunkFile struct {
	path string
	name chunkName
}

// listChunks finds the chunks of dir, and the committed ones of readOnly that dir
// does not hold under the same name, by their first seqno. Files of a recovery that
// did not end, and those set aside, are passed over.
func listChunks(fsys durable.FS, dir string, readOnly []string) ([]chunkFile, error) {
	return listFiles(fsys, dir, readOnly, false)
}

// listFiles is listChunks, of the files of a recovery that did not end alone where
// recovery is set.
func listFiles(fsys durable.FS, dir string, readOnly []string, recovery bool) ([]chunkFile, error) {
	var out []chunkFile
	seen := map[string]bool{}
	for i, p := range append([]string{dir}, readOnly...) {
		entries, err := fsys.ReadDir(p)
		if err != nil {
			return nil, fmt.Errorf("listing a ledger directory: %w", err)
		}
		for _, e := range entries {
			name, ok := parseChunkName(e.Name())
			if !ok || e.IsDir() || name.recovery != recovery || seen[e.Name()] || i > 0 && !name.committed {
				continue
			}
			seen[e.Name()] = true
			out = append(out, chunkFile{filepath.Join(p, e.Name()), name})
		}
	}
	slices.SortStableFunc(out, func(a, b chunkFile) int {
		switch {
		case a.name.first < b.name.first:
			return -1
		case a.name.first > b.name.first:
			return 1
		}
		return 0
	})
	return out, nil
}

// positionAt reads the offsets at which entry i of a closed chunk begins and ends.
func positionAt(f io.ReaderAt, c chunk, i uint64) (begin, end int64, err error) {
	var b [2 * positionSize]byte
	n := len(b)
	if c.first+i == c.last {
		n = positionSize
	}
	if _, err := f.ReadAt(b[:n], c.table+int64(i)*positionSize); err != nil {
		return 0, 0, fmt.Errorf("reading the positions of %s: %w", c.path, err)
	}
	begin, end = int64(binary.LittleEndian.Uint32(b[:])), c.table
	if n == len(b) {
		end = int64(binary.LittleEndian.Uint32(b[positionSize:]))
	}
	return begin, end, nil
}
