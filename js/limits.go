package js

import "time"

// The defaults of CCF's public:ccf.gov.js_runtime_options.
const (
	DefaultMaxHeapBytes         = 100 << 20
	DefaultMaxStackBytes        = 1 << 20
	DefaultMaxExecutionTime     = 5 * time.Second
	DefaultMaxCachedInterpreter = 10
)

// MinHeapBytes is what an interpreter holds by itself: with less, no call begins.
const MinHeapBytes = 1 << 20

// bytesPerCall is what one JavaScript call counts against MaxStackBytes. QuickJS
// spends a few hundred bytes of native stack on one; goja counts calls instead.
const bytesPerCall = 512

// Limits bound one execution. The zero value of a field means its default.
type Limits struct {
	// MaxHeapBytes bounds the memory that the execution may hold, approximately: see
	// the package comment.
	MaxHeapBytes uint64
	// MaxStackBytes bounds the depth of calls, at 512 bytes each.
	MaxStackBytes uint64
	// MaxExecutionTime bounds the wall clock time of one call, conversion of its
	// arguments and its result included.
	MaxExecutionTime time.Duration
}

// AtLeastDefaults returns l with every field raised to its default: what governance
// runs under, so that an application's limits can never lock the members out.
func (l Limits) AtLeastDefaults() Limits {
	l = l.withDefaults()
	return Limits{
		MaxHeapBytes:     max(l.MaxHeapBytes, DefaultMaxHeapBytes),
		MaxStackBytes:    max(l.MaxStackBytes, DefaultMaxStackBytes),
		MaxExecutionTime: max(l.MaxExecutionTime, DefaultMaxExecutionTime),
	}
}

// withDefaults fills in defaults. What is set stays, be it too little for any call: an
// application's members can always set other limits, since governance has its own.
func (l Limits) withDefaults() Limits {
	if l.MaxHeapBytes == 0 {
		l.MaxHeapBytes = DefaultMaxHeapBytes
	}
	if l.MaxStackBytes == 0 {
		l.MaxStackBytes = DefaultMaxStackBytes
	}
	if l.MaxExecutionTime <= 0 {
		l.MaxExecutionTime = DefaultMaxExecutionTime
	}
	return l
}

// check refuses a call under limits that no call keeps.
func (l Limits) check() error {
	switch {
	case l.MaxHeapBytes < MinHeapBytes:
		return &Exception{Reason: "InternalError: out of memory", cause: ErrHeap}
	case l.MaxStackBytes < bytesPerCall:
		return &Exception{Reason: "InternalError: stack overflow", cause: errStack}
	}
	return nil
}

// maxCallDepth is the number of nested calls that the stack limit allows. Calls that
// go through native code (a callback of Array.prototype.map, a getter, a proxy trap)
// cost Go stack, a few KiB each, so the depth has a ceiling whatever the setting.
func (l Limits) maxCallDepth() int {
	return int(min(l.MaxStackBytes/bytesPerCall, 32<<10))
}

// storedLimits are limits as the runtime options and endpoints hold them.
type storedLimits struct {
	Heap  uint64  `json:"max_heap_bytes"`
	Stack uint64  `json:"max_stack_bytes"`
	Time  *uint64 `json:"max_execution_time_ms"` // 0 is no time at all
}

// limits are the stored ones; the zero value of a field stays.
func (l storedLimits) limits() Limits {
	const longest = uint64(time.Hour / time.Millisecond)
	out := Limits{MaxHeapBytes: l.Heap, MaxStackBytes: l.Stack}
	if l.Time != nil {
		out.MaxExecutionTime = max(1, time.Duration(min(*l.Time, longest))*time.Millisecond)
	}
	return out
}
