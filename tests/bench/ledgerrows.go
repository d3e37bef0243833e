package main

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/internal/ledgertest"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/raftfsm"
)

// Of the ledger that is audited, reopened and recovered: small transactions, a signature
// behind each thousand.
const (
	smallValue   = 100
	smallSpan    = 1000
	smallSpans   = 20 // in a chunk
	proofsAsked  = 2000
	startTimeout = 5 * time.Minute
)

// ledgerBench measures what reads a whole ledger.
type ledgerBench struct {
	dir, daemon string
	entries     int
	bytes       int64
	secrets     *ledger.Secrets
	service     []byte // PEM
}

// printLedger writes the rows about ledgers of so many entries.
func (b *bench) printLedger(chancery string, entries int) error {
	rows, err := regexp.Compile(b.rows)
	if err != nil {
		return err
	}
	if entries == 0 || !rows.MatchString("ledger") {
		return nil
	}
	x := &ledgerBench{dir: b.dir}
	daemon, err := filepath.Abs(filepath.Join(filepath.Dir(chancery), "chanceryd"))
	if err != nil {
		return err
	}
	x.daemon = daemon
	short, err := x.write("short", 10_000)
	if err != nil {
		return err
	}
	if err := x.receipts(short, 10_000); err != nil {
		return err
	}
	long, err := x.write("long", entries)
	if err != nil {
		return err
	}
	fmt.Printf("\n| a ledger of %d entries in %d MB, values of %d bytes, a signature behind %d | entries/s | MB/s | of SHA-256 | CPU | |\n|---|---|---|---|---|---|\n", x.entries, x.bytes>>20, smallValue, smallSpan)
	if err := errors.Join(x.audits(long), x.reopen(long)); err != nil {
		return err
	}
	return x.recover(long)
}

// write makes a ledger and returns its directory.
func (x *ledgerBench) write(name string, entries int) (dir string, err error) {
	dir = filepath.Join(x.dir, name, "ledger")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	l, err := ledgertest.New(durable.OS(), dir, elliptic.P384(), time.Now)
	if err != nil {
		return "", err
	}
	for i := range max(entries/smallSpan, 1) {
		l.Write(smallSpan-1, smallValue)
		l.Sign(i%smallSpans == smallSpans-1)
	}
	x.entries = int(l.Sign(true).Seqno)
	x.secrets = l.Secrets()
	x.service = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.Service.Raw})
	if err := l.Close(); err != nil {
		return "", err
	}
	x.bytes, err = sizeOf(dir)
	return dir, err
}

// row prints how fast something was, and what it took of the cores, which others may use too.
func (x *ledgerBench) row(name string, took, cpu time.Duration, sha float64, more string) float64 {
	rate := float64(x.bytes) / took.Seconds() / 1e6
	ratio := ""
	if sha > 0 {
		ratio = fmt.Sprintf("%.2f", rate/sha)
	}
	fmt.Printf("| %s | %.0f | %.0f | %s | %v | %s |\n", name, float64(x.entries)/took.Seconds(), rate, ratio, cpu.Round(time.Millisecond), more)
	return rate
}

