package main

import (
	"encoding/hex"
	"encoding/json"

	"github.com/spf13/cobra"

	"chancery/kv/writeset"
	"chancery/ledger"
)

// exported is a transaction as a line of JSON.
type exported struct {
	TxID           string             `json:"transaction_id"`
	Size           int                `json:"size"` // of the entry in the ledger, bytes
	Type           int                `json:"type"`
	Flags          int                `json:"flags"`
	Digest         string             `json:"write_set_digest"`
	Claims         string             `json:"claims_digest,omitempty"`
	CommitEvidence string             `json:"commit_evidence_digest,omitempty"`
	Leaf           string             `json:"leaf"` // of the Merkle tree
	Tables         []writeset.MapJSON `json:"tables"`
	Encrypted      int                `json:"encrypted,omitempty"` // bytes of private tables that are not shown
}

func newLedgerExport(s streams) *cobra.Command {
	var r entries
	var format, which string
	c := &cobra.Command{
		Use:   "export DIR",
		Short: "Write a ledger's transactions as JSON, a line each",
		Long: `Writes every transaction with its digests and the tables that it writes: keys and values
as text where they are UTF-8, else in hex (key_hex, value_hex). Private tables are left
out, and their size is given, unless --secrets opens them. Nothing is verified: see
ledger verify.`,
		Example: "  chancery ledger export workspace/sandbox_0/ledger --range 1-100",
		Args:    exactly("DIR"),
		RunE: func(_ *cobra.Command, args []string) (err error) {
			if format != "jsonl" {
				return usagef("--format %q is not known; use jsonl", format)
			}
			r.dir = args[0]
			if which != "" {
				if r.from, r.to, err = parseRange(which); err != nil {
					return err
				}
			}
			enc := json.NewEncoder(s.out)
			enc.SetEscapeHTML(false)
			return r.each(func(e *ledger.Entry, ws writeset.WriteSet) error { return enc.Encode(export(e, ws)) })
		},
	}
	r.flags(c)
	c.Flags().StringVar(&format, "format", "jsonl", "jsonl")
	c.Flags().StringVar(&which, "range", "", "only these seqnos, FROM-TO")
	return c
}

func export(e *ledger.Entry, ws writeset.WriteSet) exported {
	digest, leaf := e.WriteSetDigest(), e.Leaf()
	out := exported{
		TxID: e.ID.String(), Size: e.Size(), Type: int(e.Type), Flags: int(e.Flags),
		Digest: hex.EncodeToString(digest[:]), Leaf: hex.EncodeToString(leaf[:]), Tables: ws.JSON(),
	}
	if e.Claims != (ledger.Digest{}) {
		out.Claims = hex.EncodeToString(e.Claims[:])
	}
	if e.CommitEvidence != (ledger.Digest{}) {
		out.CommitEvidence = hex.EncodeToString(e.CommitEvidence[:])
	}
	if len(ws) == len(e.Public) {
		out.Encrypted = e.PrivateSize()
	}
	return out
}
