package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"chancery/internal/durable"
	"chancery/ledger"
)

func newLedger(s streams) *cobra.Command {
	return group("ledger", "The ledger's files", newLedgerVerify(s), newLedgerShow(s))
}

func newLedgerVerify(s streams) *cobra.Command {
	var service string
	var committed bool
	c := &cobra.Command{
		Use:   "verify DIR...",
		Short: "Check every entry, hash and signature of a ledger",
		Long: `Reads all chunks of a ledger, in one directory or several, and checks that each entry
is well formed and in its place, that the Merkle root of each signature is that of the
entries before it, and that each signature is by a node that the service endorsed. With
--service-cert it must be that service's ledger.

Nothing is decrypted. The first thing that does not fit is named by file, offset and
transaction, and the exit code is 5.`,
		Args: atLeastOne("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			opts := ledger.VerifyOptions{CommittedOnly: committed}
			if service != "" {
				cert, err := readCertificate(service)
				if err != nil {
					return err
				}
				opts.Service = cert
			}
			return verifyLedger(c.Context(), s, args, opts)
		},
	}
	c.Flags().StringVar(&service, "service-cert", "", "the certificate of the service whose ledger it must be, PEM")
	c.Flags().BoolVar(&committed, "committed", false, "look at chunks named .committed only")
	return c
}

func verifyLedger(ctx context.Context, s streams, dirs []string, opts ledger.VerifyOptions) error {
	p := newProgress(s.err, "verifying")
	opts.Progress = p.at
	r, err := ledger.Verify(ctx, durable.OS(), dirs, opts)
	p.end()
	if err != nil {
		var corrupt *ledger.CorruptError
		if errors.As(err, &corrupt) || errors.Is(err, ledger.ErrUntrusted) {
			return unverified{err}
		}
		return err
	}
	fmt.Fprintf(s.out, "%d entries in %d files, %d bytes, up to %v\n", r.Entries, r.Files, r.Bytes, r.Last)
	fmt.Fprintf(s.out, "%d signatures, the last one at %v with root %x\n", r.Signatures, r.LastSigned, r.Root)
	for _, identity := range r.Services {
		fmt.Fprintf(s.out, "service %s from %v, %s\n", identity.KeyID, identity.From, identity.Status)
	}
	if r.Unsigned > 0 {
		fmt.Fprintf(s.out, "note: nothing vouches for the last %d entries, which no signature covers yet\n", r.Unsigned)
	}
	if r.Tail != nil {
		fmt.Fprintf(s.out, "note: the last file ends in the middle of an entry: %v\n", &r.Tail.CorruptError)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(s.out, "note: %v: %s\n", f.ID, f.Text)
	}
	fmt.Fprintln(s.out, "the ledger is good")
	return nil
}

// atLeastOne demands one argument or more.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s is missing", name)
		}
		return nil
	}
}