// audits verifies the ledger on one core and on two, beside SHA-256 over the same bytes.
func (x *ledgerBench) audits(dir string) error {
	for _, cores := range []int{1, 2} {
		before := runtime.GOMAXPROCS(cores)
		err := x.audit(dir, cores)
		runtime.GOMAXPROCS(before)
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *ledgerBench) audit(dir string, cores int) error {
	begun, cpu := time.Now(), ownCPU()
	if err := hashFiles(dir); err != nil {
		return err
	}
	sha := x.row(fmt.Sprintf("SHA-256, one core of %d", cores), time.Since(begun), ownCPU()-cpu, 0, "")
	for _, a := range []struct {
		name string
		from uint64
	}{{"audit: digests and tree", uint64(x.entries)}, {"audit: all signatures too", 0}} {
		begun, cpu = time.Now(), ownCPU()
		r, err := ledger.Verify(context.Background(), durable.OS(), []string{dir}, ledger.VerifyOptions{From: a.from, Workers: cores})
		if err != nil {
			return err
		}
		x.row(fmt.Sprintf("%s, %d cores", a.name, cores), time.Since(begun), ownCPU()-cpu, sha, fmt.Sprintf("%d signatures", 2*(r.Signatures-r.Unchecked/2)))
	}
	return nil
}

func hashFiles(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "*.committed"))
	if err != nil {
		return err
	}
	h := sha256.New()
	for _, path := range found {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// opened is a replica over a ledger.
type opened struct {
	*raftfsm.Replica
	store *kv.Store
	took  time.Duration
	cpu   time.Duration
	close func() error
}

// open reads a ledger into a replica, as a node does that starts over its files.
func (x *ledgerBench) open(dir string) (*opened, error) {
	begun, cpu := time.Now(), ownCPU()
	l, err := ledger.OpenDir(durable.OS(), dir, nil)
	if err != nil {
		return nil, err
	}
	o := &opened{store: kv.NewStore()}
	address, transport := raft.NewInmemTransport("bench")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	o.close = func() error { cancel(); return errors.Join(<-ended, l.Close()) }
	o.Replica, err = raftfsm.Open(ctx, raftfsm.Config{
		ID: "bench", Dir: filepath.Join(filepath.Dir(dir), "raft"), FS: durable.OS(), Ledger: l, Secrets: x.secrets, Store: o.store,
		Sign: func(raftfsm.TxID, ledger.Digest, []byte) (writeset.WriteSet, error) {
			return nil, errors.New("the bench signs nothing")
		},
		NextSecret: func(raftfsm.TxID, writeset.WriteSet) (*ledger.Secret, error) { return nil, nil },
		Transport:  transport, Address: address, ElectionTimeout: time.Hour, SignatureDelay: time.Hour, ChunkSize: 5 << 20,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		cancel()
		return nil, errors.Join(err, l.Close())
	}
	o.took, o.cpu = time.Since(begun), ownCPU()-cpu
	go func() { ended <- o.Run(ctx) }()
	return o, nil
}

// receipts measures what a receipt of any age takes, warm.
func (x *ledgerBench) receipts(dir string, entries int) error {
	o, err := x.open(dir)
	if err != nil {
		return err
	}
	return errors.Join(o.proofs(entries), o.close())
}

func (o *opened) proofs(entries int) error {
	var all []time.Duration
	for i := range 2 * proofsAsked {
		seqno := 1 + rand.Uint64N(uint64(entries))
		begun := time.Now()
		if _, err := o.Proof(raftfsm.TxID{View: o.Position().ViewOf(seqno), Seqno: seqno}); err != nil {
			return err
		}
		if i >= proofsAsked { // warm
			all = append(all, time.Since(begun))
		}
	}
	fmt.Printf("\nproof for a receipt, %d entries, warm: p50 %v\n", entries, middle(all))
	return nil
}

// reopen reads the ledger alone, and a snapshot of the same state.
func (x *ledgerBench) reopen(dir string) error {
	o, err := x.open(dir)
	if err != nil {
		return err
	}
	x.row("reopening from the ledger alone: tags, tree, state, index", o.took, o.cpu, 0, "")
	secret, err := x.secrets.At(uint64(x.entries))
	if err == nil {
		err = x.snapshot(o, secret)
	}
	return errors.Join(err, o.proofs(x.entries), o.close())
}

// snapshot seals the state, and builds a store from it.
func (x *ledgerBench) snapshot(o *opened, secret *ledger.Secret) error {
	at := o.store.Committed()
	state := &ledger.SnapshotState{Seqno: at.TxID().Seqno, Views: o.Position().Views}
	keys := 0
	for name := range at.Tables() {
		m := ledger.SnapshotMap{Name: name}
		for key, item := range at.Range(name, kv.Bounds{}) {
			m.Entries = append(m.Entries, ledger.SnapshotEntry{Key: key, Value: item.Value, Version: item.Version})
			keys++
		}
		if writeset.IsPublic(name) {
			state.Public = append(state.Public, m)
		} else {
			state.Private = append(state.Private, m)
		}
	}
	begun, cpu := time.Now(), ownCPU()
	body, err := ledger.SealSnapshot(secret, state)
	if err != nil {
		return err
	}
	sealed, sealing := time.Since(begun), ownCPU()-cpu
	begun, cpu = time.Now(), ownCPU()
	s, err := ledger.ParseSnapshot(body)
	if err == nil {
		err = s.Open(secret)
	}
	if err != nil {
		return err
	}
	b := kv.NewBuilder()
	for _, maps := range [][]ledger.SnapshotMap{s.Public, s.Private} {
		for _, m := range maps {
			for _, e := range m.Entries {
				b.Put(m.Name, e.Key, e.Value, e.Version)
			}
		}
	}
	if _, err := b.Store(s.ID()); err != nil {
		return err
	}
	took := time.Since(begun)
	fmt.Printf("| snapshot of %d keys, %d MB, sealed in %v (CPU %v): the state from it | %.0f keys/s | %.0f | | %v | %v |\n",
		keys, len(body)>>20, sealed.Round(time.Millisecond), sealing.Round(time.Millisecond), float64(keys)/took.Seconds(), float64(len(body))/took.Seconds()/1e6, (ownCPU() - cpu).Round(time.Millisecond), took.Round(time.Millisecond))
	return nil
}

// recover has a node recover the service from its files, until its public state is open.
func (x *ledgerBench) recover(ledgerDir string) error {
	dir := filepath.Dir(ledgerDir)
	if err := os.WriteFile(filepath.Join(dir, "previous.pem"), x.service, 0o600); err != nil {
		return err
	}
	face := map[string]any{"bind_address": "127.0.0.1:0"}
	text, err := json.Marshal(map[string]any{
		"network": map[string]any{"node_to_node_interface": face, "rpc_interfaces": map[string]any{"main": face}},
		"command": map[string]any{"type": "Recover", "service_certificate_file": "service.pem", "recover": map[string]any{"previous_service_identity_file": "previous.pem"}},
		"ledger":  map[string]any{"directory": "ledger"},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
		return err
	}
	log := &watcher{}
	cmd := exec.Command(x.daemon, "--config", "config.json")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for open := false; !open; {
		select {
		case err := <-ended:
			return fmt.Errorf("recovering: the node ended, %w:\n%s", err, log.text())
		case <-tick.C:
			open = strings.Contains(log.text(), "the node is part of the network")
		}
		if time.Since(begun) > startTimeout {
			return errors.Join(fmt.Errorf("recovering: the public state is not open after %v:\n%s", startTimeout, log.text()), cmd.Process.Kill())
		}
	}
	took, cpu, peak := time.Since(begun), cpuOf(cmd.Process.Pid), peakRSS(cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	<-ended // it was killed
	x.row("recovery from the files alone, to the public state open", took, cpu, 0, fmt.Sprintf("%v, at most %d MB", took.Round(time.Millisecond), peak>>20))
	return nil
}

// peakRSS is the most memory that a process has had, in bytes.
func peakRSS(pid int) (bytes int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	_, _ = fmt.Sscan(rest, &bytes) // 0 where the kernel does not say
	return bytes << 10
}
