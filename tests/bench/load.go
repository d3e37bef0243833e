package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"chancery/internal/supervise"
)

// target is a server under load.
type target struct {
	address string
	tls     *tls.Config
	service *x509.Certificate // nil of the empty handler
	own     *tls.Certificate  // the client's
	pid     int
	ledger  supervise.Workspace // whose ledger grows, "" for none
}

// load is one kind of request.
type load struct {
	name    string
	on      *target
	request func(n uint64) string // the n-th request, as sent
}

// result is what one load came to.
type result struct {
	rate           float64
	p50, p95, p99  time.Duration
	server, client time.Duration // CPU per request
	share          float64       // of the cores, used by the client
}

// drive puts a load on a server over n connections for the run's time.
func drive(l load, n int, duration time.Duration) (result, error) {
	conns := make([]*tls.Conn, n)
	for i := range conns {
		c, err := tls.Dial("tcp", l.on.address, l.on.tls)
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", l.name, err)
		}
		defer c.Close()
		conns[i] = c
	}
	var counter atomic.Uint64
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	serverBefore, clientBefore, begun := cpuOf(l.on.pid), ownCPU(), time.Now()
	deadline := begun.Add(duration)
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			took, err := requests(c, l, &counter, deadline)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begun)
	if failed != nil {
		return result{}, fmt.Errorf("%s: %w", l.name, failed)
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[min(len(all)-1, int(q*float64(len(all))))] }
	client := ownCPU() - clientBefore
	return result{
		rate: float64(len(all)) / elapsed.Seconds(), p50: at(.50), p95: at(.95), p99: at(.99),
		server: (cpuOf(l.on.pid) - serverBefore) / time.Duration(len(all)), client: client / time.Duration(len(all)),
		share: client.Seconds() / elapsed.Seconds() / float64(runtime.NumCPU()),
	}, nil
}

// requests sends one request after the other on a connection until the deadline.
func requests(c *tls.Conn, l load, counter *atomic.Uint64, deadline time.Time) ([]time.Duration, error) {
	if err := c.SetDeadline(deadline.Add(30 * time.Second)); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(c, 8<<10)
	var took []time.Duration
	for time.Now().Before(deadline) || len(took) == 0 {
		begun := time.Now()
		if _, err := io.WriteString(c, l.request(counter.Add(1))); err != nil {
			return nil, err
		}
		if err := answer(r); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

// answer reads one HTTP/1.1 answer with a Content-Length.
func answer(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 12 || line[9] != '2' {
		rest, _ := r.Peek(r.Buffered())
		return fmt.Errorf("answer %s %s", strings.TrimSpace(string(line)), rest)
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > 16 && strings.EqualFold(string(line[:15]), "content-length:") {
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[15:]))); err != nil {
				return err
			}
		}
	}
	_, err = r.Discard(length)
	return err
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf is the CPU time of another process, from its stat file (in ticks of 10 ms).
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// rss is a process's resident memory in bytes.
func rss(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func nodePID(w supervise.Workspace) (int, error) {
	text, err := os.ReadFile(filepath.Join(string(w), "sandbox_0", "node.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// ledgerBytes is the size of all ledger files.
func ledgerBytes(w supervise.Workspace) (n int64) {
	files, _ := filepath.Glob(filepath.Join(string(w), "sandbox_0", "ledger", "ledger_*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}
