package memfs

import (
	"io"
	"io/fs"
	"os"
)

// file is an open file. Its fields are guarded by fs.mu.
type file struct {
	fs     *FS
	in     *inode
	path   string
	era    int
	flag   int
	pos    int64
	closed bool
}

func (f *file) usable(op string) error {
	switch {
	case f.closed:
		return &fs.PathError{Op: op, Path: f.path, Err: fs.ErrClosed}
	case f.era != f.fs.era:
		return &fs.PathError{Op: op, Path: f.path, Err: errGone}
	}
	return nil
}

// Read reads from where the last Read or Write ended.
func (f *file) Read(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.readAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 {
		return n, nil
	}
	return n, err
}

// ReadAt reads at an offset.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.readAt(p, off)
}

func (f *file) readAt(p []byte, off int64) (int, error) {
	if err := f.usable("read"); err != nil {
		return 0, err
	}
	if fault := f.fs.begin(Read, f.path); fault.Err != nil {
		return 0, fault.Err
	}
	if off >= int64(len(f.in.live)) {
		return 0, io.EOF
	}
	n := copy(p, f.in.live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write writes where the last Read or Write ended, or at the end (os.O_APPEND).
func (f *file) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.flag&os.O_APPEND != 0 {
		f.pos = int64(len(f.in.live))
	}
	n, err := f.writeAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// WriteAt writes at an offset.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.writeAt(p, off)
}

func (f *file) writeAt(p []byte, off int64) (int, error) {
	if err := f.usable("write"); err != nil {
		return 0, err
	}
	if f.flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return 0, &fs.PathError{Op: "write", Path: f.path, Err: fs.ErrPermission}
	}
	fault := f.fs.begin(Write, f.path)
	n := len(p)
	if fault.Err != nil && !fault.Landed {
		n = min(fault.Short, n)
	}
	if n > 0 {
		data := append([]byte{}, p[:n]...)
		f.in.write(off, data)
		f.in.pending = append(f.in.pending, patch{off: off, data: data})
	}
	return n, fault.Err
}

// Size returns the size as the program sees it.
func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("stat"); err != nil {
		return 0, err
	}
	return int64(len(f.in.live)), nil
}

// Truncate cuts or extends the file.
func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("truncate"); err != nil {
		return err
	}
	fault := f.fs.begin(Truncate, f.path)
	if fault.Err == nil || fault.Landed {
		f.in.resize(size)
		f.in.pending = append(f.in.pending, patch{off: size})
	}
	return fault.Err
}

// Sync makes the bytes survive.
func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("sync"); err != nil {
		return err
	}
	fault := f.fs.begin(Sync, f.path)
	if fault.Err == nil || fault.Landed {
		f.in.settle()
	}
	return fault.Err
}

// Close ends the use of the file.
func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.path, Err: fs.ErrClosed}
	}
	f.closed = true
	return nil
}
