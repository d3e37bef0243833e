package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/appbuild"
	"chancery/internal/identity"
)

func newShow(s streams) *cobra.Command {
	var t target
	var output string
	c := &cobra.Command{
		Use:   "show [PROPOSAL]",
		Short: "Show what a proposal would change and who has voted, or the service, its members and all proposals",
		Long: `Shows a proposal in words: each action, with the certificates in it named; the changes
that a new application or constitution makes, as a diff; who has voted how, and whose vote
is missing. With -o json, the proposal as the service has it.`,
		Args: oneOptional,
		RunE: func(c *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return usagef("--output %q is not known; use text or json", output)
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			if len(args) == 0 {
				return showService(c.Context(), s, service)
			}
			p, err := service.Proposal(c.Context(), args[0])
			if err != nil {
				return err
			}
			text, err := service.ProposalText(c.Context(), args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				return showProposalJSON(s, p, text)
			}
			return showProposal(c.Context(), s, service, p, text)
		},
	}
	t.flags(c)
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

func showProposalJSON(s streams, p *client.Proposal, text json.RawMessage) error {
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		*client.Proposal
		Text json.RawMessage `json:"proposal"`
	}{p, text})
}

// showProposal tells a proposal in words.
func showProposal(ctx context.Context, s streams, service *client.Client, p *client.Proposal, text json.RawMessage) error {
	fmt.Fprintf(s.out, "proposal %s, %s\nby member %s\n", p.ID, p.State, p.Proposer)
	if err := showVotes(ctx, s, service, p); err != nil {
		return err
	}
	var proposal struct {
		Actions []struct {
			Name string          `json:"name"`
			Args json.RawMessage `json:"args"`
		} `json:"actions"`
	}
	if err := json.Unmarshal(text, &proposal); err != nil {
		return fmt.Errorf("the proposal's text: %w", err)
	}
	for i, a := range proposal.Actions {
		fmt.Fprintf(s.out, "\naction %d: %s\n", i+1, a.Name)
		if err := showAction(ctx, s, service, a.Name, a.Args); err != nil {
			return err
		}
	}
	return nil
}

// showVotes says who has voted, and whose vote is missing while it counts.
func showVotes(ctx context.Context, s streams, service *client.Client, p *client.Proposal) error {
	if p.State != client.ProposalOpen {
		for _, member := range slices.Sorted(maps.Keys(p.FinalVotes)) {
			fmt.Fprintf(s.out, "voted %s: member %s\n", map[bool]string{true: "yes", false: "no"}[p.FinalVotes[member]], member)
		}
		for _, member := range slices.Sorted(maps.Keys(p.VoteFailures)) {
			fmt.Fprintf(s.out, "ballot failed: member %s: %s\n", member, p.VoteFailures[member].Reason)
		}
		return nil
	}
	members, err := service.Members(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Status != "Active" {
			continue
		}
		ballot, voted, err := service.Ballot(ctx, p.ID, m.ID)
		if err != nil {
			return err
		}
		how := "vote missing"
		switch {
		case voted && ballot == client.BallotYes:
			how = "voted yes"
		case voted && ballot == client.BallotNo:
			how = "voted no"
		case voted:
			how = "voted by a ballot of its own"
		}
		fmt.Fprintf(s.out, "%s: member %s\n", how, m.ID)
	}
	return nil
}

// showAction tells one action: an application and a constitution as a diff, anything else
// by its arguments.
func showAction(ctx context.Context, s streams, service *client.Client, name string, args json.RawMessage) error {
	switch name {
	case "set_js_app":
		var a struct{ Bundle appbuild.Bundle }
		if json.Unmarshal(args, &a) == nil {
			return showApp(ctx, s, service, a.Bundle)
		}
	case "set_constitution":
		var a struct{ Constitution string }
		if json.Unmarshal(args, &a) == nil {
			before, err := service.Constitution(ctx)
			if err != nil {
				return err
			}
			showDiff(s, "constitution", before, a.Constitution)
			return nil
		}
	}
	if len(args) == 0 || string(args) == "null" {
		return nil
	}
	var v any
	if err := json.Unmarshal(args, &v); err != nil {
		return fmt.Errorf("the arguments of %s: %w", name, err)
	}
	showValue(s, "  ", v)
	return nil
}

