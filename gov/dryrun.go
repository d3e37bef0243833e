package gov

import (
	"context"
	"fmt"

	"github.com/dop251/goja"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/kv"
)

// dryRunName is how error texts name a constitution that is not in force.
const dryRunName = "proposed constitution"

// dryRunProposal is judged in a dry run; it asks for nothing.
const dryRunProposal = `{"actions":[]}`

// dryRun has a constitution that is only proposed judge a proposal that asks for nothing,
// in a transaction that it can't change: validate must return an object, and resolve one
// of the three states, without votes and with those of all active members. A service
// whose constitution fails at this could never again change anything, itself included.
func (c *constitution) dryRun(ctx context.Context, tx *kv.Tx, fx Effects, source string) error {
	module, err := js.Compile(dryRunName, source)
	if err != nil {
		return fmt.Errorf("%s does not compile: %w", dryRunName, err)
	}
	proposed := &constitution{module: module, limits: c.limits}
	proposed.limits.MaxExecutionTime /= 4 // three calls fit into the one that asks
	v, err := module.Call(ctx, proposed.env(tx, fx, js.GovReadOnly), "validate", dryRunProposal)
	if err != nil {
		return fmt.Errorf("%s fails at validate(): %w", dryRunName, err)
	}
	if !v.IsObject() {
		return fmt.Errorf("%s fails at validate(): it returns no object", dryRunName)
	}
	members, err := activeMembers(tx)
	if err != nil || len(members) == 0 {
		return err
	}
	all := make(map[string]bool)
	for _, m := range members {
		all[m] = true
	}
	for _, votes := range []map[string]bool{{}, all} {
		if _, err := proposed.decide(ctx, tx, fx, dryRunID, []byte(dryRunProposal), tables.Proposal{ProposerID: members[0]}, votes); err != nil {
			return fmt.Errorf("%s, with %d votes: %w", dryRunName, len(votes), err)
		}
	}
	return nil
}

// dryRunID is the id of no proposal.
const dryRunID = "0000000000000000000000000000000000000000000000000000000000000000"

func activeMembers(tx *kv.Tx) ([]string, error) {
	rows, err := tables.MembersInfo.All(tx)
	if err != nil {
		return nil, err
	}
	var active []string
	for _, row := range rows { // in the order of their ids
		if row.Value.Status == tables.MemberActive {
			active = append(active, row.Key)
		}
	}
	return active, nil
}

// installDryRun gives validate ccf.gov.dryRunConstitution(source), which CCF does not
// have: constitutions that are to run there too ask first whether it exists.
func (c *constitution) installDryRun(ctx context.Context, tx *kv.Tx, fx Effects) func(*goja.Runtime, *goja.Object) {
	return func(vm *goja.Runtime, ccf *goja.Object) {
		g, ok := ccf.Get("gov").(*goja.Object)
		if !ok {
			return
		}
		define(vm, g, map[string]hostFunc{"dryRunConstitution": func(call call) (any, error) {
			if err := call.arity(1); err != nil {
				return nil, err
			}
			return nil, c.dryRun(ctx, tx, fx, call.args[0].String())
		}})
	}
}
