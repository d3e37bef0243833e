package tables

import "encoding/json"

// RuntimeOptions is the value of js_runtime_options; nil members have CCF's defaults.
type RuntimeOptions struct {
	MaxHeapBytes           *uint64 `json:"max_heap_bytes,omitempty"`
	MaxStackBytes          *uint64 `json:"max_stack_bytes,omitempty"`
	MaxExecutionTimeMS     *uint64 `json:"max_execution_time_ms,omitempty"`
	LogExceptionDetails    bool    `json:"log_exception_details,omitempty"`
	ReturnExceptionDetails bool    `json:"return_exception_details,omitempty"`
	MaxCachedInterpreters  *uint64 `json:"max_cached_interpreters,omitempty"`
}

// Tables of the JavaScript application.
var (
	// Modules holds the source of each module; names begin with a slash.
	Modules = textMap(NameModules)
	// Endpoints holds the properties of each endpoint as the constitution wrote them,
	// by "METHOD /path".
	Endpoints      = Map[json.RawMessage]{NameEndpoints, jsonText()}
	RuntimeOption  = jsonValue[RuntimeOptions](NameJSRuntimeOptions)
	ModulesVersion = textValue(NameModulesQuickJSVersion)
	Bytecode       = Map[[]byte]{NameModulesQuickJSBytecode, rawBytes()}
	FlushMarker    = jsonValue[bool](NameInterpreterFlush)
)
