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

// jsonWalk is one call of JSON.stringify, as the replacer that bounds it sees it.
type jsonWalk struct {
	given   goja.Callable  // the script's own replacer; nil: none
	holders []*goja.Object // objects that are being written, the innermost last
}

// boundedStringify is JSON.stringify. An array can claim four thousand million elements
// that take no memory, and values can nest more deeply than the stack: a replacer, which
// sees each value before it is written, sees a stop as well, and counts the levels.
func (s *sandbox) boundedStringify(c goja.FunctionCall) goja.Value {
	given, isFunction := goja.AssertFunction(c.Argument(1))
	if list, ok := c.Argument(1).(*goja.Object); ok && !isFunction && list.ClassName() == "Array" {
		s.shallow(c.Argument(0))
		return s.intrinsics.stringify(c)
	}
	outer := s.json
	defer func() { s.json = outer }()
	s.json = jsonWalk{}
	if isFunction {
		s.json.given = given
	}
	if s.replacer == nil {
		s.replacer = s.vm.ToValue(s.jsonValue)
	}
	return s.intrinsics.stringify(goja.FunctionCall{This: c.This, Arguments: []goja.Value{c.Argument(0), s.replacer, c.Argument(2)}})
}

// jsonValue is called by JSON.stringify for each value, with its key and holder.
func (s *sandbox) jsonValue(c goja.FunctionCall) goja.Value {
	s.tick()
	w := &s.json
	if n := len(w.holders); n > 0 {
		holder, _ := c.This.(*goja.Object)
		for ; n > 0 && w.holders[n-1] != holder; n-- {
			w.holders = w.holders[:n-1]
		}
	}
	v := c.Arguments[1]
	if w.given != nil {
		var err error
		if v, err = w.given(c.This, c.Arguments...); err != nil {
			panic(err)
		}
	}
	if o, ok := v.(*goja.Object); ok {
		if w.holders = append(w.holders, o); len(w.holders) > maxJSONDepth {
			s.throwRange("value nests more than %d levels", maxJSONDepth)
		}
	}
	return v
}

// shallow throws if a value nests deeply, or if its arrays claim many elements. It looks
// at every member once, breadth first.
func (s *sandbox) shallow(v goja.Value) {
	claimed := int64(0)
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
			if o.ClassName() == "Array" || o.ExportType() == proxyType {
				if claimed += lengthOf(o); claimed > maxElements {
					s.throwRange("array is longer than %d", maxElements)
				}
			}
			for _, k := range o.Keys() {
				s.tick()
				next = append(next, o.Get(k))
			}
		}
		level = next
	}
}
