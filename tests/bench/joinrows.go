package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/internal/supervise"
	"chancery/server"
	"chancery/server/api"
)

// joinWithin bounds one join.
const joinWithin = 10 * time.Minute

// printJoin writes the rows about a fourth node that joins a service of three, with records
// that are private: from the others' ledger alone, and from a snapshot in its directory.
func (b *bench) printJoin(chancery, native string, entries int) error {
	if entries == 0 {
		return nil
	}
	defer b.stop()
	// Filled while it is one node, which refuses no writes for being ahead of others.
	t, err := b.startService("joined", chancery, "--node", native)
	if err != nil {
		return err
	}
	written, err := b.fill(t, entries)
	if err != nil {
		return err
	}
	for range 2 {
		if _, err := t.ledger.Ask(context.Background(), supervise.Change{Do: "add"}); err != nil {
			return err
		}
	}
	snapshot, err := b.snapshot(t)
	if err != nil {
		return err
	}
	fmt.Printf("\n| a fourth node joins three with %d entries | let in | serves reads | votes | entries/s | at most |\n|---|---|---|---|---|---|\n", written)
	for _, from := range []struct{ name, snapshot string }{{"from the others' ledger", ""}, {"from a snapshot", snapshot}} {
		j, err := b.joinOnce(native, t, written, from.snapshot)
		if err != nil {
			return fmt.Errorf("joining %s: %w", from.name, err)
		}
		fmt.Printf("| %s | %v | %v | %v | %.0f | %d MB |\n", from.name, j.letIn.Round(time.Millisecond), j.serves.Round(time.Millisecond), j.votes.Round(time.Millisecond),
			float64(written)/j.votes.Seconds(), j.peak>>20)
	}
	for _, pid := range nodePIDs(t.ledger) {
		fmt.Printf("RSS of a node that was there: %d MB, at most %d MB\n", rss(pid)>>20, peakRSS(pid)>>20)
	}
	return nil
}

// snapshot has a service make a snapshot, and returns its file once it is committed.
func (b *bench) snapshot(t *target) (path string, err error) {
	c, err := t.client()
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Do(context.Background(), client.Request{Method: "POST", Path: "/node/snapshot:create"}); err != nil {
		return "", err
	}
	err = soon(joinWithin, func() error {
		found, err := filepath.Glob(filepath.Join(string(t.ledger), "sandbox_*", "snapshots", "*.committed"))
		if err != nil || len(found) == 0 {
			return errors.Join(errors.New("there is no snapshot"), err)
		}
		path = found[len(found)-1]
		return nil
	})
	return path, err
}

// soon repeats a step until it succeeds, or the time is over.
func soon(within time.Duration, step func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; <-tick.C {
		err := step()
		if err == nil {
			return nil
		}
		if time.Since(begun) > within {
			return fmt.Errorf("not within %v: %w", within, err)
		}
	}
}

// joining is how long the steps of a join took from the node's start on, and the most memory
// that it had.
type joining struct {
	letIn, serves, votes time.Duration
	peak                 int64
}

