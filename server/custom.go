package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/kv"
	"chancery/server/api"
)

// CustomEndpoints are JavaScript endpoints that an application in Go installs itself, at
// run time, in tables of its own: CCF's DynamicJSEndpointRegistry, with its names, under
// the prefix:
//
//	.metadata, .modules            the endpoints and their modules
//	.runtime_options               limits and such
//	.interpreter_flush             written with each installation
//	.audit.input, .audit.info      the last action, by whom; the ledger has them all
//	.recent_actions                against replays
//
// They run as an application that governance deploys does, and win over the endpoints in
// Go, but not over those of governance.
type CustomEndpoints struct {
	// Restrict narrows what they may do with maps; nil does not.
	Restrict js.Restriction
	// Extend adds globals of the application; nil adds none. A function refuses by
	// panicking with what js.Throw returns.
	Extend func(c *Call, vm *goja.Runtime, global *goja.Object)

	prefix string
	tables js.Tables
	served jsHost
}

// NewCustomEndpoints keeps endpoints under a prefix ("public:custom_endpoints").
func NewCustomEndpoints(prefix string) *CustomEndpoints {
	e := &CustomEndpoints{prefix: prefix, tables: js.TablesUnder(prefix)}
	e.served.custom, e.served.apps.Tables = e, e.tables
	return e
}

func (e *CustomEndpoints) host() *jsHost { return &e.served }

// extend is Extend for one call.
func (e *CustomEndpoints) extend(c *Call) func(*goja.Runtime, *goja.Object) {
	if e.Extend == nil {
		return nil
	}
	return func(vm *goja.Runtime, global *goja.Object) { e.Extend(c, vm, global) }
}

// customBundle is a bundle as set_js_app takes it.
type customBundle struct {
	Metadata struct {
		Endpoints map[string]map[string]json.RawMessage `json:"endpoints"`
	} `json:"metadata"`
	Modules []customModule `json:"modules"`
}

type customModule struct {
	Name   string `json:"name"`
	Module string `json:"module"`
}

// Install replaces the endpoints by those of a bundle, in the call's transaction. A bundle
// of another form is 400 InvalidInput; one that does not link is 500, as in CCF.
func (e *CustomEndpoints) Install(c *Call, bundle []byte) error {
	var b customBundle
	if err := decodeJSON(bundle, &b); err != nil {
		return err
	}
	c.Tx.Clear(e.tables.Endpoints)
	for path, methods := range b.Metadata.Endpoints {
		for method, properties := range methods {
			var compact bytes.Buffer
			if err := json.Compact(&compact, properties); err != nil {
				return fmt.Errorf("endpoint %s %s: %w", method, path, err)
			}
			c.Tx.Put(e.tables.Endpoints, []byte(strings.ToUpper(method)+" "+path), compact.Bytes())
		}
	}
	c.Tx.Clear(e.tables.Modules)
	for _, m := range b.Modules {
		c.Tx.Put(e.tables.Modules, moduleKey(m.Name), []byte(m.Module))
	}
	c.Tx.Put(e.tables.Flush, tables.SingletonKey, []byte("true"))
	if err := e.tables.Check(c.Tx); err != nil {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "Failed to install endpoints: %s", err)
	}
	return nil
}

// moduleKey is the key of a module: its name with a leading slash.
func moduleKey(name string) []byte { return []byte("/" + strings.TrimPrefix(name, "/")) }

// Bundle returns what is installed, as Install takes it.
func (e *CustomEndpoints) Bundle(c *Call) any {
	b := customBundle{Modules: []customModule{}}
	b.Metadata.Endpoints = make(map[string]map[string]json.RawMessage)
	for key, properties := range c.Tx.Range(e.tables.Endpoints, kv.Bounds{}) {
		method, path, _ := strings.Cut(string(key), " ")
		if b.Metadata.Endpoints[path] == nil {
			b.Metadata.Endpoints[path] = make(map[string]json.RawMessage)
		}
		b.Metadata.Endpoints[path][method] = properties
	}
	for name, text := range c.Tx.Range(e.tables.Modules, kv.Bounds{}) {
		b.Modules = append(b.Modules, customModule{string(name), string(text)})
	}
	return b
}

// Module returns the text of an installed module; ok is false where there is none.
func (e *CustomEndpoints) Module(c *Call, name string) (text string, ok bool) {
	value, ok := c.Tx.Get(e.tables.Modules, moduleKey(name))
	return string(value), ok
}

// RuntimeOptions are the options under which custom endpoints run, with CCF's names.
type RuntimeOptions struct {
	MaxHeapBytes           uint64 `json:"max_heap_bytes"`
	MaxStackBytes          uint64 `json:"max_stack_bytes"`
	MaxExecutionTimeMS     uint64 `json:"max_execution_time_ms"`
	LogExceptionDetails    bool   `json:"log_exception_details"`
	ReturnExceptionDetails bool   `json:"return_exception_details"`
	MaxCachedInterpreters  uint64 `json:"max_cached_interpreters"`
}

