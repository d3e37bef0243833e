package testnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"chancery/internal/durable/memfs"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/raftfsm"
)

// replica is one node.
type replica struct {
	*raftfsm.Replica
	id     string
	disk   *memfs.FS
	store  *kv.Store
	ledger *ledger.Dir
	cancel context.CancelFunc
	ended  chan error
}

const ledgerDir = "/ledger"

// start starts a node on a disk: a new one, or one with the ledger files of a node that
// crashed. It takes no part before it is reconciled in.
func (r *run) start(disk *memfs.FS, first bool) (*replica, error) {
	n := &replica{id: fmt.Sprint("n", r.started), disk: disk, store: kv.NewStore(), ended: make(chan error, 1)}
	r.started++
	var err error
	if n.ledger, err = ledger.OpenDir(disk, ledgerDir, nil); err != nil {
		return nil, err
	}
	secret, err := ledger.NewSecret(append([]byte(nil), r.secret...))
	if err != nil {
		return nil, err
	}
	secrets := new(ledger.Secrets)
	if err := secrets.Add(1, secret); err != nil {
		return nil, err
	}
	cfg := raftfsm.Config{
		ID: n.id, Dir: filepath.Join(r.dir, n.id), FS: disk, Ledger: n.ledger, Secrets: secrets, Store: n.store,
		Sign: r.signer.Sign, Transport: r.net.join(n.id), Address: raft.ServerAddress(n.id), ElectionTimeout: electionTimeout,
		SignatureInterval: 50, SignatureDelay: 100 * time.Millisecond, ChunkSize: 8 << 10, UnsafeNoFsync: true, Now: time.Now,
		NextSecret: func(raftfsm.TxID, writeset.WriteSet) (*ledger.Secret, error) { return nil, nil },
		Led:        func(view uint64) { r.led(n.id, view) },
		Halt:       func(err error) { r.halted(n.id, err) },
		Log:        slog.New(slog.DiscardHandler),
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil { // for bolt
		return nil, err
	}
	if first {
		if err := raftfsm.Bootstrap(cfg); err != nil {
			return nil, err
		}
	}
	if n.Replica, err = raftfsm.Open(context.Background(), cfg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { n.ended <- n.Run(ctx) }()
	return n, nil
}

// stop ends a node cleanly.
func (n *replica) stop() error {
	n.cancel()
	return errors.Join(<-n.ended, n.ledger.Close())
}

// try writes one key.
func (n *replica) try(ctx context.Context, key string) (raftfsm.TxID, error) {
	tx := n.store.Begin()
	tx.Put("private", []byte(key), []byte(key))
	return n.Submit(ctx, tx, raftfsm.Submission{})
}

// state is what the node's maps hold as committed.
func (n *replica) state() map[string]string {
	all := map[string]string{}
	for k, v := range n.store.Committed().Range("private", kv.Bounds{}) {
		all[string(k)] = string(v.Value)
	}
	return all
}

// files are the committed ledger files, by name.
func (n *replica) files() (map[string]string, error) {
	entries, err := n.disk.ReadDir(ledgerDir)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".committed") {
			data, err := n.disk.ReadFile(filepath.Join(ledgerDir, e.Name()))
			if err != nil {
				return nil, err
			}
			all[e.Name()] = string(data)
		}
	}
	return all, nil
}
