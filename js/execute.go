package js

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"

	"github.com/dop251/goja"
)

// EndpointError is why an endpoint gave no response. It is answered with status 500
// and CCF's code InternalError.
type EndpointError struct {
	// Message is the text for the error body.
	Message string
	// Exception holds reason and trace for the JSException detail, which is sent if the
	// runtime options ask for it; nil: nothing was thrown.
	Exception *Exception
}

func (e *EndpointError) Error() string { return e.Message }

// Unwrap returns the exception.
func (e *EndpointError) Unwrap() error {
	if e.Exception == nil {
		return nil
	}
	return e.Exception
}

// Execute runs an endpoint of the application for one request. The error is an
// *EndpointError, or ErrAgain; the transaction is then to be dropped.
func (a *App) Execute(ctx context.Context, e *Endpoint, r *Request) (*Response, error) {
	resp, err := a.execute(ctx, e, r)
	if err == nil {
		return resp, nil
	}
	if errors.Is(err, ErrAgain) {
		return nil, err
	}
	failed := endpointError(err)
	if a.Options.LogExceptionDetails && failed.Exception != nil && r.Log != nil {
		r.Log(slog.LevelError, failed.Exception.Reason+"\n"+failed.Exception.Trace)
	}
	return nil, failed
}

func endpointError(err error) *EndpointError {
	var stopped *abort
	var thrown *Exception
	switch {
	case errors.As(err, &stopped):
		return &EndpointError{Message: stopped.message}
	case errors.Is(err, ErrTimeout) && errors.As(err, &thrown):
		// The engine's word, which CCF replaces in governance alone.
		return &EndpointError{Message: reasonTimeout, Exception: &Exception{Reason: "InternalError: interrupted", Trace: thrown.Trace, cause: thrown.cause}}
	case errors.As(err, &thrown) && thrown.setup:
		return &EndpointError{Message: thrown.Reason}
	case errors.As(err, &thrown):
		return &EndpointError{Message: reasonThrown, Exception: thrown}
	}
	return &EndpointError{Message: err.Error()}
}

// execute runs an endpoint in the interpreter that it asks for: one that is kept for
// its reuse key; one of its own where it changes built-ins; and otherwise a hardened
// one, which many requests share one after another without seeing each other.
func (a *App) execute(ctx context.Context, e *Endpoint, r *Request) (*Response, error) {
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for an interpreter: %w", context.Cause(ctx))
	}
	bundle, err := a.bundle(e)
	if err != nil {
		return nil, setupFailure(err)
	}
	switch {
	case e.ReuseKey != "":
		s := a.pool.take(e)
		if s == nil {
			s = newSandbox(false, appTable)
		}
		resp, err := a.runIn(ctx, s, bundle, e, r)
		if err == nil && !s.spoiled {
			a.pool.put(e, s)
		}
		return resp, err
	case bundle.patches.Load():
		return a.runIn(ctx, newSandbox(false, appTable), bundle, e, r)
	}
	s := hardenedIdlers.take()
	s.serve(a)
	resp, err := a.runIn(ctx, s, bundle, e, r)
	if !s.spoiled {
		hardenedIdlers.put(s)
	}
	if !changedFrozen(err) {
		return resp, err
	}
	if r.Tx.Dirty() {
		bundle.patches.Store(true)
		return nil, ErrAgain
	}
	// What failed may be a change to a built-in or to an object of a constant module,
	// which is the application's right: see whether it ends otherwise in an interpreter of
	// its own, and remember that.
	again, err2 := a.runIn(ctx, newSandbox(false, appTable), bundle, e, r)
	if err2 == nil || err2.Error() != err.Error() {
		bundle.patches.Store(true)
	}
	return again, err2
}

// ErrAgain says that the request is to be executed once more, over a new transaction.
var ErrAgain = errors.New("the endpoint is to be executed again")

func changedFrozen(err error) bool {
	var thrown *Exception
	return errors.As(err, &thrown) && refused.MatchString(strings.TrimPrefix(thrown.Reason, thrown.prefix))
}

// runIn runs an endpoint in an interpreter.
func (a *App) runIn(ctx context.Context, s *sandbox, bundle *linked, e *Endpoint, r *Request) (resp *Response, err error) {
	env := &Env{Tx: r.Tx, Access: e.access(), Restrict: r.Restrict, Limits: e.limits(a.Options.Limits), Log: r.Log, Now: r.Now, Random: r.Random}
	var result goja.Value
	respond := func() error {
		if resp, err = s.response(result); err == nil {
			resp.ApplyWrites, resp.Claims, resp.Quiet = s.request.apply, s.request.claims, s.quiet
		}
		return err
	}
	err = s.call(ctx, env, func() error {
		s.request = &requestState{Request: r, endpoint: e}
		if r.Past != nil {
			_ = s.ccf.Set("historicalState", s.stateObject(r.Past))
		} else if e.ReuseKey != "" {
			_ = s.ccf.Delete("historicalState")
		}
		if r.Extend != nil {
			r.Extend(s.vm, s.vm.GlobalObject())
		}
		f, err := s.export(bundle, e.Module, e.Function)
		if err != nil {
			return setupFailure(err)
		}
		if result, err = f(goja.Undefined(), s.requestObject()); err != nil || isPromise(result) {
			return err
		}
		return respond()
	}, func() error {
		if !isPromise(result) {
			return nil
		}
		if result, err = s.settled(result); err != nil {
			return err
		}
		return respond()
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// setupFailure marks an error that is the bundle's: the answer says what it is.
func setupFailure(err error) error {
	var thrown *Exception
	if errors.As(err, &thrown) {
		failed := *thrown
		failed.setup = true
		return &failed
	}
	return err
}

var promiseType = reflect.TypeFor[*goja.Promise]()

func isPromise(v goja.Value) bool {
	o, ok := v.(*goja.Object)
	return ok && o.ExportType() == promiseType
}

// settled is the outcome of an async function's promise. Pending jobs have run when
// the function returned; what is still unsettled then can never settle, since nothing
// outside the script can wake it.
func (s *sandbox) settled(v goja.Value) (goja.Value, error) {
	p := v.(*goja.Object).Export().(*goja.Promise)
	switch p.State() {
	case goja.PromiseStateFulfilled:
		return p.Result(), nil
	case goja.PromiseStateRejected:
		return nil, &Exception{Reason: s.text(p.Result()), Trace: s.stackOf(p.Result())}
	}
	return nil, &Exception{Reason: "Error: the promise that the function returned can never settle"}
}

// stackOf is the stack property of an error object, "" for anything else.
func (s *sandbox) stackOf(v goja.Value) (stack string) {
	if o, ok := v.(*goja.Object); ok && o.ClassName() == "Error" {
		_ = s.try(func() { stack = o.Get("stack").String() })
	}
	return stack
}
