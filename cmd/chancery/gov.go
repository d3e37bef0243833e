package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/internal/identity"
)

func newGov(s streams) *cobra.Command {
	commands := []*cobra.Command{
		newActivate(s), newPropose(s), newVote(s), newWithdraw(s), newWait(s), newShow(s), newList(s), newSimulate(s), newSign(s), newSend(s), newGovAudit(s),
	}
	return group("gov", "Governance, with a member's key", append(commands, actionCommands(s)...)...)
}

// asMember adds the flags of a command that a member signs.
func asMember(t *target, c *cobra.Command) *cobra.Command {
	t.role = "member0"
	t.flags(c)
	return c
}

// signer connects to the service, and reads the member's certificate and key.
func (t *target) signer() (*client.Client, *x509.Certificate, crypto.Signer, error) {
	service, err := t.connect()
	if err != nil {
		return nil, nil, nil, err
	}
	if t.cert == "" {
		return nil, nil, nil, usagef("--cert and --key are missing: governance is signed by a member")
	}
	cert, err := readCertificate(t.cert)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err := identity.ReadECKey(durable.OS(), t.key)
	if err != nil {
		return nil, nil, nil, fileError(t.key, err)
	}
	return service, cert, key, nil
}

func newPropose(s streams) *cobra.Command {
	var t target
	var how sending
	c := &cobra.Command{
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
			return propose(c.Context(), s, &t, how, text)
		},
	}
	how.flags(c)
	return asMember(&t, c)
}

// propose submits a proposal and prints what became of it.
func propose(ctx context.Context, s streams, t *target, how sending, text []byte) error {
	p, printed, err := t.send(ctx, s, how, client.Message{Type: "proposal", Payload: text})
	if err != nil || printed {
		return err
	}
	return showState(s, p)
}

// showState prints a proposal's id and state; a state in which it did not do what it
// should is an error.
func showState(s streams, p *client.Proposal) error {
	if p == nil {
		fmt.Fprintln(s.out, "the service does not know this proposal (any more)")
		return nil
	}
	fmt.Fprintf(s.out, "%s %s\n", p.ID, p.State)
	if p.Failure != nil {
		return fmt.Errorf("proposal %s: %s", p.ID, p.Failure.Reason)
	}
	return nil
}

// readProposal reads a proposal and fills in the files that it names.
func readProposal(name string) ([]byte, error) {
	text, err := readInput(name, math.MaxInt64)
	if err != nil {
		return nil, err
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
	var how sending
	var ballot string
	c := withBallotFlag(&ballot, &cobra.Command{
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
			source, err := readBallot(ballot, args)
			if err != nil {
				return err
			}
			m, err := client.Ballot(args[0], source)
			if err != nil {
				return err
			}
			p, printed, err := t.send(c.Context(), s, how, m)
			if err != nil || printed {
				return err
			}
			return showState(s, p)
		},
	})
	how.flags(c)
	return asMember(&t, c)
}

func newActivate(s streams) *cobra.Command {
	var t target
	return asMember(&t, &cobra.Command{
		Use:   "activate",
		Short: "Accept the state of the service, and become an active member by it",
		Long: `Asks for the digest of the service's state and signs it. A new member may propose and
vote from then on; an active one confirms the state as it is now.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, cert, key, err := t.signer()
			if err != nil {
				return err
			}
			defer service.Close()
			m, err := service.Member(cert, key)
			if err != nil {
				return err
			}
			if err := m.Activate(c.Context()); err != nil {
				return err
			}
			fmt.Fprintf(s.out, "member %s is active\n", m.ID())
			return nil
		},
	})
}

func newWithdraw(s streams) *cobra.Command {
	var t target
	var how sending
	c := &cobra.Command{
		Use:   "withdraw PROPOSAL",
		Short: "Take an open proposal of one's own back",
		Args:  exactly("PROPOSAL"),
		RunE: func(c *cobra.Command, args []string) error {
			p, printed, err := t.send(c.Context(), s, how, client.Message{Type: "withdrawal", Proposal: args[0]})
			if err != nil || printed {
				return err
			}
			return showState(s, p)
		},
	}
	how.flags(c)
	return asMember(&t, c)
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

// oneOptional takes at most one argument.
func oneOptional(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("unexpected argument %q", args[1])
	}
	return nil
}
