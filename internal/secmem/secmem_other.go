//go:build !linux

package secmem

// alloc returns ordinary memory: nodes run on Linux, and the command line tools
// work elsewhere without these protections.
func alloc(n int) (mem []byte, locked bool, err error) { return make([]byte, n+1), false, nil }

// free leaves the zeroed memory to the garbage collector.
func free([]byte) {}

// HardenProcess does nothing outside Linux.
func HardenProcess() error { return nil }
