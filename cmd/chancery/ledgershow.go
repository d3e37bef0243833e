package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger"
)

func newLedgerShow(s streams) *cobra.Command {
	var from, to uint64
	var tables []string
	var values bool
	c := &cobra.Command{
		Use:   "show DIR",
		Short: "Print the transactions of a ledger, as far as they are public",
		Long: `Prints one line per transaction and one per public map that it writes; private maps
are encrypted. Nothing is verified: use ledger verify for that.`,
		Example: "  chancery ledger show workspace/sandbox_0/ledger --values --table public:records",
		Args:    exactly("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			return showLedger(c.Context(), s, args[0], view{from: from, to: to, tables: tables, values: values})
		},
	}
	c.Flags().Uint64Var(&from, "from", 1, "first sequence number")
	c.Flags().Uint64Var(&to, "to", 0, "last sequence number (default: the last one)")
	c.Flags().StringSliceVar(&tables, "table", nil, "only transactions that write this map (may be repeated)")
	c.Flags().BoolVar(&values, "values", false, "print keys and values")
	return c
}

// view says which part of a ledger is shown.
type view struct {
	from, to uint64
	tables   []string
	values   bool
}

func showLedger(ctx context.Context, s streams, dir string, v view) error {
	for e, err := range ledger.ReadEntries(durable.OS(), dir, v.from) {
		switch {
		case err != nil:
			var corrupt *ledger.CorruptError
			if errors.As(err, &corrupt) {
				return unverified{err}
			}
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case v.to != 0 && e.ID.Seqno > v.to:
			return nil
		}
		v.show(s, e)
	}
	return nil
}

func (v view) show(s streams, e *ledger.Entry) {
	if len(v.tables) > 0 && !v.wanted(e.Public) {
		return
	}
	kind := ""
	switch {
	case ledger.IsSignature(e.Public):
		kind = "  signature"
	case e.HasPrivate():
		kind = "  private writes"
	}
	fmt.Fprintf(s.out, "%v  %d bytes%s\n", e.ID, e.Size(), kind)
	for _, m := range e.Public {
		if len(v.tables) > 0 && !v.selects(m.Name) {
			continue
		}
		fmt.Fprintf(s.out, "    %s: %d written, %d removed\n", readable([]byte(m.Name)), len(m.Writes), len(m.Removes))
		if !v.values {
			continue
		}
		for _, w := range m.Writes {
			fmt.Fprintf(s.out, "        %s = %s\n", readable(w.Key), readable(w.Value))
		}
		for _, key := range m.Removes {
			fmt.Fprintf(s.out, "        %s removed\n", readable(key))
		}
	}
}

func (v view) selects(name string) bool {
	for _, t := range v.tables {
		if t == name {
			return true
		}
	}
	return false
}

func (v view) wanted(ws writeset.WriteSet) bool {
	for _, m := range ws {
		if v.selects(m.Name) {
			return true
		}
	}
	return false
}

// readable writes bytes as JSON or text where they are that, in hex elsewhere.
func readable(b []byte) string {
	if json.Valid(b) && utf8.Valid(b) {
		return strings.Trim(strconv.Quote(string(b)), `"`)
	}
	if utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		return strconv.Quote(string(b))
	}
	return "0x" + hex.EncodeToString(b)
}
