package node

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chancery/gov/constitution"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/ledger"
	"chancery/node/config"
)

// fullDisk has no room for snapshots while it is full.
type fullDisk struct {
	durable.FS
	full atomic.Bool
}

func (d *fullDisk) OpenFile(path string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := d.FS.OpenFile(path, flag, perm)
	if err != nil || !strings.HasPrefix(filepath.Base(path), "snapshot_") {
		return f, err
	}
	return &fullFile{File: f, disk: d}, nil
}

type fullFile struct {
	durable.File
	disk *fullDisk
}

func (f *fullFile) WriteAt(p []byte, off int64) (int, error) {
	if f.disk.full.Load() {
		n, err := f.File.WriteAt(p[:len(p)/2], off)
		if err == nil {
			err = syscall.ENOSPC
		}
		return n, err
	}
	return f.File.WriteAt(p, off)
}

// TestSnapshotFullDisk: a snapshot for which there is no room is skipped and leaves nothing;
// the service goes on, and takes the next one once there is room.
func TestSnapshotFullDisk(t *testing.T) {
	dir := t.TempDir()
	disk := &fullDisk{FS: durable.OS()}
	disk.full.Store(true)
	n, end := startIn(t, dir, disk)
	defer end()
	put := func() {
		t.Helper()
		err := n.transact(t.Context(), func(tx *kv.Tx) error {
			tx.Put("private", []byte("k"), []byte("v"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	await(t, "a snapshot is skipped", func() bool { put(); return n.snapshots.failed.Load() > 0 })
	left, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil || len(left) > 1 { // the next one may be under way
		t.Errorf("the skipped snapshot left %v, %v", left, err)
	}
	put()
	disk.full.Store(false)
	await(t, "a snapshot is taken", func() bool { put(); return n.snapshots.taken.Load() > 0 })
	found, err := ledger.ListSnapshots(durable.OS(), filepath.Join(dir, "snapshots"))
	if err != nil || len(found) == 0 {
		t.Errorf("snapshots %v, %v", found, err)
	}
}

// startIn starts a service of one node in dir. The returned function stops it.
func startIn(t *testing.T, dir string, disk durable.FS) (*Node, func()) {
	t.Helper()
	curve, err := identity.CurveByName("secp384r1")
	if err != nil {
		t.Fatal(err)
	}
	member, err := identity.NewParticipant("member0", curve, time.Now(), 90, true)
	if err != nil {
		t.Fatal(err)
	}
	source, err := constitution.Source("sandbox")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(member.Save(durable.OS(), dir, "member0"), os.WriteFile(filepath.Join(dir, "constitution.js"), []byte(source), 0o600)); err != nil {
		t.Fatal(err)
	}
	face := map[string]any{"bind_address": "127.0.0.1:0"}
	text, err := json.Marshal(map[string]any{
		"network": map[string]any{"node_to_node_interface": face, "rpc_interfaces": map[string]any{"main": face}},
		"command": map[string]any{
			"type": "Start", "service_certificate_file": filepath.Join(dir, "service.pem"),
			"start": map[string]any{
				"members":            []any{map[string]any{"certificate_file": filepath.Join(dir, "member0_cert.pem"), "encryption_public_key_file": filepath.Join(dir, "member0_enc_pubk.pem")}},
				"constitution_files": []string{filepath.Join(dir, "constitution.js")},
			},
		},
		"ledger":            map[string]any{"directory": filepath.Join(dir, "ledger")},
		"ledger_signatures": map[string]any{"tx_count": 10, "delay": "10ms"},
		"snapshots":         map[string]any{"directory": filepath.Join(dir, "snapshots"), "tx_count": 20},
		"output_files":      map[string]any{"node_certificate_file": filepath.Join(dir, "node.pem")},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	n, err := open(t.Context(), cfg, Options{Log: slog.New(slog.DiscardHandler), Version: "test", FS: disk, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	end := runNode(t, n)
	await(t, "the service runs", func() bool { return n.state.Load() == statePartOfNetwork })
	return n, end
}
