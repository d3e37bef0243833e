package ledger

import (
	"errors"
	"fmt"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/ledger/merkle"
)

// ErrOccupied is returned by BeginBehind where entries are in the way.
var ErrOccupied = errors.New("the ledger directory holds entries that end before")

// BeginBehind makes the directory one of a node that begins with a snapshot of the state at
// id: the next entry is the one behind it. Nothing is to be done where the directory reaches
// id already. Chunks of read-only directories that end before id are left to Prepend. Errors:
// ErrOccupied where the directory's own files end before id.
func (d *Dir) BeginBehind(id TxID) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last.Seqno >= id.Seqno {
		return nil
	}
	for _, c := range d.chunks {
		if filepath.Dir(c.path) == filepath.Clean(d.path) {
			return fmt.Errorf("%w %v: %s", ErrOccupied, id, c.path)
		}
	}
	if d.open != nil {
		return fmt.Errorf("%w %v: %s", ErrOccupied, id, d.open.path)
	}
	d.chunks, d.last = nil, id
	return nil
}

// Occupied says whether the directory has files of its own.
func (d *Dir) Occupied() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, c := range d.chunks {
		if filepath.Dir(c.path) == filepath.Clean(d.path) {
			return true
		}
	}
	return d.open != nil
}

// Prepend takes in a closed chunk whose entries come right before First, from a file of this
// directory or of another. The caller has verified what is in it.
func (d *Dir) Prepend(path string, first, last uint64) (err error) {
	name := chunkName{first: first, last: last, committed: true}
	if now := d.First(); last+1 != now {
		return fmt.Errorf("chunk %s does not end before seqno %d", name, now)
	}
	file, err := d.fs.Open(path)
	if err != nil {
		return fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	frame, err := readFrame(file, path, name)
	if err != nil {
		return err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chunks = append([]chunk{{path: path, first: first, last: last, table: frame.entries, size: frame.size}}, d.chunks...)
	return nil
}

// Earlier finds the committed chunk that ends right before First in dirs, whatever was put
// there since the directory was opened; path is empty where none does.
func (d *Dir) Earlier(dirs []string) (path string, first, last uint64, err error) {
	want := d.First() - 1
	for _, dir := range dirs {
		files, err := listChunks(d.fs, dir, nil)
		if err != nil {
			return "", 0, 0, err
		}
		for _, f := range files {
			if f.name.committed && f.name.last == want {
				return f.path, f.name.first, f.name.last, nil
			}
		}
	}
	return "", 0, 0, nil
}

// Beginning reads the subtrees over the leaves before a chunk's first entry, large ones
// first, from the tree that the first signature in the chunk recorded. Nothing vouches for
// them but that they lead, with the chunk's entries, to a root that is trusted.
func Beginning(fsys durable.FS, path string, first, last uint64) (edge []Digest, err error) {
	for e, err := range ReadChunk(fsys, path, first, last) {
		if err != nil {
			return nil, err
		}
		if IsSignature(e.Public) {
			return beginningOf(e, first)
		}
	}
	return nil, &CorruptError{File: path, Seqno: last, Reason: "the chunk holds no signature"}
}

// Beginning is the function of this name over the first entry that the directory holds.
func (d *Dir) Beginning() (edge []Digest, err error) {
	first := d.First()
	for e, err := range d.Entries(first) {
		if err != nil {
			return nil, err
		}
		if IsSignature(e.Public) {
			return beginningOf(e, first)
		}
	}
	return nil, fmt.Errorf("seqno %d: %w", first, ErrNotFound)
}

func beginningOf(signature *Entry, first uint64) ([]Digest, error) {
	s, err := ParseSignature(signature)
	if err != nil {
		return nil, err
	}
	t, err := merkle.Restore(s.Tree)
	if err != nil {
		return nil, err
	}
	if first < t.First() || first > t.Size() {
		return nil, fmt.Errorf("%w: signature %v records a tree from leaf %d on, not from %d", merkle.ErrMalformed, s.ID, t.First(), first)
	}
	return t.EdgeAt(first), nil
}
