package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"chancery/client"
	"chancery/internal/supervise"
	"chancery/server/api"
)

// nodeRounds is how often one node and three are measured in turn: what else the machine
// does falls on both.
const nodeRounds = 3

// runNodes measures three nodes beside one, and how long a failover takes, at a short
// election timeout and at CCF's default.
func runNodes(chancery, native string, failovers int, b *bench) (err error) {
	rows, err := regexp.Compile(b.rows)
	if err != nil || !rows.MatchString("three nodes") {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "chancery-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.printNodes(chancery, native); err != nil || failovers == 0 {
		return err
	}
	for _, timeout := range []time.Duration{500 * time.Millisecond, 5 * time.Second} {
		if err := b.printFailover(chancery, timeout, failovers); err != nil {
			return err
		}
	}
	return nil
}

// printNodes puts the same writes on one node and on three, in turn, on the same cores.
func (b *bench) printNodes(chancery, native string) error {
	defer b.stop()
	names := []string{"one node", "three nodes"}
	services := map[string]*target{}
	for i, name := range names {
		t, err := b.startService(strings.ReplaceAll(name, " ", "-"), chancery, "--node", native, "--nodes", fmt.Sprint(1+2*i))
		if err != nil {
			return err
		}
		services[name] = t
	}
	fmt.Printf("\n%-34s %5s %9s %9s %9s %8s %8s %6s\n", "", "conns", "writes/s", "p50", "p99", "primary", "backups", "ratio")
	for _, conns := range []int{1, 16, 64, 256} {
		runs := map[string][]nodeRun{}
		for range nodeRounds {
			for _, name := range names {
				r, err := b.runOnNodes(services[name], name, conns)
				if err != nil {
					return err
				}
				runs[name] = append(runs[name], r)
			}
		}
		one := 0.0
		for _, name := range names {
			slices.SortFunc(runs[name], func(a, b nodeRun) int { return int(a.rate - b.rate) })
			r := runs[name][nodeRounds/2]
			if one == 0 {
				one = r.rate
			}
			fmt.Printf("%-34s %5d %9.0f %9v %9v %8v %8v %6.2f\n", name+", write, committed", conns, r.rate,
				r.p50.Round(time.Microsecond), r.p99.Round(time.Microsecond), r.server.Round(time.Microsecond), r.backups.Round(time.Microsecond), r.rate/one)
		}
	}
	for name, t := range services {
		var mb []string
		for _, pid := range nodePIDs(t.ledger) {
			mb = append(mb, fmt.Sprint(rss(pid)>>20))
		}
		fmt.Printf("RSS of %s: %s MB\n", name, strings.Join(mb, ", "))
	}
	return nil
}

// nodeRun is a result with the CPU of the backups per write.
type nodeRun struct {
	result
	backups time.Duration
}

// runOnNodes puts one load on a service.
func (b *bench) runOnNodes(t *target, name string, conns int) (nodeRun, error) {
	others := slices.DeleteFunc(nodePIDs(t.ledger), func(pid int) bool { return pid == t.pid })
	used := func() (sum time.Duration) {
		for _, pid := range others {
			sum += cpuOf(pid)
		}
		return sum
	}
	before := used()
	r, err := drive(load{name, t, func(n uint64) string { return post("/app/log/private", "wait=commit", record(n)) }}, conns, b.duration)
	if err != nil {
		return nodeRun{}, err
	}
	return nodeRun{r, (used() - before) / time.Duration(max(r.rate*b.duration.Seconds(), 1))}, nil
}

