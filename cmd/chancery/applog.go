package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// appLog shows what the application prints, and what it throws, out of the logs of the
// nodes in a workspace.
type appLog struct {
	out       io.Writer
	workspace string
	read      map[string]int64 // by file, up to where it was
}

// skip passes over what is there already.
func (l *appLog) skip() {
	l.read = map[string]int64{}
	for _, file := range l.files() {
		if info, err := os.Stat(file); err == nil {
			l.read[file] = info.Size()
		}
	}
}

func (l *appLog) files() []string {
	files, _ := filepath.Glob(filepath.Join(l.workspace, "sandbox_*", "out")) // a fixed pattern
	return files
}

// show prints what has come since it was called last. A log that cannot be read now is
// read the next time.
func (l *appLog) show() {
	for _, file := range l.files() {
		text, err := readFrom(file, l.read[file])
		if err != nil {
			continue
		}
		end := bytes.LastIndexByte(text, '\n') + 1
		l.read[file] += int64(end)
		for line := range strings.Lines(string(text[:end])) {
			if shown, ok := appLine(line); ok {
				fmt.Fprintln(l.out, shown)
			}
		}
	}
}

func readFrom(file string, offset int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// logLine is a line of a node's log whose tag is the application's.
var logLine = regexp.MustCompile(`^\S+ \d+ +\[(\w+) *\]\[app\][^|]*\| (.*?)(?: node=\w+)?(?: view=\d+)?\n?$`)

// appLine is a line of the log as a developer reads it; ok is false where it is not the
// application's. Line breaks, which the log escapes, are there again.
func appLine(line string) (shown string, ok bool) {
	m := logLine.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return fmt.Sprintf("%-5s %s", m[1], strings.ReplaceAll(strings.TrimSuffix(m[2], `\n`), `\n`, "\n      ")), true
}
