package constitution

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed *.js
var files embed.FS

// actions are the fragments that every variant has.
var actions = []string{
	"checks.js", "state.js", "actions.js", "actions_members.js", "actions_service.js",
	"actions_app.js", "actions_jwt.js", "actions_nodes.js", "actions_attestation.js",
}

// variants maps a variant to the fragments that only it has: how votes are counted and
// what follows from a proposal that is accepted.
var variants = map[string][]string{
	"default":   {"apply.js", "resolve.js"},
	"sandbox":   {"apply.js", "resolve_sandbox.js"},
	"unanimous": {"apply.js", "resolve_unanimous.js"},
	"veto":      {"apply.js", "resolve_veto.js"},
	"operator":  {"apply.js", "resolve_operator.js"},
	"timelock":  {"actions_timelock.js", "apply_timelock.js", "resolve_timelock.js"},
}

// extras maps what may follow a variant's name to its fragment.
var extras = map[string]string{
	"virtual": "actions_virtual.js",
	"roles":   "actions_roles.js",
}

// Variants returns the names of the variants, without extras, sorted.
func Variants() []string {
	return slices.Sorted(maps.Keys(variants))
}

// Default returns the source of the default constitution.
func Default() string {
	src, err := Source("default")
	if err != nil {
		panic(err) // the default is embedded
	}
	return src
}

// Source returns the source of a variant, e.g. "sandbox+virtual".
func Source(variant string) (string, error) {
	parts := strings.Split(variant, "+")
	own, ok := variants[parts[0]]
	if !ok {
		return "", fmt.Errorf("no constitution %q, there are: %s", parts[0], strings.Join(Variants(), ", "))
	}
	list := slices.Clone(actions)
	for _, extra := range parts[1:] {
		fragment, ok := extras[extra]
		if !ok {
			return "", fmt.Errorf("constitution %q: no extra %q, there are: roles, virtual", variant, extra)
		}
		list = append(list, fragment)
	}
	return join(slices.Concat(list, own, []string{"validate.js"}))
}

func join(names []string) (string, error) {
	sources := make([]string, len(names))
	for i, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("reading constitution fragment: %w", err)
		}
		sources[i] = string(b)
	}
	return strings.Join(sources, "\n"), nil
}
