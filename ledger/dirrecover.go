package ledger

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"

	"chancery/internal/durable"
)

// BeginRecovery makes the files from seqno first on ones of a recovery: their names end in
// ".recovery" until EndRecovery, and no reader takes them for the service's. A recovery
// that is cut off leaves the files of the earlier life as they were; what an earlier
// attempt wrote is set aside under the suffix ".ignored". The open chunk is closed behind
// its last signature, and what stands behind that, which nothing vouches for, is cut off.
// What comes up to first, to a node that joins a recovery, is of the earlier life.
func (d *Dir) BeginRecovery(first uint64) error {
	if err := d.DropTail(); err != nil {
		return err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.open != nil && len(d.open.positions) > 0 {
		if err := d.guard(d.closeChunk()); err != nil {
			return err
		}
	}
	unfinished, err := d.UnfinishedRecovery()
	if err != nil {
		return err
	}
	for _, name := range unfinished {
		path := filepath.Join(d.path, name)
		if err := d.fs.Rename(path, path+".ignored"); err != nil {
			return fmt.Errorf("setting aside a file of an earlier recovery: %w", err)
		}
	}
	d.recovers = first
	return d.fs.SyncDir(d.path)
}

// UnfinishedRecovery names the files of a recovery that ended before the service was open.
func (d *Dir) UnfinishedRecovery() (names []string, err error) {
	entries, err := d.fs.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("listing the ledger directory: %w", err)
	}
	for _, e := range entries {
		if name, ok := parseChunkName(e.Name()); ok && name.recovery {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// ReadUnfinished streams the entries of the files that a recovery left which ended before
// they got their own names, as ReadEntries does; none where there are no such files.
func ReadUnfinished(fsys durable.FS, dir string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		files, err := listFiles(fsys, dir, nil, true)
		if err == nil && len(files) > 0 {
			err = streamFiles(fsys, files, 0, func(e *Entry) bool { return yield(e, nil) })
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, err)
		}
	}
}

// FinishRecovery gives those files their own names, in a directory that no Dir has open:
// the service had been opened.
func FinishRecovery(fsys durable.FS, dir string) (err error) {
	lock, err := fsys.Lock(dir)
	if err != nil {
		return fmt.Errorf("locking the ledger directory: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	files, err := listFiles(fsys, dir, nil, true)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := fsys.Rename(f.path, strings.TrimSuffix(f.path, recoverySuffix)); err != nil {
			return fmt.Errorf("ending a recovery: %w", err)
		}
	}
	return fsys.SyncDir(dir)
}

// EndRecovery gives the files of a recovery their own names: the service is open.
func (d *Dir) EndRecovery() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.recovers == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	rename := func(path *string) error {
		to, ok := strings.CutSuffix(*path, recoverySuffix)
		if !ok {
			return nil
		}
		err := d.fs.Rename(*path, to)
		if err == nil {
			*path = to
		}
		return err
	}
	var errs []error
	for i := range d.chunks {
		errs = append(errs, rename(&d.chunks[i].path))
	}
	if d.open != nil {
		errs = append(errs, rename(&d.open.path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("ending a recovery: %w", err)
	}
	d.recovers = 0
	return d.fs.SyncDir(d.path)
}

// ofRecovery says whether a file that begins at first is one of a recovery. writing is held.
func (d *Dir) ofRecovery(first uint64) bool { return d.recovers != 0 && first >= d.recovers }
