package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"chancery/ledger"
	"chancery/raftfsm"
)

// heal puts a good copy of a damaged chunk in its place, from another node. Each entry of
// the copy is compared with this node's tree.
func (n *Node) heal(ctx context.Context, r *raftfsm.Replica, c ledger.ChunkInfo) error {
	if filepath.Dir(c.Path) != filepath.Clean(n.cfg.Ledger.Directory) {
		return fmt.Errorf("%s is in a directory that is only read", c.Path)
	}
	return n.eachPeer(func(id, address string) error { return n.fetchCopy(ctx, r, c, id, address) })
}

// fetchCopy fetches, checks and installs one copy.
func (n *Node) fetchCopy(ctx context.Context, r *raftfsm.Replica, c ledger.ChunkInfo, id, address string) (err error) {
	base := filepath.Base(c.Path)
	part := filepath.Join(filepath.Dir(c.Path), "."+base+".part")
	name, err := n.fetchPeerChunk(ctx, id, address, c.First, part)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.fs.Remove(part))
		}
	}()
	if name != base {
		return fmt.Errorf("node %s has %q in the place of %s", id, name, base)
	}
	if err := r.CheckFile(ctx, n.fs, part, c.First, c.Last); err != nil {
		return fmt.Errorf("the copy of node %s: %w", id, err)
	}
	if err := n.fs.Rename(part, c.Path); err != nil {
		return err
	}
	return n.fs.SyncDir(filepath.Dir(c.Path))
}
