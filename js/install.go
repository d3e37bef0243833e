package js

import (
	"log/slog"

	"github.com/dop251/goja"
)

// native is a host function.
type native = func(goja.FunctionCall) goja.Value

// install makes the globals of every context: ccf with its converters, its crypto and
// gov parts, console, and snp_attestation. What only some contexts have is added for
// the call.
func (s *sandbox) install() {
	ccf := s.vm.NewObject()
	s.ccf = ccf
	_ = ccf.Set("kv", s.vm.NewDynamicObject(&kvObject{s: s}))
	s.functions(ccf, s.converters())
	s.lazy(ccf, "crypto", s.cryptoObject)
	s.lazy(ccf, "gov", s.govObject)
	_ = s.vm.Set("ccf", ccf)
	s.lazy(s.vm.GlobalObject(), "console", s.consoleObject)
	s.lazy(s.vm.GlobalObject(), "snp_attestation", s.snpObject)
}

// named is a host function with the name that scripts call it by.
type named struct {
	name string
	f    native
}

// functions puts functions on an object, in order.
func (s *sandbox) functions(o *goja.Object, fs []named) {
	for _, f := range fs {
		_ = o.Set(f.name, f.f)
	}
}

// object returns a new object with the functions.
func (s *sandbox) object(fs ...named) *goja.Object {
	o := s.vm.NewObject()
	s.functions(o, fs)
	return o
}

// lazy defines a property whose value is made when it is first used: most requests
// use few of the host objects. From then on, or once assigned, it is a plain property.
func (s *sandbox) lazy(o *goja.Object, name string, build func() *goja.Object) {
	settle := func(v goja.Value) {
		_ = o.DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE)
	}
	get := s.vm.ToValue(func(goja.FunctionCall) goja.Value {
		v := build()
		settle(v)
		return v
	})
	set := s.vm.ToValue(func(c goja.FunctionCall) goja.Value {
		settle(c.Argument(0))
		return goja.Undefined()
	})
	_ = o.DefineAccessorProperty(name, get, set, goja.FLAG_TRUE, goja.FLAG_TRUE)
}

// consoleObject makes console: its lines go to Env.Log.
func (s *sandbox) consoleObject() *goja.Object {
	return s.object(
		named{"log", s.print(slog.LevelInfo)}, named{"info", s.print(slog.LevelInfo)},
		named{"warn", s.print(slog.LevelWarn)}, named{"error", s.print(slog.LevelError)})
}

// maxLine bounds a line of the log.
const maxLine = 64 << 10

// print joins its arguments with spaces: objects as JSON, errors and the rest as
// String does.
func (s *sandbox) print(level slog.Level) native {
	return func(c goja.FunctionCall) goja.Value {
		if s.env == nil || s.env.Log == nil {
			return goja.Undefined()
		}
		var line []byte
		for i, v := range c.Arguments {
			if i > 0 {
				line = append(line, ' ')
			}
			line = append(line, s.printed(v)...)
			if len(line) > maxLine {
				line = append(line[:maxLine], "..."...)
				break
			}
		}
		s.env.Log(level, string(line))
		return goja.Undefined()
	}
}

func (s *sandbox) printed(v goja.Value) string {
	o, ok := v.(*goja.Object)
	if !ok || o.ClassName() == "Error" {
		return v.String()
	}
	if text := s.stringify(v); goja.IsString(text) {
		return text.String()
	}
	return v.String()
}
