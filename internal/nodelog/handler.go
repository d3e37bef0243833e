package nodelog

import (
	"context"
	"io"
	"log"
	"log/slog"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// TagKey is the attribute that names the component.
const TagKey = "tag"

// Format is a layout.
type Format int

// The layouts.
const (
	Text Format = iota
	JSON
)

// New returns a logger that writes records of at least the given level to w.
func New(w io.Writer, format Format, level slog.Leveler) *slog.Logger {
	return slog.New(&handler{out: &output{w: w}, format: format, level: level})
}

// Std returns a logger of the standard library over l, for code that knows no other
// (http.Server.ErrorLog, Raft). Its lines are records of the given level.
func Std(l *slog.Logger, level slog.Level) *log.Logger { return slog.NewLogLogger(l.Handler(), level) }

// Context returns a logger that adds what fields returns to each record in the JSON
// layout: where the node stands when it says something. Lines of Text stay as they are,
// since scripts compare them. fields is called by whoever logs, from many goroutines. A
// logger that is not of this package is returned as it is.
func Context(l *slog.Logger, fields func() []slog.Attr) *slog.Logger {
	h, ok := l.Handler().(*handler)
	if !ok || h.format != JSON {
		return l
	}
	next := *h
	next.context = append(slices.Clip(h.context), fields)
	return slog.New(&next)
}

// output is where all handlers made from one logger write.
type output struct {
	mu sync.Mutex // held for one Write
	w  io.Writer
}

type handler struct { // immutable
	out    *output
	format Format
	level  slog.Leveler
	tag    string
	attrs  []attr
	prefix string // of attribute keys, from groups: "a.b."

	context []func() []slog.Attr // of JSON
}

// attr is an attribute with its groups in the key and its value resolved.
type attr struct {
	key   string
	value slog.Value
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	next := *h
	next.attrs = slices.Clip(h.attrs)
	for _, a := range as {
		next.attrs = next.add(next.attrs, h.prefix, a)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.prefix += name + "."
	return &next
}

// add appends an attribute, its groups spread out; the tag is kept apart.
func (h *handler) add(to []attr, prefix string, a slog.Attr) []attr {
	v := a.Value.Resolve()
	switch {
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			to = h.add(to, prefix, member)
		}
		return to
	case a.Equal(slog.Attr{}):
		return to
	case prefix == "" && a.Key == TagKey && v.Kind() == slog.KindString:
		h.tag = v.String()
		return to
	}
	return append(to, attr{prefix + a.Key, v})
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	line := *h // add may set the record's own tag
	attrs := slices.Clip(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = line.add(attrs, h.prefix, a)
		return true
	})
	for _, fields := range h.context {
		for _, a := range fields() {
			attrs = line.add(attrs, "", a)
		}
	}
	file, number := source(r.PC)
	var b []byte
	if h.format == JSON {
		b = appendJSON(nil, r, line.tag, file, number, attrs)
	} else {
		b = appendText(nil, r, line.tag, file, number, attrs)
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(b)
	return err
}

// source returns the last two elements of the file's path, and the line.
func source(pc uintptr) (file, line string) {
	if pc == 0 {
		return "-", "0"
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	dir, name := path.Split(frame.File)
	return path.Join(path.Base(dir), name), strconv.Itoa(frame.Line)
}

// timestamp writes a time as CCF does.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// preambleLength is the width of level, tag, file and line together.
const preambleLength = 45

// preamble returns "[info ][gov] node/run.go:120 "; of a file too long for the width the
// end is kept.
func preamble(level slog.Level, tag, file, number string) string {
	var b strings.Builder
	b.WriteString("[" + LevelName(level) + strings.Repeat(" ", 5-len(LevelName(level))) + "]")
	if tag != "" {
		b.WriteString("[" + escape(tag) + "]")
	}
	b.WriteString(" ")
	place := file + ":" + number + " "
	if room := max(0, preambleLength-b.Len()); len(place) > room {
		place = place[len(place)-room:]
	}
	b.WriteString(place)
	if pad := preambleLength - b.Len(); pad > 0 {
		b.WriteString(strings.Repeat(" ", pad))
	}
	return b.String()
}
