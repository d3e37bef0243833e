package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLoadWaits writes a configuration file piece by piece while somebody waits for it.
func TestLoadWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type outcome struct {
		c   *Config
		err error
	}
	loaded := make(chan outcome, 1)
	go func() {
		c, err := Load(t.Context(), path, time.Minute)
		loaded <- outcome{c, err}
	}()
	for _, cut := range []int{0, 1, len(minimal) / 2, len(minimal) - 1} {
		write(minimal[:cut])
		select {
		case o := <-loaded:
			t.Fatalf("loaded from %d bytes: %v", cut, o.err)
		case <-time.After(retryInterval): // it looks at least once meanwhile
		}
	}
	write(minimal)
	if o := <-loaded; o.err != nil || o.c.Command.Type != CommandStart {
		t.Errorf("%+v, %v", o.c, o.err)
	}
}

// TestLoadFails: what waiting does not mend is told at once, the rest when time is up.
func TestLoadFails(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var invalid *InvalidError
	var syntax *SyntaxError
	for _, tt := range []struct {
		name, path string
		wait       time.Duration
		is         func(error) bool
	}{
		{"unknown key", write("unknown.json", strings.Replace(minimal, `"network"`, `"netwrok"`, 1)), time.Hour, func(err error) bool { return errors.As(err, &invalid) }},
		{"too large", write("large.json", strings.Repeat(" ", maxFileSize+1)), time.Hour, func(err error) bool { return errors.As(err, &invalid) }},
		{"directory", dir, time.Hour, func(err error) bool { return err != nil && strings.Contains(err.Error(), "directory") }},
		{"missing", filepath.Join(dir, "nowhere.json"), 0, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{"cut", write("cut.json", minimal[:50]), retryInterval, func(err error) bool { return errors.As(err, &syntax) && syntax.Incomplete }},
	} {
		if _, err := Load(t.Context(), tt.path, tt.wait); !tt.is(err) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := Load(ctx, filepath.Join(dir, "nowhere.json"), time.Hour); !errors.Is(err, stopped) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a wait that is given up: %v", err)
	}
}
