package raftfsm

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newRaftLogger sends what hashicorp/raft logs to the node's log. Raft's own
// errors are part of a healthy run (a peer that is down), so they are warnings here.
func newRaftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(&raftSink{log: log.With("tag", "raft")})
	return l
}

type raftSink struct{ log *slog.Logger }

func (s *raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level <= hclog.Debug:
		to = slog.LevelDebug - 4
	case level >= hclog.Warn:
		to = slog.LevelInfo
	}
	s.log.Log(context.Background(), to, msg, args...)
}
