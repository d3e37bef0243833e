package js

import "github.com/dop251/goja"

// cryptoObject makes ccf.crypto.
func (s *sandbox) cryptoObject() *goja.Object {
	return s.object()
}
