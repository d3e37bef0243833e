package js

import (
	"github.com/dop251/goja"
)

// arrayFunctions are the methods of Array.prototype that walk over their object, by
// the length that it claims to have.
var arrayFunctions = []string{
	"copyWithin", "every", "fill", "filter", "find", "findIndex", "findLast", "findLastIndex", "flatMap",
	"forEach", "includes", "indexOf", "lastIndexOf", "map", "reduce", "reduceRight", "reverse", "shift", "slice", "some",
	"sort", "splice", "toReversed", "toSorted", "toSpliced", "unshift", "with",
}

// guardArrays bounds the walks of array functions. A real array's elements are in
// memory; an array with holes and an object that only looks like an array can claim
// any length.
func (s *sandbox) guardArrays() {
	proto := s.proto("Array")
	for _, name := range arrayFunctions {
		s.wrap(proto, name, func(old native) native {
			return func(c goja.FunctionCall) goja.Value {
				s.walkable(c.This)
				return old(c)
			}
		})
	}
	for _, name := range []string{"join", "toString", "toLocaleString"} {
		s.wrap(proto, name, s.joining)
	}
	s.wrap(proto, "concat", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			for _, v := range append([]goja.Value{c.This}, c.Arguments...) {
				s.walkable(v)
			}
			return old(c)
		}
	})
	s.wrap(proto, "flat", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			s.walkable(c.This)
			if c.Argument(0).ToFloat() > maxJoins && s.deep() {
				s.shallow(c.This)
			}
			return old(c)
		}
	})
	s.wrap(s.global("Array"), "from", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			if o, ok := c.Argument(0).(*goja.Object); ok && o.GetSymbol(goja.SymIterator) == nil {
				s.walkable(o)
			}
			return old(c)
		}
	})
}

// joining bounds the nesting of arrays that become strings, each by the function of the
// one around it, and the size that a separator gives to an array of holes.
func (s *sandbox) joining(old native) native {
	return func(c goja.FunctionCall) goja.Value {
		s.walkable(c.This)
		if sep, ok := c.Argument(0).(goja.String); ok {
			s.room(float64(sep.Length()) * float64(lengthOf(c.This)))
		}
		if s.joins++; s.joins > 2*maxJoins {
			s.throwRange("arrays nest too deeply")
		}
		defer func() { s.joins-- }()
		return old(c)
	}
}

// typedArrays are the constructors whose argument can be a size.
var typedArrays = []string{
	"Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array",
	"Float16Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array",
}

// guardBuffers bounds single allocations of memory.
func (s *sandbox) guardBuffers() {
	s.wrapConstructor("ArrayBuffer", func(args []goja.Value) { s.room(arg(args, 0).ToFloat()) })
	for _, name := range typedArrays {
		s.wrapConstructor(name, func(args []goja.Value) {
			v := arg(args, 0)
			if o, ok := v.(*goja.Object); ok {
				if o.ExportType() != bufferType {
					s.walkable(o)
				}
				return
			}
			s.room(8 * v.ToFloat())
		})
	}
	if parent := s.global("Uint8Array").Prototype(); parent != nil {
		s.wrap(parent, "from", func(old native) native {
			return func(c goja.FunctionCall) goja.Value {
				s.walkable(c.Argument(0))
				return old(c)
			}
		})
	}
}

// guardIterators lets the native loops over iterators see a stop: each step of a
// built-in iterator checks.
func (s *sandbox) guardIterators() {
	for _, source := range []string{"[][Symbol.iterator]()", `""[Symbol.iterator]()`, "new Map()[Symbol.iterator]()", "new Set()[Symbol.iterator]()", `"".matchAll(/a/g)`} {
		iterator := s.must(s.vm.RunString(source)).(*goja.Object)
		s.wrap(iterator.Prototype(), "next", func(old native) native {
			return func(c goja.FunctionCall) goja.Value {
				s.tick()
				return old(c)
			}
		})
	}
}
