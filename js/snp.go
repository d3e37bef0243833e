package js

import "github.com/dop251/goja"

// snpObject makes snp_attestation.
func (s *sandbox) snpObject() *goja.Object { return s.object() }