func (b *bench) joinOnce(native string, t *target, written uint64, snapshot string) (j joining, err error) {
	dir, address, err := b.fourth(t, snapshot)
	if err != nil {
		return j, err
	}
	defer os.RemoveAll(dir)
	program, err := filepath.Abs(native)
	if err != nil {
		return j, err
	}
	service, err := t.client()
	if err != nil {
		return j, err
	}
	defer service.Close()
	member, err := t.member(service)
	if err != nil {
		return j, err
	}
	own, err := client.New(client.Config{URLs: []string{"https://" + address}, Service: t.service, Certificate: t.own, Retry: client.Retry{Attempts: 1}})
	if err != nil {
		return j, err
	}
	defer own.Close()

	log := &watcher{}
	cmd := exec.Command(program, "--config", "config.json")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return j, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	left := false
	defer func() {
		if !left {
			_ = cmd.Process.Kill() // it may have ended
		}
		if end := <-ended; err == nil && end != nil {
			err = end
		}
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, log.text())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), joinWithin)
	defer cancel()
	propose := func(name string, args map[string]any) error {
		text, err := json.Marshal(map[string]any{"actions": []any{map[string]any{"name": name, "args": args}}})
		if err == nil {
			_, err = member.Propose(ctx, text)
		}
		return err
	}

	var id string
	for _, step := range []struct {
		took *time.Duration
		try  func() error
	}{
		{new(time.Duration), func() (err error) {
			if id, err = nodeID(filepath.Join(dir, "nodecert.pem")); err == nil {
				err = service.Get(ctx, "/node/network/nodes/"+id, nil, &api.Node{})
			}
			return err
		}},
		{&j.letIn, func() error {
			return propose("transition_node_to_trusted", map[string]any{"node_id": id, "valid_from": time.Now().UTC().Format("060102150405Z")})
		}},
		{&j.serves, func() error {
			at, err := own.Commit(ctx)
			if err == nil && at.Seqno < written {
				err = fmt.Errorf("it is at %v", at)
			}
			if err == nil {
				_, err = own.Do(ctx, client.Request{Path: "/node/ready/app"})
			}
			return err
		}},
		{&j.votes, func() error {
			var c struct{ Details server.Consensus }
			if err := service.Get(ctx, "/node/consensus", nil, &c); err != nil {
				return err
			}
			if _, learns := c.Details.Learners[id]; learns {
				return errors.New("it is a learner")
			}
			for _, config := range c.Details.Configs {
				if _, has := config.Nodes[id]; has {
					return nil
				}
			}
			return errors.New("it is in no configuration")
		}},
	} {
		if err := soon(joinWithin, step.try); err != nil {
			return j, err
		}
		*step.took = time.Since(begun)
	}
	j.peak = peakRSS(cmd.Process.Pid)
	left = true // by itself, once it is retired
	return j, propose("remove_node", map[string]any{"node_id": id})
}

// fourth makes the directory of a node that is to join, with the snapshot that it is given.
func (b *bench) fourth(t *target, snapshot string) (dir, address string, err error) {
	port, err := freePort()
	if err != nil {
		return "", "", err
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	if dir, err = os.MkdirTemp(b.dir, "fourth-"); err != nil {
		return "", "", err
	}
	if snapshot != "" {
		data, err := os.ReadFile(snapshot)
		if err != nil {
			return "", "", err
		}
		if err := os.Mkdir(filepath.Join(dir, "snapshots"), 0o700); err != nil {
			return "", "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "snapshots", filepath.Base(snapshot)), data, 0o600); err != nil {
			return "", "", err
		}
	}
	service, err := filepath.Abs(t.ledger.Common("service_cert.pem"))
	if err != nil {
		return "", "", err
	}
	text, err := json.Marshal(map[string]any{
		"network": map[string]any{
			"node_to_node_interface": map[string]any{"bind_address": "127.0.0.1:0"},
			"rpc_interfaces":         map[string]any{"primary_rpc_interface": map[string]any{"bind_address": address}},
		},
		"command":          map[string]any{"type": "Join", "service_certificate_file": service, "join": map[string]any{"target_rpc_address": t.address, "retry_timeout": "50ms"}},
		"node_certificate": map[string]any{"subject_alt_names": []string{"iPAddress:127.0.0.1"}},
		"ledger":           map[string]any{"directory": "ledger"},
		"snapshots":        map[string]any{"directory": "snapshots"},
		"consensus":        map[string]any{"election_timeout": "1s"},
	})
	if err != nil {
		return "", "", err
	}
	return dir, address, os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
}

// nodeID is the id of the node whose certificate lies in a file.
func nodeID(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	cert, err := identity.ParseCertificate(text)
	if err != nil {
		return "", err
	}
	return identity.KeyID(cert.PublicKey)
}

// member acts as the service's member.
func (t *target) member(c *client.Client) (*client.Member, error) {
	text, err := os.ReadFile(t.ledger.Common("member0_cert.pem"))
	if err != nil {
		return nil, err
	}
	cert, err := identity.ParseCertificate(text)
	if err != nil {
		return nil, err
	}
	key, err := identity.ReadECKey(durable.OS(), t.ledger.Common("member0_privk.pem"))
	if err != nil {
		return nil, err
	}
	return c.Member(cert, key)
}
