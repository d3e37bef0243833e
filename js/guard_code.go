package js

import (
	"reflect"
	"strings"

	"github.com/dop251/goja"
)

// guardCode wraps what compiles source text: eval and the function constructors, those
// included that only a function's constructor property leads to. An eval through the
// wrapper is an indirect one: it does not see the variables of its caller.
func (s *sandbox) guardCode() {
	s.wrap(s.base, "eval", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			if text := c.Argument(0); goja.IsString(text) {
				s.compilable(text.String())
				if unbounded(text.String()) {
					return s.runText(text.String())
				}
			}
			return old(c)
		}
	})
	check := func(args []goja.Value) { s.compilable(strings.Join(texts(args), "\n")) }
	s.made = map[*goja.Object]func([]goja.Value) *goja.Object{}
	s.boundFunctions("function", s.global("Function"))
	s.wrapConstructor("Function", check)
	for kind, source := range map[string]string{"function*": "(function* () {})", "async function": "(async function () {})"} {
		f := s.must(s.vm.RunString(source)).(*goja.Object)
		if old, ok := f.Get("constructor").(*goja.Object); ok && old != s.global("Function") {
			s.boundFunctions(kind, old)
			s.constructor(old, check, nil)
		}
	}
}

func texts(args []goja.Value) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a.String()
	}
	return out
}

// boundFunctions has a constructor of functions compile them with the checks that a module
// has, where they have anything to check.
func (s *sandbox) boundFunctions(kind string, old *goja.Object) {
	s.made[old] = func(args []goja.Value) *goja.Object {
		parts := texts(args)
		if !unbounded(strings.Join(parts, "\n")) {
			return nil
		}
		s.construct(old, old, args) // throws where a part is none by itself
		last := len(parts) - 1
		f, _ := s.runText("(" + kind + " anonymous(" + strings.Join(parts[:last], ",") + "\n) {\n" + parts[last] + "\n})").(*goja.Object)
		return f
	}
}

// compilable throws unless a parser may see the text.
func (s *sandbox) compilable(text string) {
	if len(text) > MaxSourceBytes {
		s.throwSyntax("source is larger than %d bytes", MaxSourceBytes)
	}
	if err := scanText(text); err != nil {
		s.throwSyntax("%s", err)
	}
}

// guardRegExp bounds patterns, whose parsers recurse, and stops matching that has run
// into the engine's limit on backtracking.
func (s *sandbox) guardRegExp() {
	s.wrapConstructor("RegExp", func(args []goja.Value) { s.pattern(arg(args, 0)) })
	proto := s.proto("RegExp")
	s.wrap(proto, "compile", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			s.pattern(c.Argument(0))
			return old(c)
		}
	})
	for _, name := range []string{"exec", "test"} {
		s.wrap(proto, name, s.timed)
	}
	for _, name := range []*goja.Symbol{goja.SymMatch, goja.SymMatchAll, goja.SymSearch} {
		s.wrapSymbol(proto, name, s.timed)
	}
	describe, _ := goja.AssertFunction(s.global("Object").Get("getOwnPropertyDescriptor"))
	exec := proto.Get("exec").(*goja.Object)
	for _, name := range []*goja.Symbol{goja.SymReplace, goja.SymSplit} {
		s.wrapSymbol(proto, name, func(old native) native {
			old = s.timed(old)
			return func(c goja.FunctionCall) goja.Value {
				if o, ok := c.This.(*goja.Object); ok && !s.execs(o, exec, describe) {
					s.throwType("replace and split take no exec but that of RegExp")
				}
				return old(c)
			}
		})
	}
	for _, name := range []string{"match", "matchAll", "search"} {
		s.wrap(s.proto("String"), name, func(old native) native {
			return func(c goja.FunctionCall) goja.Value {
				if goja.IsString(c.Argument(0)) {
					s.pattern(c.Argument(0))
				}
				return old(c)
			}
		})
	}
}

// execs says whether an object's exec is the given function, for certain. Another one can
// say that it found thousands of millions of groups, which are walked over natively.
func (s *sandbox) execs(o, exec *goja.Object, describe goja.Callable) bool {
	for ; o != nil; o = o.Prototype() {
		if o.ExportType() == proxyType {
			return false
		}
		found, err := describe(goja.Undefined(), o, s.vm.ToValue("exec"))
		if err != nil {
			return false
		}
		if d, ok := found.(*goja.Object); ok {
			return d.Get("value") == exec
		}
	}
	return true // it has none: what calls it throws
}

var proxyType = reflect.TypeFor[goja.Proxy]()

// pattern throws unless the text may be compiled as a regular expression.
func (s *sandbox) pattern(v goja.Value) {
	if _, ok := v.(*goja.Object); ok || goja.IsUndefined(v) {
		return // a RegExp, whose pattern was checked, or something that becomes a short text
	}
	text := v.String()
	if len(text) > maxPattern || patternDepth(text) > maxNesting {
		s.throwSyntax("regular expression is too large or nests too deeply")
	}
}

// patternDepth is an upper bound of the nesting of groups.
func patternDepth(text string) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			depth++
			deepest = max(deepest, depth)
		case ')':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}
