package js

import (
	"github.com/dop251/goja"
)

// Built-ins of goja run as native Go code: an interrupt is not seen inside them, what
// they allocate is not counted, and where they recurse, an overflow of the Go stack
// ends the process. guard replaces those that a script could use against the node by
// wrappers that check first. It runs once for each interpreter, before any script.
func (s *sandbox) guard() {
	s.replaced = make(map[*goja.Object]*goja.Object)
	defer func() { s.replaced = nil }()
	s.guardCode()
	s.guardJSON()
	s.guardStrings()
	s.guardArrays()
	s.guardBuffers()
	s.guardChains()
	s.guardIterators()
	s.guardRegExp()
	s.guardErrors()
	s.guardBigInts()
}

// Bounds of single operations of built-ins.
const (
	maxElements  = 1 << 24 // elements that one array function walks over
	maxArguments = 1 << 16 // arguments of one call
	maxChained   = 500     // proxies of proxies, bound functions of bound functions
	maxJoins     = 500     // arrays in arrays, where they are turned into strings
	maxPattern   = 32 << 10
)

// nativeOf returns the Go function behind a built-in function.
func nativeOf(v goja.Value) native {
	f, _ := v.Export().(native)
	return f
}

// global returns a built-in object, nil where the engine has none of the name.
func (s *sandbox) global(name string) *goja.Object {
	o, _ := s.base.Get(name).(*goja.Object)
	return o
}

// proto returns the prototype object of a built-in constructor.
func (s *sandbox) proto(name string) *goja.Object {
	return s.global(name).Get("prototype").(*goja.Object)
}

// wrap replaces the method of an object by what w makes of it. Name and length stay.
func (s *sandbox) wrap(o *goja.Object, name string, w func(native) native) {
	old, ok := o.Get(name).(*goja.Object)
	if !ok {
		return // the engine has no such function
	}
	f := s.vm.ToValue(w(nativeOf(old))).(*goja.Object)
	s.like(f, old)
	_ = o.DefineDataProperty(name, f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// wrapSymbol is wrap for a method named by a symbol.
func (s *sandbox) wrapSymbol(o *goja.Object, name *goja.Symbol, w func(native) native) {
	old, ok := o.GetSymbol(name).(*goja.Object)
	if !ok {
		return
	}
	f := s.vm.ToValue(w(nativeOf(old))).(*goja.Object)
	s.like(f, old)
	_ = o.DefineDataPropertySymbol(name, f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// like gives a function name and length of another.
func (s *sandbox) like(f, old *goja.Object) {
	for _, p := range []string{"name", "length"} {
		_ = f.DefineDataProperty(p, old.Get(p), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
}

// wrapConstructor replaces a global constructor by one that calls check before it. The
// prototype object and the static members are the old one's.
func (s *sandbox) wrapConstructor(name string, check func(args []goja.Value)) {
	if old := s.global(name); old != nil {
		f := s.constructor(old, check, nil)
		_ = s.base.DefineDataProperty(name, f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
}

// constructor makes the replacement of a constructor, and puts it into its prototype:
// it calls check before the old one, and finish, unless nil, with the new object.
func (s *sandbox) constructor(old *goja.Object, check func(args []goja.Value), finish func(*goja.Object)) *goja.Object {
	var f *goja.Object
	f = s.vm.ToValue(func(c goja.ConstructorCall) *goja.Object {
		check(c.Arguments)
		if made, ok := s.made[old]; ok {
			if o := made(c.Arguments); o != nil {
				return o
			}
		}
		target := c.NewTarget
		if target == nil || target == f {
			target = old
		}
		o := s.construct(old, target, c.Arguments)
		if finish != nil {
			finish(o)
		}
		return o
	}).(*goja.Object)
	s.like(f, old)
	if parent := old.Prototype(); parent != nil {
		if own, ok := s.replaced[parent]; ok {
			parent = own
		}
		_ = f.SetPrototype(parent)
	}
	s.replaced[old] = f
	for _, p := range old.GetOwnPropertyNames() {
		if p != "name" && p != "length" && p != "prototype" {
			_ = f.DefineDataProperty(p, old.Get(p), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
		}
	}
	if proto, ok := old.Get("prototype").(*goja.Object); ok {
		_ = f.DefineDataProperty("prototype", proto, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
		_ = proto.DefineDataProperty("constructor", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
	return f
}

// construct is new old(...args) with the given new.target.
func (s *sandbox) construct(old, target *goja.Object, args []goja.Value) *goja.Object {
	make, ok := goja.AssertConstructor(old)
	if !ok {
		s.throwType("not a constructor")
	}
	o, err := make(target, args...)
	if err != nil {
		panic(err)
	}
	return o
}

// arg returns an argument, undefined where it is missing.
func arg(args []goja.Value, i int) goja.Value {
	if i < len(args) {
		return args[i]
	}
	return goja.Undefined()
}

// room throws unless an allocation of n bytes fits the heap limit.
func (s *sandbox) room(n float64) {
	if n > float64(s.limits.MaxHeapBytes) {
		s.throwInternal("out of memory")
	}
}

// lengthOf is the length of an object as array functions see it; 0 for other values.
func lengthOf(v goja.Value) int64 {
	o, ok := v.(*goja.Object)
	if !ok {
		return 0
	}
	if n := o.Get("length"); n != nil {
		return n.ToInteger()
	}
	return 0
}

// walkable throws unless an array function may walk over the object.
func (s *sandbox) walkable(v goja.Value) {
	if lengthOf(v) > maxElements {
		s.throwRange("array is longer than %d", maxElements)
	}
}
