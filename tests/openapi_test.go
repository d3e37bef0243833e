package tests

import (
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"chancery/server"
	"chancery/server/api"
)

// document is openapi.yaml, as far as the contract goes.
type document struct {
	Paths      map[string]map[string]yaml.Node `yaml:"paths"`
	Components struct {
		Parameters map[string]parameter `yaml:"parameters"`
		Schemas    map[string]schema    `yaml:"schemas"`
	} `yaml:"components"`
}

type parameter struct {
	Ref      string `yaml:"$ref"`
	Name     string `yaml:"name"`
	In       string `yaml:"in"`
	Required bool   `yaml:"required"`
}

type schema struct {
	Required   []string             `yaml:"required"`
	Properties map[string]yaml.Node `yaml:"properties"`
}

type operation struct {
	OperationID string                `yaml:"operationId"`
	Hidden      bool                  `yaml:"x-hidden"`
	Feature     string                `yaml:"x-operator-feature"`
	Parameters  []parameter           `yaml:"parameters"`
	Security    []map[string][]string `yaml:"security"`
	Responses   map[string]struct {
		Content map[string]yaml.Node `yaml:"content"`
	} `yaml:"responses"`
}

// contract is what both sides say of one operation.
type contract struct {
	OperationID string
	Hidden      bool
	Feature     string
	Query       []string // "name" or "name!" where it is required
	Path        []string
	Security    []string
	Success     int
	Type        string // content type of the success; "" without a body
}

func readDocument(t *testing.T) document {
	t.Helper()
	b, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := yaml.Unmarshal(b, &d); err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	return d
}

// documented collects the operations of openapi.yaml by "METHOD /path".
func documented(t *testing.T, d document) map[string]contract {
	t.Helper()
	out := make(map[string]contract)
	for path, item := range d.Paths {
		var shared []parameter
		if n, ok := item["parameters"]; ok {
			if err := n.Decode(&shared); err != nil {
				t.Fatal(err)
			}
		}
		for verb, n := range item {
			if verb == "parameters" {
				continue
			}
			var op operation
			if err := n.Decode(&op); err != nil {
				t.Fatalf("%s %s: %v", verb, path, err)
			}
			key := strings.ToUpper(verb) + " " + path
			out[key] = d.contract(t, key, op, append(shared, op.Parameters...))
		}
	}
	return out
}

func (d document) contract(t *testing.T, key string, op operation, params []parameter) contract {
	t.Helper()
	c := contract{OperationID: op.OperationID, Hidden: op.Hidden, Feature: op.Feature}
	for _, p := range params {
		if p.Ref != "" {
			name := strings.TrimPrefix(p.Ref, "#/components/parameters/")
			q, ok := d.Components.Parameters[name]
			if !ok {
				t.Fatalf("%s: no parameter %s", key, p.Ref)
			}
			p = q
		}
		switch p.In {
		case "path":
			c.Path = append(c.Path, p.Name)
		case "query":
			if p.Required {
				p.Name += "!"
			}
			c.Query = append(c.Query, p.Name)
		}
	}
	slices.Sort(c.Query)
	for _, s := range op.Security {
		for name := range s {
			c.Security = append(c.Security, name)
		}
	}
	for code, r := range op.Responses {
		n, err := strconv.Atoi(code)
		if err != nil || n == 202 || n == 206 || n == 304 || n >= 400 || c.Success != 0 && n > c.Success {
			continue // not the success, or a lesser one
		}
		c.Success, c.Type = n, ""
		for kind := range r.Content {
			c.Type = kind
		}
	}
	return c
}

