package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newTx(s streams) *cobra.Command {
	return group("tx", "The fate of a transaction", newTxStatus(s), newTxWait(s))
}

func newTxStatus(s streams) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use: "status TXID", Short: "Print Unknown, Pending, Committed or Invalid", Args: exactly("TXID"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseTxID(args[0])
			if err != nil {
				return err
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			status, err := service.Status(c.Context(), id)
			if err != nil {
				return err
			}
			fmt.Fprintln(s.out, status)
			return nil
		},
	}
	t.flags(c)
	return c
}

func newTxWait(s streams) *cobra.Command {
	var t target
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait TXID",
		Short: "Wait until a transaction is committed",
		Long: `Returns once the transaction is committed, and with exit code 4 once it is known
that it never will be.`,
		Args: exactly("TXID"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseTxID(args[0])
			if err != nil {
				return err
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			late := fmt.Errorf("%v is not committed after %v", id, timeout)
			ctx, cancel := context.WithTimeoutCause(c.Context(), timeout, late)
			defer cancel()
			p := newProgress(s.err, "waiting for the commit")
			stop := p.tick(ctx)
			err = service.WaitCommitted(ctx, id)
			stop()
			if err != nil {
				if errors.Is(err, context.DeadlineExceeded) {
					return late
				}
				return err
			}
			fmt.Fprintln(s.out, "Committed")
			return nil
		},
	}
	t.flags(c)
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "give up after this time")
	return c
}
