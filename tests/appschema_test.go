package tests

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"chancery/gov/constitution"
	"chancery/js"
	"chancery/kv"
)

// TestAppSchema: the JSON Schema of app.json takes what the constitution takes, refuses
// what it refuses, and takes the samples.
func TestAppSchema(t *testing.T) {
	c := jsonschema.NewCompiler()
	schema, err := c.Compile("../samples/types/app.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	takes := func(text string) error {
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(instance)
	}
	for _, sample := range []string{"logging/js", "logging/ts", "empty", "banking", "reconciliation", "roles"} {
		text, err := os.ReadFile("../samples/" + sample + "/app.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := takes(string(text)); err != nil {
			t.Errorf("%s: %v", sample, err)
		}
	}

	rules, err := js.Compile("constitution", constitution.Default())
	if err != nil {
		t.Fatal(err)
	}
	valid := func(endpoint string) bool {
		proposal := `{"actions": [{"name": "set_js_app", "args": {"bundle": {"modules": [{"name": "a.js", "module": ""}], "metadata": {"endpoints": ` + endpoint + `}}}}]}`
		v, err := rules.Call(t.Context(), js.Env{Tx: kv.NewStore().Begin(), Access: js.GovReadOnly}, "validate", proposal)
		if err != nil {
			t.Fatal(err)
		}
		return v.Field("valid").IsTrue()
	}
	edits := map[string]struct {
		edit func(endpoint map[string]any)
		want bool
	}{
		"as it is":           {func(map[string]any) {}, true},
		"unknown property":   {func(e map[string]any) { e["own"] = 1 }, true},
		"recorded":           {func(e map[string]any) { e["chancery"] = object{"record": true} }, true},
		"recorded, in words": {func(e map[string]any) { e["chancery"] = object{"record": "yes"} }, false},
		"own limits": {func(e map[string]any) {
			e["chancery"] = object{"limits": object{"max_heap_bytes": 1 << 20, "max_stack_bytes": 1 << 14, "max_execution_time_ms": 10}}
		}, true},
		"own limit below its floor": {func(e map[string]any) { e["chancery"] = object{"limits": object{"max_execution_time_ms": 9}} }, false},
		"own limit that is none":    {func(e map[string]any) { e["chancery"] = object{"limits": object{"max_time": 10}} }, false},
		"unknown extension":         {func(e map[string]any) { e["chancery"] = object{"recording": true} }, false},
		"extension that is none":    {func(e map[string]any) { e["chancery"] = 1 }, false},
		"no mode":                   {func(e map[string]any) { delete(e, "mode") }, false},
		"no js_function":            {func(e map[string]any) { delete(e, "js_function") }, false},
		"no authn_policies":         {func(e map[string]any) { delete(e, "authn_policies") }, false},
		"no forwarding":             {func(e map[string]any) { delete(e, "forwarding_required") }, false},
		"another mode":              {func(e map[string]any) { e["mode"] = "write" }, false},
		"another forwarding":        {func(e map[string]any) { e["forwarding_required"] = "no" }, false},
		"another redirection":       {func(e map[string]any) { e["redirection_strategy"] = "no" }, false},
		"redirection":               {func(e map[string]any) { e["redirection_strategy"] = "to_backup" }, true},
		"function is no text":       {func(e map[string]any) { e["js_function"] = 1 }, false},
		"policies are no array":     {func(e map[string]any) { e["authn_policies"] = "jwt" }, false},
		"policy is a number":        {func(e map[string]any) { e["authn_policies"] = []any{1} }, false},
		"all_of": {func(e map[string]any) {
			e["authn_policies"] = []any{map[string]any{"all_of": []string{"jwt", "user_cert"}}}
		}, true},
		"openapi is a number": {func(e map[string]any) { e["openapi"] = 1 }, false},
		"hidden is text":      {func(e map[string]any) { e["openapi_hidden"] = "yes" }, false},
		"hidden":              {func(e map[string]any) { e["openapi_hidden"] = true }, true},
	}
	for name, c := range edits {
		e := map[string]any{"js_module": "a.js", "js_function": "f", "mode": "readonly", "forwarding_required": "never", "authn_policies": []any{"jwt"}, "openapi": map[string]any{}}
		c.edit(e)
		text, err := json.Marshal(map[string]any{"/x": map[string]any{"get": e}})
		if err != nil {
			t.Fatal(err)
		}
		if got := valid(string(text)); got != c.want {
			t.Errorf("%s: the constitution says %v, want %v", name, got, c.want)
		}
		if err := takes(`{"endpoints": ` + string(text) + `}`); (err == nil) != c.want {
			t.Errorf("%s: the schema says %v, want %v", name, err, c.want)
		}
	}
}
