// Package durable is the seam between the program and its disk, and the only
// place that calls fsync.
//
// # What survives what
//
// A file's bytes survive the end of the process once Write or WriteAt returned.
// They survive power loss once [File.Sync] returned. A name (of a file that was
// created, renamed or removed) survives power loss once [FS.SyncDir] of its
// directory returned. Nothing else is promised: bytes that were not synced may be
// there, be missing, or be there in part and in any order; a file that was synced
// may still be without a name.
//
// An error of Sync is final. The kernel may have dropped the pages and have
// marked them clean, so a second Sync that succeeds says nothing about them. The
// caller must stop using the file.
//
// # Replacing a file
//
// [WriteFileAtomic] makes these calls, in this order, so that after power loss at
// any moment the path holds either the old or the new contents, whole:
//
//	create  dir/.name.tmp     (left over from an earlier crash: overwritten)
//	write   the contents
//	fsync   dir/.name.tmp
//	rename  dir/.name.tmp → dir/name
//	fsync   dir
//
// [OS] is the disk of the machine; package memfs is a disk in memory whose power
// can be cut and whose operations can be made to fail.
package durable
