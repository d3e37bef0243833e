// Package constitution holds the rules by which a consortium governs its service, as
// JavaScript: which proposals there are, what their arguments must be, when one is
// accepted, and what it then does.
//
// A constitution is one JavaScript module that exports
//
//	validate(input)                                     -> {valid, description}
//	resolve(proposal, proposerId, votes, proposalId?)   -> "Open" | "Accepted" | "Rejected"
//	apply(proposal, proposalId)
//
// where input and proposal are the text of the proposal and votes an array of
// {member_id, vote}. It is put together from fragments, in the order of their names in a
// variant's list, joined by newlines. The actions have the names, arguments and error
// texts of CCF's default constitution, so that proposals written for CCF pass unchanged,
// and its fragments that add actions (by actions.set(name, new Action(validate, apply)))
// can follow ours in a node's list of constitution files.
//
// The variants differ in resolve alone:
//
//	default    more than half of the active members
//	sandbox    accepted at once; for development
//	unanimous  every active member; one vote against rejects
//	veto       more than half; one vote against rejects
//	operator   as default, and operators alone may trust and remove nodes
//
// Each is also there with "+virtual" (the join policy of virtual nodes) and with "+roles"
// (set_role_definition) after its name, in this order: "default+virtual+roles".
package constitution

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.js
var files embed.FS

// actions are the fragments that every variant has.
var actions = []string{
	"checks.js", "state.js", "actions.js", "actions_members.js", "actions_service.js",
	"actions_app.js", "actions_jwt.js", "actions_nodes.js", "actions_attestation.js",
}

// resolvers maps a variant to the fragment that counts its votes.
var resolvers = map[string]string{
	"default":   "resolve.js",
	"sandbox":   "resolve_sandbox.js",
	"unanimous": "resolve_unanimous.js",
	"veto":      "resolve_veto.js",
	"operator":  "resolve_operator.js",
}

// extras maps what may follow a variant's name to its fragment.
var extras = map[string]string{
	"virtual": "actions_virtual.js",
	"roles":   "actions_roles.js",
}

// Variants returns the names of the variants, without extras, sorted.
func Variants() []string {
	return []string{"default", "operator", "sandbox", "unanimous", "veto"}
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
	resolver, ok := resolvers[parts[0]]
	if !ok {
		return "", fmt.Errorf("no constitution %q, there are: %s", parts[0], strings.Join(Variants(), ", "))
	}
	list := append([]string(nil), actions...)
	for _, extra := range parts[1:] {
		fragment, ok := extras[extra]
		if !ok {
			return "", fmt.Errorf("constitution %q: no extra %q, there are: roles, virtual", variant, extra)
		}
		list = append(list, fragment)
	}
	return join(append(list, "validate.js", "apply.js", resolver))
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
