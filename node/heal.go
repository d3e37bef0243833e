package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"chancery/gov/tables"
	"chancery/ledger"
	"chancery/raftfsm"
	"chancery/server"
)

// maxChunkFile bounds a chunk that is fetched: positions in it are 32 bits wide.
const maxChunkFile = 1 << 32

// errNobody says that no other node has a good copy of a chunk.
var errNobody = errors.New("no other node has a good copy that it lets be read")

// heal puts a good copy of a damaged chunk in its place, from another node that lets its
// chunks be read. Each entry of the copy is compared with this node's tree.
func (n *Node) heal(ctx context.Context, r *raftfsm.Replica, c ledger.ChunkInfo) error {
	if filepath.Dir(c.Path) != filepath.Clean(n.cfg.Ledger.Directory) {
		return fmt.Errorf("%s is in a directory that is only read", c.Path)
	}
	part := filepath.Join(filepath.Dir(c.Path), "."+filepath.Base(c.Path)+".part")
	nodes, err := tables.NodesInfo.All(tables.View(n.store.Committed()))
	if err != nil {
		return err
	}
	var failures []error
	for _, e := range nodes {
		id, row := e.Key, e.Value
		if id == n.keys.id || row.Status != tables.NodeTrusted {
			continue
		}
		for _, in := range row.RPC {
			if !slices.Contains(in.OperatorFeatures, server.FeatureLedgerChunkRead) {
				continue
			}
			err := n.fetchChunk(ctx, r, c, id, publishedAt(in), part)
			if err == nil {
				return nil
			}
			failures = append(failures, err)
		}
	}
	return errors.Join(append(failures, errNobody)...)
}

// fetchChunk fetches, checks and installs one copy.
func (n *Node) fetchChunk(ctx context.Context, r *raftfsm.Replica, c ledger.ChunkInfo, id, address, part string) (err error) {
	f, err := n.fs.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.fs.Remove(part))
		}
	}()
	err = n.fetchPeerFile(ctx, id, address, "/node/ledger_chunk/"+filepath.Base(c.Path), f, maxChunkFile)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := r.CheckFile(ctx, n.fs, part, c.First, c.Last); err != nil {
		return fmt.Errorf("the copy of node %s: %w", id, err)
	}
	if err := n.fs.Rename(part, c.Path); err != nil {
		return err
	}
	return n.fs.SyncDir(filepath.Dir(c.Path))
}
