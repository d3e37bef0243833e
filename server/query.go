package server

import (
	"strconv"
	"strings"
)

// splitURL splits the raw request target into path and raw query, as CCF does: the
// path ends at the first '?', the query at a '#' after it.
func splitURL(target string) (path, rawQuery string) {
	path, rawQuery, _ = strings.Cut(target, "?")
	rawQuery, _, _ = strings.Cut(rawQuery, "#")
	return path, rawQuery
}

// decodeQuery decodes a raw query as a whole: %XX and '+'. A '%' that is not followed
// by two hex digits stands for itself. Since this comes before the split on '&' and
// '=', an encoded %26 splits too (CCF's way).
func decodeQuery(raw string) string {
	if !strings.ContainsAny(raw, "%+") {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '%' && i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]):
			out = append(out, unhex(raw[i+1])<<4|unhex(raw[i+2]))
			i += 2
		case c == '+':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// Query is a decoded query string.
type Query string

// Get returns the value of the first parameter called name. `name` and `name=` are
// the same; ok says whether it is there at all.
func (q Query) Get(name string) (value string, ok bool) {
	for rest := string(q); rest != ""; {
		var field string
		field, rest, _ = strings.Cut(rest, "&")
		if k, v, _ := strings.Cut(field, "="); k == name {
			return v, true
		}
	}
	return "", false
}

// Uint returns an optional unsigned parameter. One that does not parse counts as
// absent (CCF's way).
func (q Query) Uint(name string) (n uint64, ok bool) {
	v, ok := q.Get(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 64)
	return n, err == nil
}
