package js

import "github.com/dop251/goja"

// guardErrors gives errors that scripts make the stack property that they have on CCF:
// "    at <function> (<module>:<line>)", one call a line, without the engine's own.
func (s *sandbox) guardErrors() {
	for _, name := range []string{"Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError"} {
		old := s.global(name)
		f := s.constructor(old, func([]goja.Value) {}, func(e *goja.Object) {
			stack := s.vm.CaptureCallStack(maxTrace+2, nil)
			for len(stack) > 0 && stack[0].Position().Filename == "" {
				stack = stack[1:] // the constructor itself
			}
			_ = e.DefineDataProperty("stack", s.vm.ToValue(traceOf(stack)), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
		})
		_ = s.base.DefineDataProperty(name, f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
}