// showApp shows the modules that an application changes, and its endpoints.
func showApp(ctx context.Context, s streams, service *client.Client, b appbuild.Bundle) error {
	before, err := service.Modules(ctx)
	if err != nil {
		return err
	}
	after := map[string]string{}
	for _, m := range b.Modules {
		after["/"+strings.TrimPrefix(m.Name, "/")] = m.Module
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		showDiff(s, name, before[name], after[name])
	}
	var about struct {
		Endpoints map[string]map[string]json.RawMessage `json:"endpoints"`
	}
	if err := json.Unmarshal(b.Metadata, &about); err != nil {
		return fmt.Errorf("the application's metadata: %w", err)
	}
	for _, path := range slices.Sorted(maps.Keys(about.Endpoints)) {
		fmt.Fprintf(s.out, "  endpoint %s: %s\n", path, strings.Join(slices.Sorted(maps.Keys(about.Endpoints[path])), ", "))
	}
	return nil
}

func showDiff(s streams, name, before, after string) {
	if before == after {
		fmt.Fprintf(s.out, "  %s: not changed\n", name)
		return
	}
	for line := range strings.Lines(string(diff.Diff("now: "+name, []byte(before), "proposed: "+name, []byte(after)))) {
		fmt.Fprintf(s.out, "  %s\n", strings.TrimRight(line, "\n"))
	}
}

// showValue prints a JSON value over several lines, with certificates in words.
func showValue(s streams, indent string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			switch inner := v[key].(type) {
			case map[string]any, []any:
				fmt.Fprintf(s.out, "%s%s:\n", indent, key)
				showValue(s, indent+"  ", inner)
			default:
				fmt.Fprintf(s.out, "%s%s: %s\n", indent, key, inWords(inner))
			}
		}
	case []any:
		for _, item := range v {
			fmt.Fprintf(s.out, "%s-\n", indent)
			showValue(s, indent+"  ", item)
		}
	default:
		fmt.Fprintf(s.out, "%s%s\n", indent, inWords(v))
	}
}

// inWords is a value of JSON in one line: a certificate by its subject, id and end.
func inWords(v any) string {
	text, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	if cert, err := identity.ParseCertificate([]byte(text)); err == nil {
		return fmt.Sprintf("certificate of %s, id %s, valid until %s", cert.Subject, identity.CertID(cert.Raw), cert.NotAfter.UTC().Format("2006-01-02"))
	}
	return fmt.Sprintf("%q", text)
}

func showService(ctx context.Context, s streams, service *client.Client) error {
	info, err := service.ServiceInfo(ctx)
	if err != nil {
		return err
	}
	members, err := service.Members(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "service %s\n", info.Status)
	for _, m := range members {
		fmt.Fprintf(s.out, "member %s %s %s\n", m.ID, m.Status, m.RecoveryRole)
	}
	return listProposals(ctx, s, service)
}

func newList(s streams) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "list",
		Short: "List the proposals that the service holds",
		Long: `Lists open proposals, and the one that was settled last: the service forgets settled
ones when the next is settled. The ledger holds all of them: see gov audit.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			return listProposals(c.Context(), s, service)
		},
	}
	t.flags(c)
	return c
}

func listProposals(ctx context.Context, s streams, service *client.Client) error {
	proposals, err := service.Proposals(ctx)
	if err != nil {
		return err
	}
	for _, p := range proposals {
		fmt.Fprintf(s.out, "proposal %s %s by %s, %d ballot(s)\n", p.ID, p.State, p.Proposer, p.Ballots)
	}
	return nil
}

func newWait(s streams) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "wait PROPOSAL",
		Short: "Wait until a proposal is settled",
		Long:  `Waits until a proposal is no longer open, and prints its state. Ctrl-C ends the wait.`,
		Args:  exactly("PROPOSAL"),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			return waitSettled(c.Context(), s, service, args[0])
		},
	}
	t.flags(c)
	return c
}

// pollEvery is how often a proposal is looked at.
const pollEvery = 500 * time.Millisecond

func waitSettled(ctx context.Context, s streams, service *client.Client, id string) error {
	bar := newProgress(s.err, "waiting for votes")
	defer bar.tick(ctx)()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		p, err := service.Proposal(ctx, id)
		if err != nil {
			return err
		}
		if p.State != client.ProposalOpen {
			return showState(s, p)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
