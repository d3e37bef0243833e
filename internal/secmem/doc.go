// Package secmem holds key bytes where the operating system does not copy them,
// and makes the process refuse to be read from outside.
//
// A Buffer is a private mapping of its own, outside Go's heap: locked into
// memory (never in swap), left out of core dumps (MADV_DONTDUMP), zeroed by
// Wipe and then unmapped. The garbage collector never sees or moves it. Reading
// a slice of it after Wipe faults, which stops the process; it never shows
// another secret. A Buffer that nobody wipes lives as long as the process.
//
// HardenProcess sets the core limit to zero, makes the process not dumpable (no
// core, no ptrace and no /proc/self/mem for other processes of the same user)
// and raises the soft limit on locked memory to the hard one.
//
// # What this does not promise
//
// Go copies. A key leaves its Buffer whenever it is used by crypto/aes (the
// expanded key lies on the heap for as long as the cipher), crypto/ecdsa and
// crypto/rsa (numbers on the heap), encoding/pem or encoding/base64 (both
// encodings and results), and whenever a goroutine's stack that holds it grows.
// Those copies are neither locked nor wiped; they are gone when the memory is
// used again. HardenProcess keeps them from dumps, not from swap. Against the
// host, the confidential VM's memory encryption is the defence, and this
// package is a second line behind it: it shortens the list of places where a
// long-lived secret lies, and keeps that list out of files.
//
// Locking can fail when RLIMIT_MEMLOCK is small. That is not an error, since
// refusing to run would protect nothing: Locked reports it.
package secmem
