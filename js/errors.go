package js

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dop251/goja"
)

// ErrTimeout is the cause of an *Exception when the execution ran out of time.
var ErrTimeout = errors.New("operation took too long to complete")

// ErrHeap is the cause of an *Exception when the execution held more memory than its limit.
var ErrHeap = errors.New("out of memory")

// ErrNoExport is the cause of an *Exception when no function was called at all: the
// module does not export it, or threw while it was evaluated.
var ErrNoExport = errors.New("the module gave no function to call")

// errStack is the cause of an *Exception when calls nested too deeply.
var errStack = errors.New("stack overflow")

// CCF's wordings of a failed execution.
const (
	reasonTimeout = "Operation took too long to complete."
	reasonThrown  = "Exception thrown while executing."
)

// Exception says why a script ended without a result: it threw, ran out of a limit,
// or does not compile.
type Exception struct {
	// Reason is the thrown value as text ("TypeError: x is not a function"), or
	// "Operation took too long to complete.".
	Reason string
	// Trace is the call stack, one "    at <function> (<module>:<line>)" a line, ""
	// when there is none. Positions are those of the source as it was deployed.
	Trace string

	cause  error
	prefix string // what stands before the thrown value in Reason
	setup  bool   // the module or its export is missing, or does not compile
}

func (e *Exception) Error() string { return e.Reason }

// Unwrap returns ErrTimeout or ErrHeap for an exceeded limit, ctx's error for a call
// that was given up, a host function's own Go error, else nil.
func (e *Exception) Unwrap() error { return e.cause }

// abort is an error that ends the whole execution past every catch block of the
// script, as an exception of CCF's C++ code does.
type abort struct{ message string }

func (a *abort) Error() string { return a.message }

// ccfText is an error whose text is CCF's, capitals and all.
type ccfText string

func (t ccfText) Error() string { return string(t) }

// exception words an error of goja as an *Exception. It may run code of the script
// (toString of the thrown value), so it is called while the limits are still armed.
func (s *sandbox) exception(err error) *Exception {
	var thrown *goja.Exception
	var deep *goja.StackOverflowError
	var interrupted *goja.InterruptedError
	switch {
	case errors.As(err, &interrupted):
		return interruption(s.stopped(), traceOf(interrupted.Stack()))
	case errors.As(err, &deep):
		return &Exception{Reason: "InternalError: stack overflow", Trace: traceOf(deep.Stack()), cause: errStack}
	case errors.As(err, &thrown):
		reason := s.text(thrown.Value())
		if s.cause.Load() != nil { // it ran out of a limit only now
			return interruption(s.stopped(), traceOf(thrown.Stack()))
		}
		return &Exception{Reason: reason, Trace: traceOf(thrown.Stack()), cause: thrown.Unwrap()}
	}
	return &Exception{Reason: err.Error(), cause: err}
}

func interruption(stopped error, trace string) *Exception {
	switch {
	case errors.Is(stopped, ErrTimeout):
		return &Exception{Reason: reasonTimeout, Trace: trace, cause: ErrTimeout}
	case errors.Is(stopped, ErrHeap):
		return &Exception{Reason: "InternalError: out of memory", Trace: trace, cause: ErrHeap}
	}
	return &Exception{Reason: stopped.Error(), Trace: trace, cause: stopped}
}

// text is the script's String(v), or a placeholder where that throws.
func (s *sandbox) text(v goja.Value) (text string) {
	text = "[object]"
	if v != nil {
		_ = s.try(func() { text = v.String() })
	}
	return text
}

// maxTrace bounds the frames of a trace.
const maxTrace = 32

func traceOf(frames []goja.StackFrame) string {
	var b strings.Builder
	n := 0
	for _, f := range frames {
		p := f.Position()
		if f.SrcName() == engineFile || p.Filename == "" && strings.HasPrefix(f.FuncName(), "chancery/") {
			continue // ours
		}
		if n++; n > maxTrace {
			b.WriteString("    ...\n")
			break
		}
		if p.Filename == "" {
			fmt.Fprintf(&b, "    at %s (native)\n", f.FuncName())
			continue
		}
		fmt.Fprintf(&b, "    at %s (%s:%d)\n", f.FuncName(), p.Filename, p.Line)
	}
	return b.String()
}
