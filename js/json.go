package js

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// maxJSONDepth bounds the nesting of what JSON.parse and its like build. goja's own
// parser recurses without bound, which ends the process (the Go stack overflows);
// QuickJS is bounded by its native stack, at a few thousand levels.
const maxJSONDepth = 2000

// parseJSON is JSON.parse without a reviver, with QuickJS's messages. It is also
// several times as fast as goja's, which goes through encoding/json's tokens.
func (s *sandbox) parseJSON(text string) goja.Value {
	p := jsonParser{s: s, text: text}
	v := p.value(0)
	p.space()
	if p.at < len(text) {
		p.fail("unexpected data at the end")
	}
	return v
}

type jsonParser struct {
	s    *sandbox
	text string
	at   int
}

func (p *jsonParser) fail(format string, args ...any) { p.s.throwSyntax(format, args...) }

func (p *jsonParser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

// peek returns the next byte after white space, 0 at the end.
func (p *jsonParser) peek() byte {
	p.space()
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *jsonParser) expect(c byte) {
	if p.peek() != c || p.at == len(p.text) {
		p.fail("expecting '%c'", c)
	}
	p.at++
}

func (p *jsonParser) value(depth int) goja.Value {
	if depth > maxJSONDepth {
		p.fail("JSON nests more than %d levels", maxJSONDepth)
	}
	switch c := p.peek(); {
	case p.at == len(p.text):
		p.fail("unexpected end of input")
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.s.vm.ToValue(p.str())
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c >= utf8.RuneSelf || c == '\'':
		p.fail("unexpected character")
	case c == '_' || c == '$' || c|0x20 >= 'a' && c|0x20 <= 'z':
		return p.word()
	default:
		p.fail("unexpected token: '%c'", c)
	}
	return nil
}

func (p *jsonParser) object(depth int) goja.Value {
	p.at++
	o := p.s.vm.NewObject()
	if p.peek() == '}' {
		p.at++
		return o
	}
	for {
		if p.peek() != '"' {
			p.fail("expecting property name")
		}
		name := p.str()
		p.expect(':')
		v := p.value(depth + 1)
		if name == "__proto__" {
			_ = o.DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
		} else {
			_ = o.Set(name, v)
		}
		if p.peek() != ',' {
			break
		}
		p.at++
	}
	p.expect('}')
	return o
}

func (p *jsonParser) array(depth int) goja.Value {
	p.at++
	var items []any
	if p.peek() == ']' {
		p.at++
		return p.s.vm.NewArray()
	}
	for {
		items = append(items, p.value(depth+1))
		if len(items)%4096 == 0 {
			p.s.checkTime()
		}
		if p.peek() != ',' {
			break
		}
		p.at++
	}
	p.expect(']')
	return p.s.vm.NewArray(items...)
}

func (p *jsonParser) word() goja.Value {
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c != '_' && c != '$' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		p.at++
	}
	switch w := p.text[start:p.at]; w {
	case "true":
		return p.s.vm.ToValue(true)
	case "false":
		return p.s.vm.ToValue(false)
	case "null":
		return goja.Null()
	default:
		p.fail("unexpected token: '%s'", w)
	}
	return nil
}

// number reads a number of JSON's grammar.
func (p *jsonParser) number() goja.Value {
	start := p.at
	if p.text[p.at] == '-' {
		p.at++
	}
	first := p.at
	whole := p.digits()
	if whole == 0 || whole > 1 && p.text[first] == '0' {
		p.fail("unexpected token: '%s'", p.text[start:p.at])
	}
	integer := true
	if p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		integer = false
		if p.digits() == 0 {
			p.fail("unterminated fractional number")
		}
	}
	if p.at < len(p.text) && p.text[p.at]|0x20 == 'e' {
		p.at++
		integer = false
		if p.at < len(p.text) && (p.text[p.at] == '+' || p.text[p.at] == '-') {
			p.at++
		}
		if p.digits() == 0 {
			p.fail("missing digit after exponent character")
		}
	}
	text := p.text[start:p.at]
	if integer && len(text) < 16 && text != "-0" {
		n, _ := strconv.ParseInt(text, 10, 64)
		return p.s.vm.ToValue(n)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) {
		p.fail("unexpected token: '%s'", text)
	}
	return p.s.vm.ToValue(f)
}

func (p *jsonParser) digits() int {
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at - start
}

// str reads a string literal that begins at the cursor. The result is UTF-8, with
// lone surrogates in the three-byte form that goja's strings are made from.
func (p *jsonParser) str() string {
	p.at++
	start := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[start : p.at-1]
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			p.fail("invalid character in a JSON string")
		}
		p.at++
	}
	p.fail("unexpected end of string")
	return ""
}

// escaped continues str at its first backslash.
func (p *jsonParser) escaped(start int) string {
	var b strings.Builder
	b.WriteString(p.text[start:p.at])
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '"':
			return b.String()
		case c < 0x20:
			p.fail("invalid character in a JSON string")
		case c != '\\':
			b.WriteByte(c)
		case p.at == len(p.text):
			p.fail("unexpected end of string")
		default:
			p.escape(&b)
		}
	}
	p.fail("unexpected end of string")
	return ""
}

func (p *jsonParser) escape(b *strings.Builder) {
	c := p.text[p.at]
	p.at++
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
		return
	}
	if c != 'u' {
		p.fail("invalid escape sequence in string")
	}
	r := p.hex4()
	if isHighSurrogate(r) && strings.HasPrefix(p.text[p.at:], `\u`) {
		save := p.at
		p.at += 2
		if low := p.hex4(); isLowSurrogate(low) {
			b.WriteRune(0x10000 + (r-0xD800)<<10 + (low - 0xDC00))
			return
		}
		p.at = save
	}
	b.WriteRune(r) // a lone surrogate becomes U+FFFD
}

func (p *jsonParser) hex4() rune {
	if p.at+4 > len(p.text) {
		p.fail("unexpected end of string")
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16)
	if err != nil {
		p.fail("invalid escape sequence in string")
	}
	p.at += 4
	return rune(n)
}

func isHighSurrogate(r rune) bool { return r >= 0xD800 && r < 0xDC00 }
func isLowSurrogate(r rune) bool  { return r >= 0xDC00 && r < 0xE000 }
