package js

import (
	"iter"
	"log/slog"
	"time"

	"github.com/dop251/goja"

	"chancery/kv"
)

// Reader is what a script reads maps from: *kv.Tx, or the writes of one transaction
// of the past. Slices that it returns are not to be changed.
type Reader interface {
	Get(table string, key []byte) ([]byte, bool)
	Has(table string, key []byte) bool
	VersionOfPreviousWrite(table string, key []byte) (uint64, bool)
	Len(table string) int
	Range(table string, b kv.Bounds) iter.Seq2[[]byte, []byte]
}

var _ Reader = (*kv.Tx)(nil)

// Env is what one call of a script may touch.
type Env struct {
	// Tx is the transaction behind ccf.kv. It must be set.
	Tx *kv.Tx
	// Access says which maps the script may read and write.
	Access Access
	// Restrict narrows what Access allows; nil does not.
	Restrict Restriction
	// Limits bound the call.
	Limits Limits
	// Log takes the lines of console.log and its siblings; nil drops them. A line may
	// hold what the application chose to print, private values included.
	Log func(level slog.Level, line string)
	// Now and Random stand behind Date and Math.random; nil: the host's clock and entropy.
	Now    func() time.Time
	Random func() float64
	// Extend adds host functions of the caller to the ccf object (ccf.node and
	// ccf.network in a constitution's apply); nil adds none. It runs inside the
	// limits. A host function refuses by panicking with what Throw returns.
	Extend func(vm *goja.Runtime, ccf *goja.Object)
}
