package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"chancery/internal/supervise"
)

func newRecoverRun(s streams) *cobra.Command {
	var o supervise.RecoverOptions
	var members []string
	c := &cobra.Command{
		Use:   "run",
		Short: "Recover a service on this machine, with the members' keys that are here",
		Long: `Starts a node over copies of a ledger's files, proposes that the service goes on, votes
and submits shares for the members whose keys are given, and says what it waits for when
others have to do the rest. Then it serves until Ctrl-C. Stopped at any time, the same
command goes on; the original files stay as they are.

A member is named by the common beginning of the files' names: --member keys/alice stands
for keys/alice_cert.pem, keys/alice_privk.pem and, for the share, keys/alice_enc_privk.pem.

It is for one machine and the virtual platform, which protects nothing from the host;
docs/recovery.md says how a node on another platform is configured.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return recoverRun(c.Context(), s, o, members) },
	}
	c.Flags().StringVar(&o.Ledger, "ledger", "", "directory of the earlier service's ledger")
	c.Flags().StringVar(&o.Snapshots, "snapshots", "", "directory of its snapshots: the newest good one saves reading the ledger before it")
	c.Flags().StringVar(&o.Previous, "previous-service-cert", "", "certificate of the earlier service, PEM")
	c.Flags().StringVar(&o.Expect, "expect", "", expectUsage)
	c.Flags().StringArrayVar(&members, "member", nil, "a member's keys, by the beginning of their names; may be given several times")
	c.Flags().StringVar(&o.Workspace, "workspace", "recovery", "directory for the service's files")
	c.Flags().IntVar(&o.Port, "port", 8000, "port on 127.0.0.1")
	c.Flags().StringVar(&o.Chanceryd, "node", "", "node program with an application compiled in, in place of chanceryd")
	for _, name := range []string{"ledger", "previous-service-cert"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined
		}
	}
	return c
}

func recoverRun(ctx context.Context, s streams, o supervise.RecoverOptions, members []string) (err error) {
	if o.Port < 1 || o.Port > 65535 {
		return usagef("--port %d is no port", o.Port)
	}
	for _, prefix := range members {
		m, err := supervise.MembersOf(prefix)
		if err != nil {
			return err
		}
		o.Members = append(o.Members, m)
	}
	if o.Chanceryd, err = nodeProgram(o.Chanceryd); err != nil {
		return err
	}
	o.Say = func(line string) { fmt.Fprintln(s.out, line) }
	o.Opened = func(url, certificate string) {
		fmt.Fprintf(s.out, "The service is open at %s; its certificate, for its clients, is %s.\nCtrl-C stops it; the same command resumes it.\n", url, certificate)
	}
	return supervise.Recover(ctx, o)
}
