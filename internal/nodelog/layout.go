package nodelog

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// appendText appends a record in the text layout.
func appendText(b []byte, r slog.Record, tag, file, number string, attrs []attr) []byte {
	b = append(b, timestamp(r.Time)...)
	b = append(b, " 0   "...)
	b = append(b, preamble(r.Level, tag, file, number)...)
	b = append(b, "| "...)
	b = append(b, escape(r.Message)...)
	for _, a := range attrs {
		b = append(b, ' ')
		b = append(b, escape(a.key)...)
		b = append(b, '=')
		b = append(b, quoteIfNeeded(text(a.value))...)
	}
	return append(b, '\n')
}

// text writes a value for the text layout.
func text(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().UTC().Format(time.RFC3339Nano)
	}
	return v.String()
}

// quoteIfNeeded quotes a value that would not read as one word.
func quoteIfNeeded(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || r == '=' || !printable(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// printable says whether a rune may stand in a line as it is.
func printable(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }

// escape writes control characters, separators of lines and invalid bytes as Go
// escapes, so that the text stays in its line.
func escape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !printable(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
			} else {
				b.WriteRune(r)
			}
		case printable(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// reserved are the members of CCF's layout; an attribute of the same name gets an
// underscore behind it.
var reserved = map[string]bool{"h_ts": true, "thread_id": true, "level": true, "tag": true, "file": true, "number": true, "msg": true}

// appendJSON appends a record in the JSON layout.
func appendJSON(b []byte, r slog.Record, tag, file, number string, attrs []attr) []byte {
	b = append(b, '{')
	member := func(key string, value []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, quoteJSON(key)...)
		b = append(b, ':')
		b = append(b, value...)
	}
	member("h_ts", quoteJSON(timestamp(r.Time)))
	member("thread_id", quoteJSON("0"))
	member("level", quoteJSON(LevelName(r.Level)))
	member("tag", quoteJSON(tag))
	member("file", quoteJSON(file))
	member("number", quoteJSON(number))
	member("msg", quoteJSON(r.Message))
	seen := map[string]bool{}
	for _, a := range attrs {
		key := a.key
		if reserved[key] {
			key += "_"
		}
		if !seen[key] { // the first one wins: a member must not stand twice
			seen[key] = true
			member(key, jsonValue(a.value))
		}
	}
	return append(b, "}\n"...)
}

// jsonValue writes numbers and booleans as such and everything else as a string.
func jsonValue(v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64:
		return []byte(v.String())
	}
	return quoteJSON(text(v))
}

// quoteJSON writes a JSON string; encoding/json escapes control characters and
// replaces invalid UTF-8.
func quoteJSON(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return []byte(`""`)
	}
	return b
}