// nodePIDs are the processes of a workspace's nodes.
func nodePIDs(w supervise.Workspace) (pids []int) {
	files, _ := filepath.Glob(filepath.Join(string(w), "sandbox_*", "node.pid"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && syscall.Kill(pid, 0) == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killEvery is the pace of kills: `up` gives up on nodes that end more often.
const killEvery = 14 * time.Second

// failovers kills primaries of one service.
type failovers struct {
	w       supervise.Workspace
	service *target
}

// printFailover kills the primary of three nodes again and again, and prints how long it
// takes until the next write is accepted.
func (b *bench) printFailover(chancery string, timeout time.Duration, times int) error {
	defer b.stop()
	name := "failover-" + timeout.String()
	t, err := b.startService(name, chancery, "--nodes", "3", "--election-timeout", timeout.String())
	if err != nil {
		return err
	}
	f := &failovers{w: t.ledger, service: t}
	var took []time.Duration
	pace := time.NewTicker(killEvery)
	defer pace.Stop()
	for i := range times {
		if i > 0 {
			<-pace.C
		}
		d, err := f.once()
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	slices.Sort(took)
	fmt.Printf("failover at an election timeout of %v: p50 %v, worst %v of %d (%.1f election timeouts)\n",
		timeout, middle(took).Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), times, float64(middle(took))/float64(timeout))
	return nil
}

// once kills the primary when all nodes vote, and returns the time to the next write.
func (f *failovers) once() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var at string
	if err := f.await(ctx, func() (err error) { at, err = f.primary(ctx); return err }); err != nil {
		return 0, err
	}
	pid, err := f.pidAt(at)
	if err != nil {
		return 0, err
	}
	urls, err := f.w.URLs()
	if err != nil {
		return 0, err
	}
	c, err := f.client(slices.DeleteFunc(urls, func(u string) bool { return u == "https://"+at })...)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, err
	}
	begun := time.Now()
	err = f.await(ctx, func() error {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := c.Do(short, client.Request{Method: "POST", Path: "/app/log/private", Wait: client.ForExecution, JSON: map[string]any{"id": 1, "msg": "after"}})
		return err
	})
	return time.Since(begun), err
}

// await repeats a step until it succeeds.
func (f *failovers) await(ctx context.Context, step func() error) error {
	for {
		err := step()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (f *failovers) client(urls ...string) (*client.Client, error) {
	return client.New(client.Config{
		URLs: urls, Service: f.service.service, Certificate: f.service.own,
		AnswerTimeout: time.Second, Retry: client.Retry{Attempts: 1},
	})
}

// primary returns the address of the primary once three nodes have their votes.
func (f *failovers) primary(ctx context.Context) (string, error) {
	urls, err := f.w.URLs()
	if err != nil {
		return "", err
	}
	lead := ""
	for _, url := range urls {
		c, err := f.client(url)
		if err != nil {
			return "", err
		}
		defer c.Close()
		var nodes api.Nodes
		if err := c.Get(ctx, "/node/network/nodes?status=Trusted", nil, &nodes); err != nil {
			return "", err
		}
		var consensus struct {
			Details struct{ Learners map[string]uint64 }
		}
		if err := c.Get(ctx, "/node/consensus", nil, &consensus); err != nil {
			return "", err
		}
		if len(nodes.Nodes) != 3 || len(consensus.Details.Learners) > 0 {
			return "", errors.New("not all nodes vote")
		}
		if _, err := c.Do(ctx, client.Request{Path: "/node/primary"}); err == nil {
			lead = strings.TrimPrefix(url, "https://")
		}
	}
	if lead == "" {
		return "", errors.New("nobody leads")
	}
	return lead, nil
}

// pidAt is the process that serves at an address.
func (f *failovers) pidAt(address string) (int, error) {
	files, err := filepath.Glob(filepath.Join(string(f.w), "sandbox_*", "config.json"))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		var c struct {
			Network struct {
				RPC map[string]struct {
					Bind string `json:"bind_address"`
				} `json:"rpc_interfaces"`
			}
		}
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		if err != nil {
			return 0, err
		}
		id, err := os.ReadFile(filepath.Join(filepath.Dir(file), "node.pid"))
		if err != nil || c.Network.RPC["primary_rpc_interface"].Bind != address {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(id))); err == nil && syscall.Kill(pid, 0) == nil {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no node serves at %s", address)
}
