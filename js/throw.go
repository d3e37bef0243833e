package js

import (
	"fmt"
	"reflect"

	"github.com/dop251/goja"
)

// errorClasses are the constructors that host functions throw with, looked up before
// the script runs: what it does to its globals does not change them.
type errorClasses struct{ internal, typ, rng, syntax *goja.Object }

// internalErrorClass is QuickJS's error class for what went wrong inside the engine.
var internalErrorClass = goja.MustCompile("<internal>", `(function () {
	class InternalError extends Error {}
	Object.defineProperty(InternalError.prototype, "name", { value: "InternalError", writable: true, configurable: true });
	return InternalError;
})()`, true)

// throw ends the host function by throwing an error object of the class.
func (s *sandbox) throw(class *goja.Object, format string, args ...any) {
	e, err := s.vm.New(class, s.vm.ToValue(fmt.Sprintf(format, args...)))
	if err != nil {
		panic(err)
	}
	panic(e)
}

func (s *sandbox) throwType(format string, args ...any)   { s.throw(s.errs.typ, format, args...) }
func (s *sandbox) throwRange(format string, args ...any)  { s.throw(s.errs.rng, format, args...) }
func (s *sandbox) throwSyntax(format string, args ...any) { s.throw(s.errs.syntax, format, args...) }

// throwInternal throws QuickJS's class for what went wrong inside the engine.
func (s *sandbox) throwInternal(format string, args ...any) {
	s.throw(s.errs.internal, format, args...)
}

// captureErrors looks up the classes.
func (s *sandbox) captureErrors() {
	class := func(name string) *goja.Object { return s.vm.GlobalObject().Get(name).ToObject(s.vm) }
	s.errs = errorClasses{typ: class("TypeError"), rng: class("RangeError"), syntax: class("SyntaxError")}
	s.errs.internal = s.must(s.vm.RunProgram(internalErrorClass)).(*goja.Object)
}

// must unwraps what cannot fail while an interpreter is made.
func (s *sandbox) must(v goja.Value, err error) goja.Value {
	if err != nil {
		panic(fmt.Sprintf("js: making an interpreter: %v", err)) // a programming error of this package
	}
	return v
}

// Throw returns what a host function of Env.Extend panics with to throw an Error with
// the text of err; the *Exception that the caller gets unwraps to err.
func Throw(vm *goja.Runtime, err error) *goja.Object { return vm.NewGoError(err) }

// arity throws unless the call has exactly n arguments.
func (s *sandbox) arity(c goja.FunctionCall, n int) {
	if len(c.Arguments) != n {
		s.throwType("Passed %d arguments, but expected %d", len(c.Arguments), n)
	}
}

// arityBetween throws unless the call has lo to hi arguments.
func (s *sandbox) arityBetween(c goja.FunctionCall, lo, hi int) {
	if n := len(c.Arguments); n < lo || n > hi {
		s.throwType("Passed %d arguments, but expected between %d and %d", n, lo, hi)
	}
}

var bufferType = reflect.TypeFor[goja.ArrayBuffer]()

// buffer returns the bytes of an ArrayBuffer, not copied; ok is false for anything
// else, typed arrays included, as in CCF.
func buffer(v goja.Value) (b []byte, ok bool) {
	o, isObject := v.(*goja.Object)
	if !isObject || o.ExportType() != bufferType { // Export of any other object may run code
		return nil, false
	}
	ab, ok := o.Export().(goja.ArrayBuffer)
	if !ok || ab.Detached() {
		return nil, false
	}
	return ab.Bytes(), true
}

// text1 returns the one string argument of a call.
func (s *sandbox) text1(c goja.FunctionCall) string {
	s.arity(c, 1)
	return s.stringArg(c.Arguments[0])
}

func (s *sandbox) stringArg(v goja.Value) string {
	if !goja.IsString(v) {
		s.throwType("Argument must be a string")
	}
	return v.String()
}

// newBuffer returns an ArrayBuffer over b, which it takes over.
func (s *sandbox) newBuffer(b []byte) goja.Value { return s.vm.ToValue(s.vm.NewArrayBuffer(b)) }
