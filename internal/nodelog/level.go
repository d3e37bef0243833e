package nodelog

import (
	"fmt"
	"log/slog"
	"strings"
)

// Levels beside slog's four.
const (
	LevelTrace = slog.Level(-8)
	LevelFail  = slog.LevelError
	LevelFatal = slog.Level(12)
)

// ParseLevel reads one of CCF's level names, in any case.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "trace":
		return LevelTrace, nil
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "fail":
		return slog.LevelWarn, nil // the lowest that is shown as fail
	case "fatal":
		return LevelFatal, nil
	}
	return 0, fmt.Errorf("%q is not a log level; use trace, debug, info, fail or fatal", s)
}

// LevelName returns CCF's name of a level.
func LevelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < LevelFatal:
		return "fail"
	}
	return "fatal"
}
