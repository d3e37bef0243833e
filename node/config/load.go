package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"time"
)

const (
	// maxFileSize bounds a configuration file.
	maxFileSize = 8 << 20
	// retryInterval is the time between two looks at a file that is not there yet.
	retryInterval = 100 * time.Millisecond
)

// Parse reads a configuration. The error is a *SyntaxError or an *InvalidError.
func Parse(data []byte) (*Config, error) {
	tree, err := parseTree(data)
	if err != nil {
		return nil, err
	}
	c := Default()
	d := &decoder{source: data}
	d.object("", tree, reflect.ValueOf(c).Elem(), false)
	if len(d.problems) == 0 { // cross-checks of values that were not read would mislead
		c.validate(&d.problems)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Load reads a configuration file. For up to wait it tries again while the file is
// missing or is not yet complete JSON, as when another program is still writing it.
// Errors: *SyntaxError, *InvalidError, and those of the file system (fs.ErrNotExist).
func Load(ctx context.Context, path string, wait time.Duration) (*Config, error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		c, err := loadOnce(path)
		var syntax *SyntaxError
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &syntax) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, context.Cause(ctx))
		case <-deadline.C:
			return nil, err
		case <-tick.C:
		}
	}
}

func loadOnce(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(data) > maxFileSize {
		return nil, &InvalidError{[]Problem{{Text: fmt.Sprintf("%s is larger than %d bytes", path, maxFileSize)}}}
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
