package js

import "github.com/dop251/goja"

// stringify is JSON.stringify(v), by the function as it was before the script ran.
func (s *sandbox) stringify(v goja.Value) goja.Value {
	return s.boundedStringify(goja.FunctionCall{This: goja.Undefined(), Arguments: []goja.Value{v}})
}
