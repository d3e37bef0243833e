package js

import (
	"time"

	"github.com/dop251/goja"
)

// guardJSON replaces JSON.parse, whose native recursion is unbounded and which goes
// through a slow decoder, and bounds JSON.stringify.
func (s *sandbox) guardJSON() {
	json := s.global("JSON")
	s.wrap(json, "parse", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			text := c.Argument(0).String()
			v := s.parseJSON(text) // throws for what nests too deeply
			if _, ok := goja.AssertFunction(c.Argument(1)); !ok {
				return v
			}
			return old(c)
		}
	})
	s.wrap(json, "stringify", func(native) native { return s.boundedStringify })
}

// trusted is how long a call of a hardened interpreter runs before what it builds can
// nest deeply enough to overflow a stack of hundreds of megabytes: a level costs a
// fifth of a microsecond at the least, and a kilobyte of stack.
const trusted = 5 * time.Millisecond

// deep tells whether the script may have built something that nests deeply.
func (s *sandbox) deep() bool { return !s.hardened || time.Since(s.started) > trusted }

// boundedStringify is JSON.stringify. Where the value may nest deeply, a replacer
// function counts the levels on the way; it sees each holder before its members.
func (s *sandbox) boundedStringify(c goja.FunctionCall) goja.Value {
	if !s.deep() {
		return s.intrinsics.stringify(c)
	}
	args := []goja.Value{c.Argument(0), c.Argument(1), c.Argument(2)}
	given, isFunction := goja.AssertFunction(args[1])
	if list, ok := args[1].(*goja.Object); ok && !isFunction && list.ClassName() == "Array" {
		s.shallow(args[0])
		return s.intrinsics.stringify(c)
	}
	var holders []*goja.Object
	args[1] = s.vm.ToValue(func(c goja.FunctionCall) goja.Value {
		s.tick()
		holder, _ := c.This.(*goja.Object)
		for n := len(holders); n > 0 && holders[n-1] != holder; n-- {
			holders = holders[:n-1]
		}
		v := c.Argument(1)
		if isFunction {
			var err error
			if v, err = given(c.This, c.Arguments...); err != nil {
				panic(err)
			}
		}
		if o, ok := v.(*goja.Object); ok {
			if holders = append(holders, o); len(holders) > maxJSONDepth {
				s.throwRange("value nests more than %d levels", maxJSONDepth)
			}
		}
		return v
	})
	return s.intrinsics.stringify(goja.FunctionCall{This: c.This, Arguments: args})
}

// shallow throws if a value nests deeply. It looks at every member once, breadth first.
func (s *sandbox) shallow(v goja.Value) {
	seen := make(map[*goja.Object]bool)
	level := []goja.Value{v}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxJSONDepth {
			s.throwRange("value nests more than %d levels", maxJSONDepth)
		}
		var next []goja.Value
		for _, v := range level {
			o, ok := v.(*goja.Object)
			if !ok || seen[o] {
				continue
			}
			seen[o] = true
			for _, k := range o.Keys() {
				s.tick()
				next = append(next, o.Get(k))
			}
		}
		level = next
	}
}