// routed collects the operations of the route table.
func routed() map[string]contract {
	out := make(map[string]contract)
	for _, r := range server.Routes() {
		c := contract{OperationID: r.OperationID(), Hidden: r.Hidden, Feature: r.Feature, Success: r.Success}
		if c.Success == 0 {
			c.Success = http.StatusOK
		}
		if c.Success == http.StatusOK && r.Method != http.MethodHead && !r.NoBody {
			c.Type = r.Type
			if c.Type == "" {
				c.Type = api.TypeJSON
			}
		}
		for _, q := range r.Query {
			if q.Required {
				q.Name += "!"
			}
			c.Query = append(c.Query, q.Name)
		}
		slices.Sort(c.Query)
		for _, p := range r.Auth {
			c.Security = append(c.Security, p.Name())
		}
		for _, part := range strings.Split(r.Path, "{")[1:] {
			name, _, _ := strings.Cut(part, "}")
			c.Path = append(c.Path, name)
		}
		out[r.Method+" "+r.FullPath()] = c
	}
	return out
}

// TestOpenAPIRoutes compares openapi.yaml with the route table, both ways.
func TestOpenAPIRoutes(t *testing.T) {
	doc, routes := documented(t, readDocument(t)), routed()
	for key, want := range routes {
		got, ok := doc[key]
		if !ok {
			t.Errorf("%s is served and not in openapi.yaml", key)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: the route table (-) and openapi.yaml (+) differ:\n%s", key, d)
		}
	}
	for key := range doc {
		if _, ok := routes[key]; !ok {
			t.Errorf("%s is in openapi.yaml and not served", key)
		}
	}
}

// TestOpenAPISchemas compares the schemas of openapi.yaml with the wire structs, both ways.
func TestOpenAPISchemas(t *testing.T) {
	structs := map[string]any{
		"Commit": api.Commit{}, "TxStatus": api.TxStatus{}, "Written": api.Written{}, "State": api.State{},
		"Version": api.Version{}, "Network": api.Network{}, "Node": api.Node{}, "Nodes": api.Nodes{},
		"Quote": api.Quote{}, "Quotes": api.Quotes{}, "Attestations": api.Attestations{}, "SelfSigned": api.SelfSigned{},
		"PreviousIdentity": api.PreviousIdentity{}, "HistoricalCache": api.HistoricalCache{}, "RefreshMetrics": api.RefreshMetrics{},
		"JSMetrics": api.JSMetrics{}, "Metrics": api.Metrics{}, "Sessions": api.Sessions{},
		"InterfaceSessions": api.InterfaceSessions{}, "SessionErrors": api.SessionErrors{},
		"ConsensusDetails": server.Consensus{}, "Error": api.ErrorBody{},
	}
	schemas := readDocument(t).Components.Schemas
	for name, v := range structs {
		s, ok := schemas[name]
		if !ok {
			t.Errorf("openapi.yaml has no schema %s for %T", name, v)
			continue
		}
		if d := cmp.Diff(fields(v), described(s)); d != "" {
			t.Errorf("%T (-) and the schema %s (+) differ:\n%s", v, name, d)
		}
	}
}

// fields lists a struct's JSON members, "name!" where always present.
func fields(v any) []string {
	var out []string
	rt := reflect.TypeOf(v)
	for i := range rt.NumField() {
		name, opts, _ := strings.Cut(rt.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(opts, "omit") {
			name += "!"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func described(s schema) []string {
	var out []string
	for name := range s.Properties {
		if slices.Contains(s.Required, name) {
			name += "!"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// TestOpenAPIRefs checks that every reference in openapi.yaml leads somewhere, and
// that every component is used.
func TestOpenAPIRefs(t *testing.T) {
	b, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := yaml.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, child := range v {
				if ref, ok := child.(string); ok && k == "$ref" {
					used[ref] = true
				}
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(root)
	components := root["components"].(map[string]any)
	for _, kind := range []string{"schemas", "parameters", "responses", "headers"} {
		for name := range components[kind].(map[string]any) {
			ref := fmt.Sprintf("#/components/%s/%s", kind, name)
			if !used[ref] && name != "Written" { // named by the prose on Prefer
				t.Errorf("%s is not used", ref)
			}
			delete(used, ref)
		}
	}
	for ref := range used {
		t.Errorf("%s leads nowhere", ref)
	}
}