// defaultRuntimeOptions are CCF's.
func defaultRuntimeOptions() RuntimeOptions {
	return RuntimeOptions{
		MaxHeapBytes: js.DefaultMaxHeapBytes, MaxStackBytes: js.DefaultMaxStackBytes,
		MaxExecutionTimeMS: uint64(js.DefaultMaxExecutionTime.Milliseconds()), MaxCachedInterpreters: js.DefaultMaxCachedInterpreter,
	}
}

// Options returns the options in force.
func (e *CustomEndpoints) Options(c *Call) (RuntimeOptions, error) {
	o := defaultRuntimeOptions()
	row, ok := c.Tx.Get(e.tables.Options, tables.SingletonKey)
	if !ok {
		return o, nil
	}
	if err := json.Unmarshal(row, &o); err != nil {
		return o, fmt.Errorf("reading the runtime options: %w", err)
	}
	return o, nil
}

// PatchOptions changes the options that a JSON merge patch names, null to the default, and
// returns those in force then. Another form is 400 InvalidInput.
func (e *CustomEndpoints) PatchOptions(c *Call, patch []byte) (RuntimeOptions, error) {
	var fields map[string]json.RawMessage
	if err := decodeJSON(patch, &fields); err != nil {
		return RuntimeOptions{}, err
	}
	o, err := e.Options(c)
	if err != nil {
		return o, err
	}
	// null leaves a field of a struct alone: defaults go in by name first.
	defaults, err := json.Marshal(defaultRuntimeOptions())
	if err != nil {
		return o, fmt.Errorf("encoding the default options: %w", err)
	}
	var byName map[string]json.RawMessage
	if err := json.Unmarshal(defaults, &byName); err != nil {
		return o, fmt.Errorf("reading the default options: %w", err)
	}
	for name, value := range fields {
		if string(value) == "null" {
			fields[name] = byName[name]
		}
	}
	merged, err := json.Marshal(fields)
	if err != nil {
		return o, fmt.Errorf("merging the options: %w", err)
	}
	if err := decodeJSON(merged, &o); err != nil {
		return o, err
	}
	row, err := json.Marshal(o)
	if err != nil {
		return o, fmt.Errorf("encoding the options: %w", err)
	}
	c.Tx.Put(e.tables.Options, tables.SingletonKey, row)
	return o, nil
}

// RecordAction writes the request of a call, and who sent it, where auditors of the ledger
// find it: signed, if it is a COSE envelope.
func (e *CustomEndpoints) RecordAction(c *Call) error {
	format := "JSON"
	if c.Caller.COSE != nil {
		format = "COSE"
	}
	info, err := json.Marshal(struct {
		Format string `json:"format"`
		UserID string `json:"user_id"`
		Action string `json:"action_name"`
	}{format, c.Caller.ID, c.Method + " " + c.FullPath})
	if err != nil {
		return fmt.Errorf("recording the action: %w", err)
	}
	input, err := json.Marshal(base64.StdEncoding.EncodeToString(c.Body))
	if err != nil {
		return fmt.Errorf("recording the action: %w", err)
	}
	c.Tx.Put(e.prefix+".audit.input", tables.SingletonKey, input)
	c.Tx.Put(e.prefix+".audit.info", tables.SingletonKey, info)
	return nil
}

// recentActions is how many signed actions are remembered.
const recentActions = 100

// CheckOriginal refuses a signed action that was applied before, or is older than the
// median of the recent ones, and remembers it otherwise. createdAt is in seconds.
func (e *CustomEndpoints) CheckOriginal(c *Call, createdAt uint64) error {
	table := e.prefix + ".recent_actions"
	sum := sha256.Sum256(c.Body)
	at := fmt.Sprintf("%010d", createdAt)
	name := at + ":" + hex.EncodeToString(sum[:])
	key := fmt.Appendf(nil, "%q", name)
	refused := func(text string) error {
		return api.Errorf(http.StatusInternalServerError, api.InvalidInput, "%s", text)
	}
	if c.Tx.Has(table, key) {
		return refused("Action was already applied")
	}
	var keys []string
	for k := range c.Tx.Range(table, kv.Bounds{}) {
		keys = append(keys, string(k))
	}
	slices.Sort(keys)
	if n := len(keys); n > 0 {
		if median, _, _ := strings.Cut(strings.Trim(keys[n/2], `"`), ":"); at < median {
			return refused("Action created_at timestamp is too old")
		}
	}
	c.Tx.Put(table, key, make([]byte, 8))
	for i := range max(0, len(keys)-(recentActions-1)) {
		c.Tx.Delete(table, []byte(keys[i]))
	}
	return nil
}
