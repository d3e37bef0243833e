package backup

import (
	"io/fs"
	"path"
	"time"
)

// storedInfo describes a file of a backup.
type storedInfo struct{ f File }

// Name implements fs.FileInfo and fs.DirEntry.
func (i storedInfo) Name() string { return path.Base(i.f.Name) }

// Size implements fs.FileInfo.
func (i storedInfo) Size() int64 { return i.f.Size }

// Mode implements fs.FileInfo.
func (storedInfo) Mode() fs.FileMode { return 0o444 }

// ModTime implements fs.FileInfo.
func (storedInfo) ModTime() time.Time { return time.Time{} }

// IsDir implements fs.FileInfo and fs.DirEntry.
func (storedInfo) IsDir() bool { return false }

// Sys implements fs.FileInfo.
func (storedInfo) Sys() any { return nil }

// Type implements fs.DirEntry.
func (storedInfo) Type() fs.FileMode { return 0 }

// Info implements fs.DirEntry.
func (i storedInfo) Info() (fs.FileInfo, error) { return i, nil }
