package apptest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dop251/goja"

	"chancery/gov/constitution"
	"chancery/internal/appbuild"
	"chancery/js"
	"chancery/kv"
	"chancery/kv/writeset"
)

// Result is the outcome of one test.
type Result struct {
	// File and Name say which test it is.
	File, Name string
	// Err is why it failed, nil if it passed; an *js.Exception has the trace.
	Err error
	// Log holds what the test and the application printed, a line each.
	Log  []string
	Took time.Duration
}

// maxTime bounds one test.
const maxTime = time.Minute

// Run runs all tests, one after the other, and reports each when it is over. The error
// says that nothing could be run: the constitution refuses the application, a test does
// not compile.
func Run(ctx context.Context, bundle *appbuild.Bundle, tests []appbuild.Module, report func(Result)) error {
	store, err := deploy(ctx, bundle)
	if err != nil {
		return err
	}
	apps := new(js.Apps)
	for _, file := range tests {
		m, err := js.Compile(file.Name, file.Module)
		if err != nil {
			return fmt.Errorf("%s: %w", file.Name, describe(err))
		}
		for _, name := range slices.Sorted(slices.Values(m.Exports())) {
			if !strings.HasPrefix(name, "test") {
				continue
			}
			if err := store.Rollback(deployed); err != nil {
				return fmt.Errorf("going back to the state before the test: %w", err)
			}
			t := &test{ctx: ctx, store: store, apps: apps}
			start := time.Now()
			err := t.run(m, name)
			report(Result{File: file.Name, Name: name, Err: err, Log: t.log, Took: time.Since(start)})
		}
	}
	return ctx.Err()
}

// describe adds the trace of an exception that has one.
func describe(err error) error {
	var x *js.Exception
	if errors.As(err, &x) && x.Trace != "" {
		return fmt.Errorf("%w\n%s", err, strings.TrimRight(x.Trace, "\n"))
	}
	return err
}

// deployed is the seqno at which the application is in the store.
const deployed = 1

// deploy makes a store that holds the application alone.
func deploy(ctx context.Context, bundle *appbuild.Bundle) (*kv.Store, error) {
	store := kv.NewStore()
	tx := store.Begin()
	if err := Install(ctx, tx, bundle); err != nil {
		return nil, err
	}
	if _, err := store.Commit(tx, writeset.TxID{View: view, Seqno: deployed}); err != nil {
		return nil, fmt.Errorf("deploying the application: %w", err)
	}
	return store, nil
}

// Install deploys an application in a transaction, as the default constitution's
// set_js_app does, which judges it first.
func Install(ctx context.Context, tx *kv.Tx, bundle *appbuild.Bundle) error {
	rules, err := js.Compile("constitution", constitution.Default())
	if err != nil {
		return fmt.Errorf("compiling the constitution: %w", err)
	}
	proposal, err := json.Marshal(map[string]any{"actions": []any{map[string]any{"name": "set_js_app", "args": map[string]any{"bundle": bundle}}}})
	if err != nil {
		return fmt.Errorf("writing the proposal: %w", err)
	}
	verdict, err := rules.Call(ctx, js.Env{Tx: tx, Access: js.GovReadOnly}, "validate", string(proposal))
	if err != nil {
		return fmt.Errorf("validating the application: %w", describe(err))
	}
	if !verdict.Field("valid").IsTrue() {
		return fmt.Errorf("the constitution refuses the application: %s", verdict.Field("description"))
	}
	env := js.Env{Tx: tx, Access: js.GovReadWrite, Extend: func(vm *goja.Runtime, ccf *goja.Object) {
		// What the service does when the table of modules has changed.
		_ = ccf.Set("refreshAppBytecodeCache", func(goja.FunctionCall) goja.Value {
			if err := js.CheckModules(tx); err != nil {
				panic(js.Throw(vm, err))
			}
			return goja.Undefined()
		})
	}}
	if _, err := rules.Call(ctx, env, "apply", string(proposal), "test"); err != nil {
		return fmt.Errorf("deploying the application: %w", describe(err))
	}
	return nil
}

// view is that of every transaction.
const view = 2

// test is one test that runs.
type test struct {
	ctx     context.Context
	store   *kv.Store
	apps    *js.Apps
	log     []string
	callers int
}

//go:embed host.js
var hostSource string

// run calls the test's function.
func (t *test) run(m *js.Module, name string) error {
	var failed error
	env := js.Env{
		Tx: t.store.Begin(), Access: js.AppReadOnly, Log: t.print,
		Limits: js.Limits{MaxExecutionTime: maxTime},
		Extend: func(vm *goja.Runtime, _ *goja.Object) { failed = t.install(vm) },
	}
	_, err := m.Call(t.ctx, env, name)
	if failed != nil {
		return failed
	}
	return err
}

func (t *test) print(level slog.Level, line string) {
	t.log = append(t.log, fmt.Sprintf("%-5s %s", level, line))
}

// commit gives a transaction the next position.
func (t *test) commit(tx *kv.Tx) error {
	if !tx.Dirty() {
		return nil
	}
	_, err := t.store.Commit(tx, writeset.TxID{View: view, Seqno: t.store.Head().TxID().Seqno + 1})
	return err
}
