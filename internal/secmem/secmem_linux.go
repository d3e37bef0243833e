package secmem

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// alloc maps whole pages for n bytes, at least one, and tries to lock them.
func alloc(n int) (mem []byte, locked bool, err error) {
	page := os.Getpagesize()
	size := max(page, (n+page-1)/page*page)
	mem, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, false, fmt.Errorf("mapping %d bytes: %w", size, err)
	}
	if err := unix.Madvise(mem, unix.MADV_DONTDUMP); err != nil {
		return nil, false, errors.Join(fmt.Errorf("leaving pages out of dumps: %w", err), unix.Munmap(mem))
	}
	return mem, unix.Mlock(mem) == nil, nil
}

// free unmaps pages that alloc returned, which also unlocks them. It cannot
// fail on such a slice; if it did, the zeroed pages would merely stay.
func free(mem []byte) { _ = unix.Munmap(mem) }

// HardenProcess turns off core dumps and ptrace for this process and raises the
// limit on locked memory as far as it may. Each step is tried; the error names
// those that failed.
func HardenProcess() error {
	var errs []error
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("turning off core dumps: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("making the process not dumpable: %w", err))
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim); err != nil {
		errs = append(errs, fmt.Errorf("reading the limit on locked memory: %w", err))
	} else if lim.Cur < lim.Max {
		lim.Cur = lim.Max
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &lim); err != nil {
			errs = append(errs, fmt.Errorf("raising the limit on locked memory: %w", err))
		}
	}
	return errors.Join(errs...)
}
