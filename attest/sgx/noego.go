//go:build !ego || !cgo

package sgx

// ego says that there is no EGo here.
func ego() (runtime, error) { return nil, ErrNotBuilt }
