package server

import (
	"errors"
	"fmt"
	"strings"
)

// A template is a path with named parts, as CCF writes them: `{name}` stands for one
// or more characters other than '/'; when a literal character follows the brace, that
// character is excluded as well, so `/members/proposals/{proposalId}:withdraw` takes
// the id alone. Parts are matched against the raw path and handed over undecoded.
type template struct {
	text  string
	names []string
	parts []part // literal, then for each name: the name's stop and the literal after it
}

// part is a literal that is preceded, in all parts but the first, by a named part
// that ends before stop or '/'.
type part struct {
	literal string
	stop    byte // 0: only '/' ends the named part
}

var errTemplate = errors.New("malformed path template")

// parseTemplate parses text. A path without braces is a template without names.
func parseTemplate(text string) (*template, error) {
	t := &template{text: text}
	rest := text
	open := strings.IndexByte(rest, '{')
	if open < 0 {
		t.parts = []part{{literal: rest}}
		return t, nil
	}
	t.parts = append(t.parts, part{literal: rest[:open]})
	for open >= 0 {
		rest = rest[open+1:]
		end := strings.IndexByte(rest, '}')
		if end <= 0 || strings.IndexByte(rest[:end], '{') >= 0 {
			return nil, fmt.Errorf("%w: %q", errTemplate, text)
		}
		name := rest[:end]
		for _, n := range t.names {
			if n == name {
				return nil, fmt.Errorf("%w: %q names %q twice", errTemplate, text, name)
			}
		}
		t.names = append(t.names, name)
		rest = rest[end+1:]
		var p part
		if rest != "" {
			p.stop = rest[0]
		}
		open = strings.IndexByte(rest, '{')
		if open == 0 {
			return nil, fmt.Errorf("%w: %q has two names side by side", errTemplate, text)
		}
		p.literal = rest
		if open > 0 {
			p.literal = rest[:open]
		}
		t.parts = append(t.parts, p)
	}
	return t, nil
}

// exact says that the template has no names.
func (t *template) exact() bool { return len(t.names) == 0 }

// match reports whether path has the template's form, and its named parts.
func (t *template) match(path string) (Params, bool) {
	rest, ok := strings.CutPrefix(path, t.parts[0].literal)
	if !ok {
		return nil, false
	}
	if t.exact() {
		return nil, rest == ""
	}
	params := make(Params, 0, len(t.names))
	for i, name := range t.names {
		p := t.parts[i+1]
		n := 0
		for n < len(rest) && rest[n] != '/' && (p.stop == 0 || rest[n] != p.stop) {
			n++
		}
		if n == 0 || !strings.HasPrefix(rest[n:], p.literal) {
			return nil, false
		}
		params = append(params, Param{Name: name, Value: rest[:n]})
		rest = rest[n+len(p.literal):]
	}
	return params, rest == ""
}

// Param is one named part of a path, as it was sent.
type Param struct{ Name, Value string }

// Params are the named parts of a path, in the template's order.
type Params []Param

// Get returns the value of a named part, "" when the template has no such name.
func (p Params) Get(name string) string {
	for _, v := range p {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}
