package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"chancery/client"
)

// recoverWithin bounds one recovery.
const recoverWithin = 10 * time.Minute

// printRecovery writes the rows about a service that is recovered whole, public and private
// state: from its files alone, and from its newest snapshot and what follows.
func (b *bench) printRecovery(chancery, native string, entries int) error {
	if entries == 0 {
		return nil
	}
	defer b.stop()
	t, err := b.startService("lost", chancery, "--node", native)
	if err != nil {
		return err
	}
	written, err := b.fill(t, entries)
	if err == nil {
		err = b.printSnapshotLatency(t)
	}
	b.stop()
	if err != nil {
		return err
	}
	fmt.Printf("\n| recovery of %d entries, private records | public state open | fully open | entries/s | at most |\n|---|---|---|---|---|\n", written)
	for _, from := range []struct{ name, snapshots string }{{"from the files alone", ""}, {"from a snapshot", "snapshots"}} {
		r, err := b.recoverOnce(chancery, native, t, from.snapshots)
		if err != nil {
			return fmt.Errorf("recovering %s: %w", from.name, err)
		}
		fmt.Printf("| %s | %v | %v | %.0f | %d MB |\n", from.name, r.public.Round(time.Millisecond), r.open.Round(time.Millisecond), float64(written)/r.open.Seconds(), r.peak>>20)
	}
	return nil
}

// printSnapshotLatency writes how long a write takes until it is committed, on one connection,
// before a snapshot of all records and while one is made.
func (b *bench) printSnapshotLatency(t *target) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.Close()
	write := load{"write, committed", t, func(uint64) string {
		return post("/app/log/private", "wait=commit", `{"id": 1, "msg": "a message of some length"}`)
	}}
	before, err := drive(write, 1, b.duration)
	if err != nil {
		return err
	}
	if _, err := c.Do(context.Background(), client.Request{Method: "POST", Path: "/node/snapshot:create"}); err != nil {
		return err
	}
	during, err := drive(write, 1, b.duration)
	if err != nil {
		return err
	}
	fmt.Printf("\n| write until committed, one connection | p50 | p99 |\n|---|---|---|\n| before a snapshot | %v | %v |\n| while one of all records is made | %v | %v |\n| ratio | %.2f | %.2f |\n",
		before.p50.Round(time.Microsecond), before.p99.Round(time.Microsecond), during.p50.Round(time.Microsecond), during.p99.Round(time.Microsecond),
		float64(during.p50)/float64(before.p50), float64(during.p99)/float64(before.p99))
	return nil
}

// client reaches the service as its user.
func (t *target) client() (*client.Client, error) {
	return client.New(client.Config{URLs: []string{"https://" + t.address}, Service: t.service, Certificate: t.own})
}

// fill has a service's ledger grow to so many entries, and returns how many it has.
func (b *bench) fill(t *target, entries int) (uint64, error) {
	c, err := t.client()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	next := uint64(0)
	write := load{"filling", t, func(n uint64) string {
		return post("/app/log/private", "respond-async", fmt.Sprintf(`{"id": %d, "msg": "a message of some length"}`, next+n))
	}}
	for {
		r, err := drive(write, 64, b.duration)
		if err != nil {
			return 0, err
		}
		next += uint64(r.rate * b.duration.Seconds())
		at, err := c.Commit(context.Background())
		if err != nil || at.Seqno >= uint64(entries) {
			return at.Seqno, err
		}
	}
}

// recovery is how long the steps of one took from the node's start on, and the most memory
// that the node had.
type recovery struct {
	public, open time.Duration
	peak         int64
}

func (b *bench) recoverOnce(chancery, native string, t *target, snapshots string) (r recovery, err error) {
	port, err := freePort()
	if err != nil {
		return r, err
	}
	lost := filepath.Join(string(t.ledger), "sandbox_0")
	workspace := filepath.Join(b.dir, "recovered-"+snapshots)
	args := []string{"recover", "run", "--workspace", workspace, "--port", strconv.Itoa(port), "--node", native,
		"--ledger", filepath.Join(lost, "ledger"), "--previous-service-cert", t.ledger.Common("service_cert.pem"), "--member", t.ledger.Common("member0")}
	if snapshots != "" {
		args = append(args, "--snapshots", filepath.Join(lost, snapshots))
	}
	out := &watcher{}
	cmd := exec.Command(chancery, args...)
	cmd.Stdout, cmd.Stderr = out, out
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		if end := <-ended; end != nil {
			log, _ := os.ReadFile(filepath.Join(workspace, "node", "out")) // it may not have begun
			err = errors.Join(err, fmt.Errorf("%w\n%s%s", end, out.text(), log))
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- nil
			return r, fmt.Errorf("it ended: %w\n%s", err, out.text())
		case <-tick.C:
		}
		said := out.text()
		if r.public == 0 && strings.Contains(said, " proposes ") {
			r.public = time.Since(begun)
		}
		if strings.Contains(said, "The service is open") {
			r.open = time.Since(begun)
			break
		}
		if time.Since(begun) > recoverWithin {
			return r, fmt.Errorf("it is not open after %v:\n%s", recoverWithin, said)
		}
	}
	pid, err := os.ReadFile(filepath.Join(workspace, "node", "node.pid"))
	if err != nil {
		return r, err
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err == nil {
		r.peak = peakRSS(id)
	}
	return r, err
}
