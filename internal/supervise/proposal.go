package supervise

import (
	"encoding/json"

	"chancery/internal/appbuild"
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

func setApp(bundle *appbuild.Bundle) action {
	return action{"set_js_app", map[string]any{"bundle": bundle}}
}
