package main

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/internal/identity"
)

func newGov(s streams) *cobra.Command {
	return group("gov", "Governance, with a member's key", newPropose(s), newVote(s), newShow(s))
}

// asMember adds the flags of a command that a member signs.
func asMember(t *target, c *cobra.Command) *cobra.Command {
	t.role = "member0"
	t.flags(c)
	return c
}

// member connects as the member whose certificate and key are given.
func (t *target) member() (*client.Client, *client.Member, error) {
	service, err := t.connect()
	if err != nil {
		return nil, nil, err
	}
	if t.cert == "" {
		return nil, nil, usagef("--cert and --key are missing: governance is signed by a member")
	}
	cert, err := readCertificate(t.cert)
	if err != nil {
		return nil, nil, err
	}
	var key crypto.Signer
	if key, err = identity.ReadECKey(durable.OS(), t.key); err != nil {
		return nil, nil, fileError(t.key, err)
	}
	m, err := service.Member(cert, key)
	if err != nil {
		service.Close()
		return nil, nil, err
	}
	return service, m, nil
}

func newPropose(s streams) *cobra.Command {
	var t target
	return asMember(&t, &cobra.Command{
		Use:   "propose FILE",
		Short: "Submit a proposal, {\"actions\": [{\"name\": ..., \"args\": {...}}]}",
		Long: `Submits a proposal. Text values in it that begin with @ and name a file are replaced
by that file's contents: {"cert": "@user1_cert.pem"}. FILE may be - for standard input.`,
		Example: "  chancery gov propose set_user.json",
		Args:    exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := readProposal(args[0])
			if err != nil {
				return err
			}
			return propose(c.Context(), s, &t, text)
		},
	})
}

// propose submits a proposal and prints what became of it.
func propose(ctx context.Context, s streams, t *target, text []byte) error {
	service, m, err := t.member()
	if err != nil {
		return err
	}
	defer service.Close()
	p := newProgress(s.err, "waiting for the service")
	stop := p.tick(ctx)
	proposal, err := m.Propose(ctx, text)
	stop()
	if err != nil {
		return err
	}
	return showState(s, proposal)
}

// showState prints a proposal's id and state; a state in which it did not do what it
// should is an error.
func showState(s streams, p *client.Proposal) error {
	fmt.Fprintf(s.out, "%s %s\n", p.ID, p.State)
	if p.Failure != nil {
		return fmt.Errorf("proposal %s: %s", p.ID, p.Failure.Reason)
	}
	return nil
}

// readProposal reads a proposal and fills in the files that it names.
func readProposal(name string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(name, err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	changed := false
	if v, err = fillFiles(v, &changed); err != nil || !changed {
		return text, err
	}
	return json.Marshal(v)
}

// fillFiles replaces strings "@FILE" by the file's contents.
func fillFiles(v any, changed *bool) (_ any, err error) {
	switch v := v.(type) {
	case string:
		file, ok := strings.CutPrefix(v, "@")
		if !ok {
			return v, nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fileError(file, err)
		}
		*changed = true
		return string(text), nil
	case []any:
		for i := range v {
			if v[i], err = fillFiles(v[i], changed); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = fillFiles(v[key], changed); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func newVote(s streams) *cobra.Command {
	var t target
	var ballot string
	return asMember(&t, withBallotFlag(&ballot, &cobra.Command{
		Use:   "vote PROPOSAL yes|no",
		Short: "Vote on a proposal",
		Long: `Submits a ballot. yes and no stand for the two simplest; --ballot takes a JavaScript
module that exports vote(rawProposal, proposerId).`,
		Args: func(_ *cobra.Command, args []string) error {
			if ballot != "" {
				return exactly("PROPOSAL")(nil, args)
			}
			return exactly("PROPOSAL", "yes|no")(nil, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			text, err := readBallot(ballot, args)
			if err != nil {
				return err
			}
			service, m, err := t.member()
			if err != nil {
				return err
			}
			defer service.Close()
			proposal, err := m.Vote(c.Context(), args[0], text)
			if err != nil {
				return err
			}
			return showState(s, proposal)
		},
	}))
}

func withBallotFlag(ballot *string, c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(ballot, "ballot", "", "a JavaScript file with the ballot")
	return c
}

// readBallot returns the source of the ballot that the command line means.
func readBallot(file string, args []string) (string, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fileError(file, err)
		}
		return string(text), nil
	}
	switch args[1] {
	case "yes":
		return client.BallotYes, nil
	case "no":
		return client.BallotNo, nil
	}
	return "", usagef("%q is not a vote; say yes or no, or give --ballot FILE", args[1])
}

func newShow(s streams) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "show [PROPOSAL]",
		Short: "Show a proposal with its text, or the service, its members and all proposals",
		Args:  oneOptional,
		RunE: func(c *cobra.Command, args []string) error {
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			if len(args) == 1 {
				return showProposal(c.Context(), s, service, args[0])
			}
			return showService(c.Context(), s, service)
		},
	}
	t.flags(c)
	return c
}

func showProposal(ctx context.Context, s streams, service *client.Client, id string) error {
	p, err := service.Proposal(ctx, id)
	if err != nil {
		return err
	}
	text, err := service.ProposalText(ctx, id)
	if err != nil {
		return err
	}
	about, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s\n", about)
	if text, err = indented(text); err != nil {
		return err
	}
	_, err = s.out.Write(text)
	return err
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
	proposals, err := service.Proposals(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "service %s\n", info.Status)
	for _, m := range members {
		fmt.Fprintf(s.out, "member %s %s %s\n", m.ID, m.Status, m.RecoveryRole)
	}
	for _, p := range proposals {
		fmt.Fprintf(s.out, "proposal %s %s by %s, %d ballot(s)\n", p.ID, p.State, p.Proposer, p.Ballots)
	}
	return nil
}

// oneOptional takes at most one argument.
func oneOptional(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("unexpected argument %q", args[1])
	}
	return nil
}
