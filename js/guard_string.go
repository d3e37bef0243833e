package js

import (
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"
)

// maxBacktrack is how long one match of a regular expression may take. goja takes a
// match that ran into it for "no match", which timed then refuses to pass on.
const maxBacktrack = time.Second

func init() {
	// The package has no other switch; nothing else in the program uses it.
	regexp2.DefaultMatchTimeout = maxBacktrack
}

// timed wraps a function that matches regular expressions: a result that took as long
// as the limit on backtracking may be wrong, and ends the execution.
func (s *sandbox) timed(old native) native {
	return func(c goja.FunctionCall) goja.Value {
		start := time.Now()
		v := old(c)
		if time.Since(start) >= maxBacktrack {
			s.abort(ErrTimeout)
		}
		return v
	}
}

// guardStrings bounds what grows with numbers or products of lengths.
func (s *sandbox) guardStrings() {
	proto := s.proto("String")
	s.wrap(proto, "repeat", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			s.room(float64(textLen(c.This)) * c.Argument(0).ToFloat())
			return old(c)
		}
	})
	for _, name := range []string{"padStart", "padEnd"} {
		s.wrap(proto, name, func(old native) native {
			return func(c goja.FunctionCall) goja.Value {
				s.room(c.Argument(0).ToFloat())
				return old(c)
			}
		})
	}
	s.wrap(proto, "split", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			if n := textLen(c.This); n > maxElements && goja.IsUndefined(c.Argument(1)) {
				if sep := c.Argument(0); !goja.IsString(sep) || strings.Count(c.This.String(), sep.String()) > maxElements {
					s.throwRange("string splits into too many parts")
				}
			}
			return old(c)
		}
	})
	for _, name := range []string{"replace", "replaceAll"} {
		s.wrap(proto, name, s.replacing)
	}
	s.wrap(s.global("String"), "raw", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			if o, ok := c.Argument(0).(*goja.Object); ok {
				s.walkable(o.Get("raw"))
			}
			return old(c)
		}
	})
}

// replacing bounds a replacement text that is put in many times: one that could grow
// the string beyond the heap limit is put in by a function that keeps count.
func (s *sandbox) replacing(old native) native {
	return func(c goja.FunctionCall) goja.Value {
		if _, isFunction := goja.AssertFunction(c.Argument(1)); isFunction {
			return old(c)
		}
		length, with := float64(textLen(c.This)), c.Argument(1).String()
		worst := (length + 1) * (float64(len(with)) + float64(strings.Count(with, "$"))*length)
		if worst <= float64(s.limits.MaxHeapBytes) {
			return old(c)
		}
		if strings.Contains(with, "$") && length > 1<<20 {
			s.throwRange("replacement patterns in so long a string are not supported")
		}
		size := length
		count := s.vm.ToValue(func(m goja.FunctionCall) goja.Value {
			text := expand(with, m.Arguments)
			if size += float64(len(text)); size > float64(s.limits.MaxHeapBytes) {
				s.throwInternal("out of memory")
			}
			s.tick()
			return s.vm.ToValue(text)
		})
		return old(goja.FunctionCall{This: c.This, Arguments: []goja.Value{c.Argument(0), count}})
	}
}

// expand is GetSubstitution of the language for the arguments of a replacer function:
// match, captures, position, string, and the named groups if there are any.
func expand(with string, args []goja.Value) string {
	if !strings.Contains(with, "$") {
		return with
	}
	named, last := goja.Value(nil), len(args)-1
	if o, ok := args[last].(*goja.Object); ok {
		named, last = o, last-1
	}
	match, whole, position := args[0].String(), args[last].String(), int(args[last-1].ToInteger())
	captures := args[1 : last-1]
	var b strings.Builder
	for i := 0; i < len(with); i++ {
		rest := with[i:]
		if len(rest) < 2 || rest[0] != '$' {
			b.WriteByte(rest[0])
			continue
		}
		i++
		switch next := rest[1]; {
		case next == '$':
			b.WriteByte('$')
		case next == '&':
			b.WriteString(match)
		case next == '`':
			b.WriteString(whole[:min(position, len(whole))])
		case next == '\'':
			b.WriteString(whole[min(position+len(match), len(whole)):])
		case next >= '0' && next <= '9':
			i += expandNumber(&b, rest, captures) - 2
		case next == '<' && named != nil && strings.Contains(rest, ">"):
			name := rest[2:strings.IndexByte(rest, '>')]
			if v := named.(*goja.Object).Get(name); v != nil && !goja.IsUndefined(v) {
				b.WriteString(v.String())
			}
			i += len(name) + 1
		default:
			b.WriteString(rest[:2])
		}
	}
	return b.String()
}

// expandNumber writes what "$1" or "$12" stands for, and returns its length.
func expandNumber(b *strings.Builder, rest string, captures []goja.Value) int {
	for _, width := range []int{3, 2} {
		if len(rest) < width || width == 3 && (rest[2] < '0' || rest[2] > '9') {
			continue
		}
		n := 0
		for _, d := range rest[1:width] {
			n = 10*n + int(d-'0')
		}
		if n >= 1 && n <= len(captures) {
			if v := captures[n-1]; !goja.IsUndefined(v) {
				b.WriteString(v.String())
			}
			return width
		}
	}
	b.WriteString(rest[:2])
	return 2
}

// textLen is the length of a string; values that are not strings become short ones.
func textLen(v goja.Value) int {
	if s, ok := v.(goja.String); ok {
		return s.Length()
	}
	return 0
}
