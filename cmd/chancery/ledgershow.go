package main

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chancery/kv/writeset"
	"chancery/ledger"
)

func newLedgerShow(s streams) *cobra.Command {
	var r entries
	c := &cobra.Command{
		Use:   "show DIR [TXID|FROM-TO]",
		Short: "List a ledger's transactions, or show the writes of some",
		Long: `Prints a line per transaction: its id and the tables that it writes. With a TXID or a
range of seqnos it prints their writes. Private tables are encrypted, and shown as their
size alone unless --secrets is given. Nothing is verified: see ledger verify.`,
		Example: "  chancery ledger show workspace/sandbox_0/ledger 2.15",
		Args:    between("DIR", 1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			r.dir = args[0]
			if len(args) == 1 {
				return r.each(func(e *ledger.Entry, ws writeset.WriteSet) error {
					printEntry(s, e, ws)
					return nil
				})
			}
			return showEntries(s, &r, args[1])
		},
	}
	r.flags(c)
	return c
}

// showEntries prints the transactions of a TXID or a range, with their writes.
func showEntries(s streams, r *entries, which string) (err error) {
	id, notID := ledger.ParseTxID(which)
	if notID == nil {
		r.from, r.to = id.Seqno, id.Seqno
	} else if r.from, r.to, err = parseRange(which); err != nil {
		return err
	}
	return r.each(func(e *ledger.Entry, ws writeset.WriteSet) error {
		if notID == nil && e.ID != id {
			return fmt.Errorf("at seqno %d stands transaction %v, not %v", id.Seqno, e.ID, id)
		}
		printEntry(s, e, ws)
		for _, m := range ws {
			printWrites(s, "  ", m)
		}
		return nil
	})
}

func printWrites(s streams, indent string, m writeset.MapWrites) {
	for _, w := range m.Writes {
		fmt.Fprintf(s.out, "%s%s[%s] = %s\n", indent, m.Name, printable(w.Key), printable(w.Value))
	}
	for _, key := range m.Removes {
		fmt.Fprintf(s.out, "%s%s[%s] removed\n", indent, m.Name, printable(key))
	}
}

func printEntry(s streams, e *ledger.Entry, ws writeset.WriteSet) {
	fmt.Fprintf(s.out, "%v %d bytes", e.ID, e.Size())
	for _, m := range ws {
		fmt.Fprintf(s.out, " %s(%d)", m.Name, len(m.Writes)+len(m.Removes))
	}
	if e.PrivateSize() > 0 && len(ws) == len(e.Public) {
		fmt.Fprintf(s.out, " and private tables, encrypted, %d bytes", e.PrivateSize())
	}
	fmt.Fprintln(s.out)
}

func newLedgerGrep(s streams) *cobra.Command {
	var r entries
	c := &cobra.Command{
		Use:   "grep DIR TABLE [KEY]",
		Short: "List what was written to a table, or to one of its keys",
		Long: `Prints a line for each write to the table, oldest first, with the transaction that made
it. A KEY is text, or bytes as 0x and hex. Nothing is verified: see ledger verify.`,
		Example: "  chancery ledger grep workspace/sandbox_0/ledger public:ccf.gov.service.info",
		Args:    between("DIR and TABLE", 2, 3),
		RunE: func(_ *cobra.Command, args []string) error {
			r.dir = args[0]
			var key []byte
			if len(args) == 3 {
				var err error
				if key, err = parseKey(args[2]); err != nil {
					return err
				}
			}
			return r.each(func(e *ledger.Entry, ws writeset.WriteSet) error {
				if m := ws.Map(args[1]); m != nil {
					printWrites(s, e.ID.String()+" ", only(*m, key))
				}
				return nil
			})
		},
	}
	r.flags(c)
	return c
}

// only is the part of a map's writes that concerns a key; nil: all.
func only(m writeset.MapWrites, key []byte) writeset.MapWrites {
	if key == nil {
		return m
	}
	out := writeset.MapWrites{Name: m.Name}
	for _, w := range m.Writes {
		if string(w.Key) == string(key) {
			out.Writes = append(out.Writes, w)
		}
	}
	for _, k := range m.Removes {
		if string(k) == string(key) {
			out.Removes = append(out.Removes, k)
		}
	}
	return out
}

func newLedgerTables(s streams) *cobra.Command {
	var r entries
	c := &cobra.Command{
		Use:   "tables DIR",
		Short: "List the tables of a ledger",
		Long: `Prints for each table how many transactions write to it, how many writes and removals
they make, and which transaction was the last. Nothing is verified: see ledger verify.`,
		Args: exactly("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			r.dir = args[0]
			type sums struct {
				transactions, writes, removes int
				last                          ledger.TxID
			}
			tables := map[string]*sums{}
			err := r.each(func(e *ledger.Entry, ws writeset.WriteSet) error {
				for _, m := range ws {
					t := tables[m.Name]
					if t == nil {
						t = &sums{}
						tables[m.Name] = t
					}
					t.transactions++
					t.writes += len(m.Writes)
					t.removes += len(m.Removes)
					t.last = e.ID
				}
				return nil
			})
			if err != nil {
				return err
			}
			width := 5
			for name := range tables {
				width = max(width, len(name))
			}
			fmt.Fprintf(s.out, "%-*s %12s %9s %9s  %s\n", width, "table", "transactions", "writes", "removals", "last")
			for _, name := range slices.Sorted(maps.Keys(tables)) {
				t := tables[name]
				fmt.Fprintf(s.out, "%-*s %12d %9d %9d  %v\n", width, name, t.transactions, t.writes, t.removes, t.last)
			}
			return nil
		},
	}
	r.flags(c)
	return c
}

// parseKey reads a key: text, or 0x and hex.
func parseKey(text string) ([]byte, error) {
	digits, isHex := strings.CutPrefix(text, "0x")
	if !isHex {
		return []byte(text), nil
	}
	key, err := hex.DecodeString(digits)
	if err != nil {
		return nil, usagef("%q is no hex after 0x", text)
	}
	return key, nil
}
