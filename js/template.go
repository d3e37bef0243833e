package js

import (
	"fmt"
	"slices"
	"strings"
)

// template is a path with named parts: "/a/{b}:c". A part matches one or more
// characters other than a slash and other than the character that follows it.
type template struct {
	literals []string // one more than names: the text around the parts
	names    []string
}

func parseTemplate(path string) (*template, error) {
	t := &template{}
	rest := path
	for {
		before, after, ok := strings.Cut(rest, "{")
		t.literals = append(t.literals, before)
		if !ok {
			return t, nil
		}
		name, tail, ok := strings.Cut(after, "}")
		if !ok || name == "" {
			return nil, fmt.Errorf("path template %q has an unclosed or unnamed part", path)
		}
		if slices.Contains(t.names, name) {
			return nil, fmt.Errorf("path template %q names %q twice", path, name)
		}
		t.names = append(t.names, name)
		rest = tail
	}
}

// match returns the values of the parts, in order, as they stand in the path.
func (t *template) match(path string) (values []string, ok bool) {
	rest, ok := strings.CutPrefix(path, t.literals[0])
	if !ok {
		return nil, false
	}
	for i := range t.names {
		literal := t.literals[i+1]
		stop := "/"
		if literal != "" && literal[0] != '/' {
			stop += literal[:1]
		}
		n := strings.IndexAny(rest, stop)
		if n < 0 {
			n = len(rest)
		}
		if n == 0 || !strings.HasPrefix(rest[n:], literal) {
			return nil, false
		}
		values = append(values, rest[:n])
		rest = rest[n+len(literal):]
	}
	return values, rest == ""
}
