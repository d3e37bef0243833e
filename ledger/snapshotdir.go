package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"chancery/internal/durable"
)

const (
	snapshotPrefix = "snapshot_"
	ignoredSuffix  = ".ignored"
)

// SnapshotName is what a snapshot's file name says: snapshot_<seqno>_<evidence>, and
// .committed once the file ends in the receipt of the evidence.
type SnapshotName struct {
	Seqno, Evidence uint64
	Committed       bool
}

// ParseSnapshotName reads a file's base name; ok is false for every other name.
func ParseSnapshotName(base string) (n SnapshotName, ok bool) {
	rest, ok := strings.CutPrefix(base, snapshotPrefix)
	if !ok {
		return n, false
	}
	rest, n.Committed = strings.CutSuffix(rest, committedSuffix)
	seqno, evidence, ok := strings.Cut(rest, "_")
	if !ok {
		return n, false
	}
	if n.Seqno, ok = parseSeqno(seqno); !ok {
		return n, false
	}
	n.Evidence, ok = parseSeqno(evidence)
	return n, ok && n.Evidence > n.Seqno
}

// String returns the file's base name.
func (n SnapshotName) String() string {
	s := snapshotPrefix + strconv.FormatUint(n.Seqno, 10) + "_" + strconv.FormatUint(n.Evidence, 10)
	if n.Committed {
		s += committedSuffix
	}
	return s
}

// SnapshotFile is a snapshot found in a directory.
type SnapshotFile struct {
	Path string
	SnapshotName
}

// ListSnapshots lists the committed snapshots in dirs, the newest first. A directory
// that is not there holds none.
func ListSnapshots(fsys durable.FS, dirs ...string) ([]SnapshotFile, error) {
	var out []SnapshotFile
	for _, dir := range dirs {
		entries, err := fsys.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing the snapshots: %w", err)
		}
		for _, e := range entries {
			if n, ok := ParseSnapshotName(e.Name()); ok && n.Committed && !e.IsDir() {
				out = append(out, SnapshotFile{filepath.Join(dir, e.Name()), n})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b SnapshotFile) int {
		switch {
		case a.Seqno > b.Seqno, a.Seqno == b.Seqno && a.Evidence > b.Evidence:
			return -1
		case a.SnapshotName == b.SnapshotName:
			return 0
		}
		return 1
	})
	return out, nil
}

// ReadSnapshot reads and parses a snapshot file; its name must fit what is in it.
func ReadSnapshot(fsys durable.FS, f SnapshotFile) (*Snapshot, error) {
	data, err := fsys.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("reading a snapshot: %w", err)
	}
	s, err := ParseSnapshot(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	if s.Seqno != f.Seqno {
		return nil, fmt.Errorf("%s: %w: it is of seqno %d", f.Path, ErrSnapshot, s.Seqno)
	}
	return s, nil
}

// IgnoreSnapshot sets a snapshot aside, under its name with .ignored behind it.
func IgnoreSnapshot(fsys durable.FS, path string) error {
	if err := fsys.Rename(path, path+ignoredSuffix); err != nil {
		return fmt.Errorf("setting a snapshot aside: %w", err)
	}
	return nil
}
