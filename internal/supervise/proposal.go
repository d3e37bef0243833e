package supervise

import (
	"encoding/json"

	"chancery/internal/appbuild"
	"chancery/js"
)

// action is one action of a proposal.
type action struct {
	Name string `json:"name"`
	Args any    `json:"args,omitempty"`
}

func proposal(actions ...action) ([]byte, error) {
	return json.Marshal(map[string]any{"actions": actions})
}

// SetApp returns the proposal that deploys an application.
func SetApp(bundle *appbuild.Bundle) ([]byte, error) { return proposal(setApp(bundle)) }

// ShowExceptions returns the proposal by which what an application throws is logged and
// shown to the caller, under the default limits.
func ShowExceptions() ([]byte, error) {
	return proposal(action{"set_js_runtime_options", map[string]any{
		"max_heap_bytes": js.DefaultMaxHeapBytes, "max_stack_bytes": js.DefaultMaxStackBytes,
		"max_execution_time_ms": js.DefaultMaxExecutionTime.Milliseconds(),
		"log_exception_details": true, "return_exception_details": true,
	}})
}

func setApp(bundle *appbuild.Bundle) action {
	return action{"set_js_app", map[string]any{"bundle": bundle}}
}
