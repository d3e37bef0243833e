package nodelog

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
)

func record(level slog.Level, msg string, attrs ...slog.Attr) slog.Record {
	r := slog.NewRecord(time.Date(2024, 11, 4, 14, 40, 27, 733657000, time.UTC), level, msg, 0)
	r.AddAttrs(attrs...)
	return r
}

func TestText(t *testing.T) {
	tests := []struct {
		name string
		r    slog.Record
		want string
	}{
		{"plain", record(slog.LevelInfo, "hello"), "2024-11-04T14:40:27.733657Z 0   [info ] -:0                                  | hello\n"},
		{"tag", record(slog.LevelError, "no", slog.String("tag", "gov")), "2024-11-04T14:40:27.733657Z 0   [fail ][gov] -:0                             | no\n"},
		{"warn is fail", record(slog.LevelWarn, "x"), "2024-11-04T14:40:27.733657Z 0   [fail ] -:0                                  | x\n"},
		{"attributes", record(LevelFatal, "x", slog.Int("n", 3), slog.String("s", "a b"), slog.Any("err", errors.New("no"))),
			"2024-11-04T14:40:27.733657Z 0   [fatal] -:0                                  | x n=3 s=\"a b\" err=no\n"},
		{"injection", record(slog.LevelInfo, "a\n2024 0 [fatal] | b\x1b[31m\u2028\xff", slog.String("k\n", "v\r\n")),
			"2024-11-04T14:40:27.733657Z 0   [info ] -:0                                  | a\\n2024 0 [fatal] | b\\x1b[31m\\u2028\\xff k\\n=\"v\\r\\n\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := New(&b, Text, slog.LevelInfo).Handler().Handle(t.Context(), tt.r); err != nil {
				t.Fatal(err)
			}
			if b.String() != tt.want {
				t.Errorf("got  %q\nwant %q", b.String(), tt.want)
			}
		})
	}
}

func TestSource(t *testing.T) {
	var b bytes.Buffer
	New(&b, Text, slog.LevelInfo).Info("here")
	if !regexp.MustCompile(`\[info \] nodelog/nodelog_test\.go:\d+ +\| here\n$`).MatchString(b.String()) {
		t.Errorf("got %q", b.String())
	}
	if bar := strings.IndexByte(b.String(), '|'); bar != len("2024-11-04T14:40:27.733657Z 0   ")+preambleLength {
		t.Errorf("the bar stands in column %d", bar)
	}
}

// TestJSONHandler runs the standard library's conformance test of handlers.
func TestJSONHandler(t *testing.T) {
	var b bytes.Buffer
	h := New(&b, JSON, slog.LevelInfo).Handler()
	results := func() []map[string]any {
		var all []map[string]any
		for line := range strings.Lines(b.String()) {
			flat := map[string]any{}
			if err := json.Unmarshal([]byte(line), &flat); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			m := map[string]any{slog.MessageKey: flat["msg"], slog.LevelKey: flat["level"]}
			if flat["h_ts"] != "0001-01-01T00:00:00.000000Z" {
				m[slog.TimeKey] = flat["h_ts"]
			}
			for k, v := range flat {
				if !reserved[k] {
					nest(m, strings.Split(k, "."), v)
				}
			}
			all = append(all, m)
		}
		return all
	}
	if err := slogtest.TestHandler(h, results); err != nil {
		t.Error(err)
	}
}

func nest(m map[string]any, path []string, v any) {
	if len(path) == 1 {
		m[path[0]] = v
		return
	}
	inner, ok := m[path[0]].(map[string]any)
	if !ok {
		inner = map[string]any{}
		m[path[0]] = inner
	}
	nest(inner, path[1:], v)
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, JSON, slog.LevelInfo).With(TagKey, "gov", "node", "ab")
	err := l.Handler().Handle(t.Context(), record(slog.LevelInfo, "a\n\xff", slog.Uint64("view", 2), slog.String("msg", "twice"), slog.Bool("ok", true)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"h_ts":"2024-11-04T14:40:27.733657Z","thread_id":"0","level":"info","tag":"gov","file":"-","number":"0","msg":"a\n\ufffd","node":"ab","view":2,"msg_":"twice","ok":true}` + "\n"
	if b.String() != want {
		t.Errorf("got  %s\nwant %s", b.String(), want)
	}
}

// TestContext: what a node knows of itself is in JSON records, each time anew, and not in
// lines of text.
func TestContext(t *testing.T) {
	view := 2
	fields := func() []slog.Attr { return []slog.Attr{slog.String("node", "ab\n"), slog.Int("view", view)} }
	for format, want := range map[Format]string{JSON: `"msg":"x","n":1,"node":"ab\n","view":3,"txid":"3.7"}` + "\n", Text: "| x n=1\n"} {
		var b bytes.Buffer
		l := Context(New(&b, format, slog.LevelInfo), fields).WithGroup("g").With()
		view = 3
		l = Context(l, func() []slog.Attr { return []slog.Attr{slog.String("txid", "3.7")} })
		if err := l.Handler().Handle(t.Context(), record(slog.LevelInfo, "x", slog.Int("n", 1))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Replace(b.String(), "g.n", "n", 1); !strings.HasSuffix(got, want) {
			t.Errorf("got %s\nwant %s", b.String(), want)
		}
	}
	other := slog.New(slog.DiscardHandler)
	if Context(other, fields) != other {
		t.Error("a logger of another package was changed")
	}
}

// TestOneLinePerRecord writes from many goroutines whatever fuzzing comes to mind.
func TestOneLinePerRecord(t *testing.T) {
	for _, format := range []Format{Text, JSON} {
		var b bytes.Buffer
		l := New(&b, format, slog.LevelInfo)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					l.Info("a\nb\r\x00", "k\n", "v\n", slog.Group("g", "x\n", "\u2029"))
				}
			})
		}
		wg.Wait()
		if n := strings.Count(b.String(), "\n"); n != 400 {
			t.Errorf("format %d: %d lines, want 400", format, n)
		}
	}
}

func TestParseLevel(t *testing.T) {
	for _, name := range []string{"trace", "debug", "info", "fail", "fatal"} {
		for _, s := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			l, err := ParseLevel(s)
			if err != nil || LevelName(l) != name {
				t.Errorf("ParseLevel(%q) = %v, %v", s, l, err)
			}
		}
	}
	if _, err := ParseLevel("loud"); err == nil {
		t.Error("loud is a level")
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\nb")
	f.Add("\xff\u2028\x1b")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range escape(s) {
			if r == '\n' || r == '\r' || r < ' ' {
				t.Fatalf("escape(%q) has %q", s, r)
			}
		}
	})
}
