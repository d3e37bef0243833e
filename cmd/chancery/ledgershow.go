package main

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"chancery/internal/durable"
	"chancery/ledger"
)

func newLedgerShow(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show DIR [TXID]",
		Short: "List a ledger's transactions, or show the public writes of one",
		Long: `Prints a line per transaction: its id and the public tables that it writes. With a
TXID it prints that transaction's public writes. Private tables are encrypted and shown
as their size alone. Nothing is verified: see ledger verify.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly("DIR")(nil, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				return showTransaction(s, args[0], args[1])
			}
			for e, err := range ledger.ReadEntries(durable.OS(), args[0], 1) {
				if err != nil {
					return err
				}
				printEntry(s, e)
			}
			return nil
		},
	}
}

// showTransaction prints one transaction with its writes.
func showTransaction(s streams, dir, text string) error {
	id, err := ledger.ParseTxID(text)
	if err != nil {
		return usagef("%q is no transaction id", text)
	}
	for e, err := range ledger.ReadEntries(durable.OS(), dir, id.Seqno) {
		if errors.Is(err, ledger.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		if e.ID != id {
			return fmt.Errorf("at seqno %d stands transaction %v, not %v", id.Seqno, e.ID, id)
		}
		printEntry(s, e)
		for _, m := range e.Public {
			for _, w := range m.Writes {
				fmt.Fprintf(s.out, "  %s[%s] = %s\n", m.Name, printable(w.Key), printable(w.Value))
			}
			for _, key := range m.Removes {
				fmt.Fprintf(s.out, "  %s[%s] removed\n", m.Name, printable(key))
			}
		}
		return nil
	}
	return fmt.Errorf("the ledger %s does not reach transaction %v", dir, id)
}

func printEntry(s streams, e *ledger.Entry) {
	fmt.Fprintf(s.out, "%v %d bytes", e.ID, e.Size())
	for _, m := range e.Public {
		fmt.Fprintf(s.out, " %s(%d)", m.Name, len(m.Writes)+len(m.Removes))
	}
	if e.HasPrivate() {
		fmt.Fprint(s.out, " and private tables, encrypted")
	}
	fmt.Fprintln(s.out)
}

// printable quotes text and writes other bytes in hex.
func printable(b []byte) string {
	if utf8.Valid(b) {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%x", b)
}
