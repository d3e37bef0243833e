package js

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"
)

// sandbox is one interpreter with the ccf object in it. It is for one goroutine; only
// stop is called from others.
type sandbox struct {
	vm     *goja.Runtime
	ccf    *goja.Object
	kv     kvClass
	errs   errorClasses
	json   struct{ stringify goja.Callable } // JSON.stringify as it was before the script
	quiet  bool                              // enableMetricsLogging(false)
	body   *goja.Object                      // request.body
	loaded map[*linked]*goja.Object          // exports of the modules that have run

	// Set for the duration of one call by enter, cleared after it: nothing that the
	// script kept can reach the transaction of a call that is over.
	env     *Env
	request *requestState
	started time.Time
	stopAt  time.Time

	// cause is why the execution is to stop; set once a call, by whoever comes first.
	cause atomic.Pointer[error]
}

// newSandbox makes an interpreter with the parts that every context has.
func newSandbox(l Limits) *sandbox {
	s := &sandbox{vm: goja.New()}
	s.vm.SetMaxCallStackSize(l.maxCallDepth())
	s.vm.SetRandSource(randomFloat)
	s.vm.SetParserOptions()
	s.install()
	return s
}

// randomFloat is the entropy behind Math.random: uniform in [0, 1).
func randomFloat() float64 {
	var b [8]byte
	rand.Read(b[:])
	return float64(binary.LittleEndian.Uint64(b[:])>>11) / (1 << 53)
}

// stop ends the execution at the next JavaScript instruction, for the given reason.
func (s *sandbox) stop(why error) {
	if s.cause.CompareAndSwap(nil, &why) {
		s.vm.Interrupt(why)
	}
}

// stopped returns why the execution is being stopped; ErrTimeout when nothing said why.
func (s *sandbox) stopped() error {
	if p := s.cause.Load(); p != nil {
		return *p
	}
	return ErrTimeout
}

// abort ends the execution from inside a host function: no catch or finally of the
// script sees it, and the caller gets why.
func (s *sandbox) abort(why error) {
	s.cause.CompareAndSwap(nil, &why)
	panic(&goja.InterruptedError{})
}

// checkTime aborts an execution that is over its time or has been stopped. Host
// functions with loops call it, since an interrupt is only seen between instructions.
func (s *sandbox) checkTime() {
	if s.cause.Load() != nil {
		panic(&goja.InterruptedError{})
	}
	if !s.stopAt.IsZero() && time.Now().After(s.stopAt) {
		s.abort(ErrTimeout)
	}
}

// call runs f, which evaluates script code, under env's limits, and words whatever it
// throws. The returned error is nil, an *Exception, or an *abort.
func (s *sandbox) call(ctx context.Context, env *Env, f func() error) (err error) {
	if err := ctx.Err(); err != nil {
		return &Exception{Reason: err.Error(), cause: err}
	}
	limits := env.Limits.withDefaults()
	s.env, s.started = env, time.Now()
	s.stopAt = s.started.Add(limits.MaxExecutionTime)
	s.cause.Store(nil)
	timer := time.AfterFunc(limits.MaxExecutionTime, func() { s.stop(ErrTimeout) })
	defer timer.Stop()
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { s.stop(context.Cause(ctx)) })()
	}
	defer watch(s, limits.MaxHeapBytes)()
	defer func() {
		if r := recover(); r != nil {
			err = &abort{message: fmt.Sprintf("internal error of the JavaScript engine: %v", r)}
		}
		s.env, s.request = nil, nil
	}()
	return s.guarded(f)
}

// guarded runs f and turns what it threw into the error that the caller gets.
func (s *sandbox) guarded(f func() error) (err error) {
	if ex := s.try(func() { err = f() }); ex != nil {
		err = ex
	}
	if err == nil {
		return nil
	}
	var a *abort
	if p := s.cause.Load(); p != nil && errors.As(*p, &a) {
		return a
	}
	if errors.As(err, &a) {
		return a
	}
	var mine *Exception
	if errors.As(err, &mine) {
		return mine
	}
	return s.exception(err)
}

// try runs f and returns what it threw, uncatchable or not.
func (s *sandbox) try(f func()) (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case *goja.InterruptedError:
			err = x
		case *goja.StackOverflowError:
			err = x
		case *goja.Exception:
			err = x
		default:
			panic(x)
		}
	}()
	if ex := s.vm.Try(f); ex != nil {
		return ex
	}
	return nil
}
