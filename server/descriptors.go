package server

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// keptDescriptors are left to the ledger, Raft and the connections between nodes: clients
// must not be able to keep a node from opening its next chunk.
const keptDescriptors = 48

// takesLast says whether a connection took one of the last file descriptors that the
// process may have. The system gives out the lowest one that is free, and the limit may
// have been lowered since the node began.
func takesLast(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return false
	}
	last := false
	err = raw.Control(func(fd uintptr) { last = uint64(fd)+keptDescriptors >= limit.Cur })
	return err == nil && last
}
