package js

import (
	"github.com/dop251/goja"
)

// guardChains bounds what calls its like natively without end: proxies of proxies and
// bound functions of bound functions. It also bounds argument lists that are made from
// objects.
func (s *sandbox) guardChains() {
	function := s.proto("Function")
	s.wrap(function, "bind", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			depth := s.chain(c.This)
			bound := old(c)
			s.chained(bound, depth)
			return bound
		}
	})
	s.wrap(function, "apply", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			s.arguments(c.Argument(1))
			return old(c)
		}
	})
	reflect := s.global("Reflect")
	for name, i := range map[string]int{"apply": 2, "construct": 1} {
		s.wrap(reflect, name, func(old native) native {
			return func(c goja.FunctionCall) goja.Value {
				s.arguments(c.Argument(i))
				return old(c)
			}
		})
	}
	s.guardProxy()
}

func (s *sandbox) guardProxy() {
	old := s.global("Proxy")
	f := s.vm.ToValue(func(c goja.ConstructorCall) *goja.Object {
		depth := s.chain(c.Arguments...)
		p := s.construct(old, nil, c.Arguments)
		s.chained(p, depth)
		return p
	}).(*goja.Object)
	s.like(f, old)
	revocable := old.Get("revocable")
	_ = f.DefineDataProperty("revocable", revocable, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	s.wrap(f, "revocable", func(old native) native {
		return func(c goja.FunctionCall) goja.Value {
			depth := s.chain(c.Arguments...)
			pair := old(c)
			s.chained(pair.(*goja.Object).Get("proxy"), depth)
			return pair
		}
	})
	_ = s.base.DefineDataProperty("Proxy", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// chain returns how long the chain gets that begins at one of the values.
func (s *sandbox) chain(from ...goja.Value) int {
	depth := 0
	for _, v := range from {
		if o, ok := v.(*goja.Object); ok {
			depth = max(depth, s.chains[o])
		}
	}
	if depth >= maxChained {
		s.throwRange("proxies or bound functions nest more than %d levels", maxChained)
	}
	return depth + 1
}

func (s *sandbox) chained(v goja.Value, depth int) {
	if o, ok := v.(*goja.Object); ok {
		if s.chains == nil {
			s.chains = make(map[*goja.Object]int)
		}
		s.chains[o] = depth
	}
}

// arguments throws unless an object may become a list of arguments.
func (s *sandbox) arguments(v goja.Value) {
	if n := lengthOf(v); n > maxArguments {
		s.throwRange("too many arguments: %d", n)
	}
}
