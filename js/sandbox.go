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
	vm         *goja.Runtime
	hardened   bool         // built-ins are frozen, globals are made anew for each call
	base       *goja.Object // the global object that has the built-ins
	errs       errorClasses
	intrinsics intrinsics
	functions  map[*member]goja.Value        // host functions made so far
	kvProto    *goja.Object                  // prototype of map handles
	replaced   map[*goja.Object]*goja.Object // constructors by what guard put in their place

	// constants are modules of the application that was run last which serve any number
	// of calls; freezeAll freezes what is reachable from a list. Hardened ones only.
	owner     *App
	constants map[*linked]*exports
	freezeAll goja.Callable

	// enter is a JavaScript function that calls its argument, main the native function
	// that runs body: what runs below it is one run of the engine, whose stack is
	// allocated once.
	enter goja.Callable
	main  goja.Value
	body  func()

	// For the call that runs, or for all calls where globals are kept.
	ccf    *goja.Object
	loaded map[*linked]*exports // modules that have run
	quiet  bool                 // enableMetricsLogging(false)
	chains map[*goja.Object]int // depth of proxies and bound functions
	joins  int                  // nested conversions of arrays to strings
	json   jsonWalk             // the innermost call of JSON.stringify

	bounds   map[string]goja.Value                                 // see guardBigInts
	made     map[*goja.Object]func(args []goja.Value) *goja.Object // what constructors make otherwise; nil: as ever
	replacer goja.Value                                            // jsonValue, once it was needed

	// Set for the duration of one call, cleared after it: nothing that the script kept
	// can reach the transaction of a call that is over.
	env     *Env
	request *requestState
	limits  Limits
	started time.Time
	stopAt  time.Time
	ticks   uint
	slot    uint8 // by which the watchdog tells calls apart

	// spoiled: the last call was stopped, or may yet be; the interpreter is not to be
	// used again.
	spoiled bool

	// cause is why the execution is to stop; set once a call, by whoever comes first.
	cause atomic.Pointer[error]
}

// intrinsics are built-ins as they were before any script ran.
type intrinsics struct {
	freeze    goja.Callable
	stringify native // JSON.stringify
}

var enterProgram = goja.MustCompile(engineFile, "(function (main) { main(); })", true)

// newSandbox makes an interpreter whose ccf object has the members of the table. In a
// hardened one, scripts cannot change the built-ins, and install is left to each call.
func newSandbox(hardened bool, ccf *hostTable) *sandbox {
	s := &sandbox{vm: goja.New(), hardened: hardened, functions: make(map[*member]goja.Value)}
	s.base = s.vm.GlobalObject()
	s.vm.SetRandSource(s.random)
	s.vm.SetTimeSource(s.now)
	s.captureErrors()
	object := s.base.Get("Object").(*goja.Object)
	s.intrinsics.freeze, _ = goja.AssertFunction(object.Get("freeze"))
	s.intrinsics.stringify = nativeOf(s.base.Get("JSON").(*goja.Object).Get("stringify"))
	s.guard()
	s.enter, _ = goja.AssertFunction(s.must(s.vm.RunProgram(enterProgram)))
	s.main = s.vm.ToValue(func(goja.FunctionCall) goja.Value {
		s.body()
		return goja.Undefined()
	})
	if hardened {
		s.harden()
	} else {
		s.install(ccf)
	}
	return s
}

// now is the clock behind Date.
func (s *sandbox) now() time.Time {
	if s.env != nil && s.env.Now != nil {
		return s.env.Now()
	}
	return time.Now()
}

// random stands behind Math.random: the system's entropy, uniform in [0, 1).
func (s *sandbox) random() float64 {
	if s.env != nil && s.env.Random != nil {
		return s.env.Random()
	}
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
	if s.env != nil && time.Now().After(s.stopAt) {
		s.abort(ErrTimeout)
	}
}

// tick is checkTime for functions that are called for each element of something.
func (s *sandbox) tick() {
	if s.ticks++; s.ticks%256 == 0 {
		s.checkTime()
	}
}

// call runs f, which evaluates script code, under env's limits, and words whatever it
// throws. Promise jobs that f left behind run after it; then is called after those, if
// f and they went well. The returned error is nil, an *Exception, or an *abort.
func (s *sandbox) call(ctx context.Context, env *Env, f, then func() error) (err error) {
	if err := ctx.Err(); err != nil {
		return &Exception{Reason: err.Error(), cause: err}
	}
	s.limits = env.Limits.withDefaults()
	if err := s.limits.check(); err != nil {
		return err
	}
	s.begin(env)
	timer := time.AfterFunc(s.limits.MaxExecutionTime, func() { s.stop(ErrTimeout) })
	late := func() bool { return !timer.Stop() }
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { s.stop(context.Cause(ctx)) })
		late = func() bool { return !timer.Stop() || !stop() }
	}
	done := watch(s)
	defer func() {
		done()
		if r := recover(); r != nil {
			err = &abort{message: fmt.Sprintf("internal error of the JavaScript engine: %v", r)}
			s.spoiled = true
		}
		if late() || s.cause.Load() != nil || errors.Is(err, errStack) {
			s.spoiled = true
		}
		s.end()
	}()
	return s.guarded(func() error {
		if err := s.run(f); err != nil {
			return err
		}
		return s.run(then)
	})
}

func (s *sandbox) begin(env *Env) {
	s.vm.SetMaxCallStackSize(s.limits.maxCallDepth())
	s.env, s.started = env, time.Now()
	s.stopAt = s.started.Add(s.limits.MaxExecutionTime)
	s.cause.Store(nil)
	s.ticks, s.joins = 0, 0
	if s.hardened {
		s.freshGlobals()
	}
}

func (s *sandbox) end() {
	s.env, s.request, s.body = nil, nil, nil
	if s.hardened {
		s.vm.SetGlobalObject(s.base)
		s.ccf, s.loaded, s.chains, s.quiet = nil, nil, nil, false
	}
}

// run runs f as one run of the engine, at whose end pending promise jobs run.
func (s *sandbox) run(f func() error) error {
	if f == nil {
		return nil
	}
	var failed error
	s.body = func() { failed = s.catch(f) }
	var err error
	inSlot(s.slot, func() { _, err = s.enter(goja.Undefined(), s.main) })
	if failed != nil {
		return failed
	}
	return err
}

// catch runs f and returns what it threw or returned.
func (s *sandbox) catch(f func() error) (err error) {
	if ex := s.try(func() { err = f() }); ex != nil {
		return ex
	}
	return err
}

// guarded runs f and turns what it threw into the error that the caller gets.
func (s *sandbox) guarded(f func() error) error {
	err := s.catch(f)
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
