package gov

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/kv"
)

// constitution is the one in force in a transaction, compiled.
type constitution struct {
	module *js.Module
	limits js.Limits
}

// constitutionName is how error messages and traces name the constitution's source.
const constitutionName = tables.NameConstitution + "[0]"

// loadConstitution returns the constitution of the service, nil when there is none.
func loadConstitution(tx *kv.Tx) (*constitution, error) {
	source, ok, err := tables.Constitution.Get(tx)
	if err != nil || !ok {
		return nil, err
	}
	limits, err := runtimeLimits(tx)
	if err != nil {
		return nil, err
	}
	module, err := compiled.get(constitutionName, source)
	if err != nil {
		return nil, failed("%s", err)
	}
	return &constitution{module, limits}, nil
}

// runtimeLimits are the configured ones, but never less than the defaults: an
// application's limits must not end its governance.
func runtimeLimits(tx *kv.Tx) (js.Limits, error) {
	o, _, err := tables.RuntimeOption.Get(tx)
	if err != nil {
		return js.Limits{}, err
	}
	return js.Limits{
		MaxHeapBytes:     tables.Or(o.MaxHeapBytes, 0),
		MaxStackBytes:    tables.Or(o.MaxStackBytes, 0),
		MaxExecutionTime: time.Duration(min(tables.Or(o.MaxExecutionTimeMS, 0), maxExecutionMS)) * time.Millisecond,
	}.AtLeastDefaults(), nil
}

// maxExecutionMS keeps a configured time within what a time.Duration holds.
const maxExecutionMS = 24 * 60 * 60 * 1000

// compiled keeps the last constitution, since every governance request runs it. The
// source is its key, so it holds nothing that a table does not.
var compiled moduleCache

type moduleCache struct {
	mu     sync.Mutex
	digest [sha256.Size]byte
	module *js.Module
}

func (c *moduleCache) get(name, source string) (*js.Module, error) {
	digest := sha256.Sum256([]byte(source))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.module != nil && c.digest == digest {
		return c.module, nil
	}
	m, err := js.Compile(name, source)
	if err != nil {
		return nil, fmt.Errorf("Failed to compile %s: %w", name, err)
	}
	c.digest, c.module = digest, m
	return m, nil
}

// env is what the constitution and ballots may touch.
func (c *constitution) env(tx *kv.Tx, fx Effects, access js.Access) js.Env {
	return js.Env{Tx: tx, Access: access, Limits: c.limits, Log: fx.Log}
}

// validate asks the constitution whether a proposal is well formed.
func (c *constitution) validate(ctx context.Context, tx *kv.Tx, fx Effects, proposal []byte) error {
	env := c.env(tx, fx, js.GovReadOnly)
	env.Extend = c.installDryRun(ctx, tx, fx)
	v, err := c.module.Call(ctx, env, "validate", string(proposal))
	if err != nil {
		thrown, err := thrownBy(err)
		if err != nil {
			return err
		}
		return failed("Failed to execute validation: %s %s", thrown.Reason, thrown.Trace)
	}
	if !v.IsObject() {
		return failed("Validation failed to return an object")
	}
	if !truthy(v.Field("valid")) {
		description, _ := v.Field("description").Text()
		return refuse(Invalid, CodeProposalFailedToValidate, "Proposal failed to validate: %s", description)
	}
	return nil
}

// thrownBy tells an exception of a script from everything else that can go wrong with
// a call. Scripts that do not compile or lack an export are the service's failure: their
// text is for the client. What remains, the end of the context above all, is returned.
func thrownBy(err error) (*js.Exception, error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	var thrown *js.Exception
	if errors.As(err, &thrown) && !errors.Is(err, js.ErrNoExport) {
		return thrown, nil
	}
	return nil, failed("%s", err)
}

// truthy is JavaScript's conversion of a value to a boolean.
func truthy(v js.Value) bool {
	if b, ok := v.Bool(); ok {
		return b
	}
	if n, ok := v.Number(); ok {
		return n != 0 && !math.IsNaN(n)
	}
	if t, ok := v.Text(); ok {
		return t != ""
	}
	return !v.IsUndefined() && !v.IsNull()
}
