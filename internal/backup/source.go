package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/ledger"
)

// Source is a ledger that can be backed up. What it gives is not believed.
type Source interface {
	// String is how the source is named in messages.
	fmt.Stringer
	// Chunk describes the committed chunk that holds seqno; ok is false where there is
	// none (yet).
	Chunk(ctx context.Context, seqno uint64) (o Offer, ok bool, err error)
	// Snapshot describes the newest snapshot whose evidence is at seqno through or before.
	Snapshot(ctx context.Context, through uint64) (o Offer, ok bool, err error)
	// Copy writes the bytes of an offered file from at to its end.
	Copy(ctx context.Context, o Offer, at int64, w io.Writer) error
	// Reaches says how far the source says that it reaches. Chunks may end earlier.
	Reaches(ctx context.Context) (seqno uint64, err error)
}

// Offer is a file that a source has.
type Offer struct {
	Name   string // base name
	Size   int64
	SHA256 string // hex, "" where the source does not say
}

// Directories are the ledger and snapshot directories of a node, which may be running.
// Of several ledger directories, the first that has a chunk counts.
type Directories struct {
	FS        durable.FS
	Ledger    []string
	Snapshots []string
}

// String implements Source.
func (d *Directories) String() string { return d.Ledger[0] }

// Reaches implements Source.
func (d *Directories) Reaches(context.Context) (uint64, error) {
	var last uint64
	err := d.chunks(func(_, _ string, _, l uint64) bool { last = max(last, l); return true })
	return last, err
}

// chunks calls use for each committed chunk until it returns false.
func (d *Directories) chunks(use func(dir, name string, first, last uint64) bool) error {
	for _, dir := range d.Ledger {
		entries, err := d.FS.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("reading a ledger directory: %w", err)
		}
		for _, e := range entries {
			first, last, ok := ledger.IsCommittedChunk(e.Name())
			if ok && !e.IsDir() && !use(dir, e.Name(), first, last) {
				return nil
			}
		}
	}
	return nil
}

// Chunk implements Source.
func (d *Directories) Chunk(_ context.Context, seqno uint64) (o Offer, ok bool, err error) {
	var path string
	err = d.chunks(func(dir, name string, first, last uint64) bool {
		if first <= seqno && seqno <= last {
			o.Name, path, ok = name, filepath.Join(dir, name), true
		}
		return !ok
	})
	if err != nil || !ok {
		return o, false, err
	}
	o.Size, err = d.size(path)
	return o, err == nil, err
}

func (d *Directories) size(path string) (int64, error) {
	info, err := d.FS.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("reading a ledger directory: %w", err)
	}
	return info.Size(), nil
}

// Snapshot implements Source.
func (d *Directories) Snapshot(_ context.Context, through uint64) (o Offer, ok bool, err error) {
	found, err := ledger.ListSnapshots(d.FS, d.Snapshots...)
	if err != nil {
		return o, false, err
	}
	for _, f := range found {
		if f.Evidence <= through {
			o.Name = f.String()
			o.Size, err = d.size(f.Path)
			return o, err == nil, err
		}
	}
	return o, false, nil
}

// Copy implements Source.
func (d *Directories) Copy(ctx context.Context, o Offer, at int64, w io.Writer) (err error) {
	dirs := d.Ledger
	if _, ok := ledger.ParseSnapshotName(o.Name); ok {
		dirs = d.Snapshots
	}
	var f durable.File
	for _, dir := range dirs {
		if f, err = d.FS.Open(filepath.Join(dir, o.Name)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return copyChecked(ctx, w, io.NewSectionReader(f, at, o.Size-at))
}

// copyBuffer is how much is read at a time.
const copyBuffer = 1 << 20

// copyChecked copies until the end of r or of ctx.
func copyChecked(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, copyBuffer)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
