// Command faultnode is a node whose clock and disk misbehave as a test says: chanceryd, but
// for what the file faults.json in its directory asks for, which is read again and again.
// {"clock_ms": 3600000} moves its clock; {"disk_ms": 50} makes each write and fsync of its
// ledger and snapshot files take so much longer. Raft's own file is bolt's, and not slowed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"chancery/internal/durable"
	"chancery/internal/nodelog"
	"chancery/node"
	"chancery/node/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := nodelog.New(os.Stdout, nodelog.Text, slog.LevelInfo)
	if err := run(ctx, log); err != nil {
		log.Log(context.Background(), nodelog.LevelFatal, err.Error())
		os.Exit(1)
	}
	log.Info("stopped")
}

func run(ctx context.Context, log *slog.Logger) error {
	cfg, err := config.Load(ctx, "config.json", 0)
	if err != nil {
		return err
	}
	var f faults
	go f.follow(ctx, log)
	return node.Run(ctx, cfg, node.Options{Log: log, Version: "faultnode", FS: slowFS{durable.OS(), &f}, Now: f.now})
}

// faults are those in force.
type faults struct{ clock, disk atomic.Int64 } // both in ms

// follow reads the file until ctx ends.
func (f *faults) follow(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	said := ""
	for ctx.Err() == nil {
		if text, err := os.ReadFile("faults.json"); err == nil && string(text) != said {
			var now struct {
				Clock int64 `json:"clock_ms"`
				Disk  int64 `json:"disk_ms"`
			}
			if json.Unmarshal(text, &now) == nil {
				said = string(text)
				f.clock.Store(now.Clock)
				f.disk.Store(now.Disk)
				log.Info(fmt.Sprintf("faults: %+v", now))
			}
		}
		<-tick.C
	}
}

// now is the clock. A jump has no monotonic reading, as the time of a real one that was set.
func (f *faults) now() time.Time {
	offset := time.Duration(f.clock.Load()) * time.Millisecond
	if offset == 0 {
		return time.Now()
	}
	return time.Now().Add(offset)
}

func (f *faults) slow() {
	if d := f.disk.Load(); d > 0 {
		time.Sleep(time.Duration(d) * time.Millisecond)
	}
}

// slowFS is a disk that takes its time.
type slowFS struct {
	durable.FS
	f *faults
}

func (s slowFS) OpenFile(path string, flag int, perm fs.FileMode) (durable.File, error) {
	file, err := s.FS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return slowFile{file, s.f}, nil
}

func (s slowFS) SyncDir(path string) error {
	s.f.slow()
	return s.FS.SyncDir(path)
}

type slowFile struct {
	durable.File
	f *faults
}

func (s slowFile) Write(p []byte) (int, error) {
	s.f.slow()
	return s.File.Write(p)
}

func (s slowFile) WriteAt(p []byte, at int64) (int, error) {
	s.f.slow()
	return s.File.WriteAt(p, at)
}

func (s slowFile) Sync() error {
	s.f.slow()
	return s.File.Sync()
}
