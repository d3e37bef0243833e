package js

import "github.com/dop251/goja"

// stringify is JSON.stringify(v), by the function as it was before the script ran.
func (s *sandbox) stringify(v goja.Value) goja.Value {
	if s.json.stringify == nil {
		f, _ := goja.AssertFunction(s.vm.GlobalObject().Get("JSON").ToObject(s.vm).Get("stringify"))
		s.json.stringify = f
	}
	text, err := s.json.stringify(goja.Undefined(), v)
	if err != nil {
		panic(err)
	}
	return text
}
