package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// entries is a selection of a ledger's transactions, and the means to read what is
// private in them.
type entries struct {
	dir         string
	from, to    uint64 // 0: from the first, through the last
	secretsFile string
	secrets     *ledger.Secrets
}

// flags adds --secrets.
func (r *entries) flags(c *cobra.Command) {
	c.Flags().StringVar(&r.secretsFile, "secrets", "", "file with ledger secrets, with which private tables are shown too (JSON: {\"ledger_secrets\": {\"FIRST SEQNO\": HEX}}, as in a sandbox's insecure_keys.json)")
}

// each calls use for every selected transaction, with all its writes that can be read.
func (r *entries) each(use func(e *ledger.Entry, writes writeset.WriteSet) error) error {
	if r.secretsFile != "" && r.secrets == nil {
		var err error
		if r.secrets, err = readSecrets(r.secretsFile); err != nil {
			return err
		}
	}
	seen := false
	for e, err := range ledger.ReadEntries(durable.OS(), r.dir, max(r.from, 1)) {
		if errors.Is(err, ledger.ErrNotFound) {
			return fmt.Errorf("the ledger %s does not hold seqno %d", r.dir, max(r.from, 1))
		}
		if err != nil {
			return err
		}
		if r.to != 0 && e.ID.Seqno > r.to {
			return nil
		}
		writes, err := r.open(e)
		if err != nil {
			return fmt.Errorf("transaction %v: %w", e.ID, err)
		}
		if err := use(e, writes); err != nil {
			return err
		}
		seen = true
	}
	if !seen {
		return fmt.Errorf("the ledger %s does not hold seqno %d", r.dir, max(r.from, 1))
	}
	return nil
}

// open returns the public writes, and the private ones where their secret is known.
func (r *entries) open(e *ledger.Entry) (writeset.WriteSet, error) {
	if r.secrets == nil {
		return e.Public, nil
	}
	secret, err := r.secrets.At(e.ID.Seqno)
	if errors.Is(err, ledger.ErrNoSecret) {
		return e.Public, nil
	}
	if err != nil {
		return nil, err
	}
	return e.Open(secret)
}

// readSecrets reads the ledger secrets of a key file.
func readSecrets(file string) (*ledger.Secrets, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fileError(file, err)
	}
	defer clear(text)
	var f struct {
		Secrets map[string]string `json:"ledger_secrets"`
	}
	if err := json.Unmarshal(text, &f); err != nil || len(f.Secrets) == 0 {
		return nil, fmt.Errorf("%s holds no \"ledger_secrets\"", file)
	}
	out := new(ledger.Secrets)
	for at, text := range f.Secrets {
		from, err := strconv.ParseUint(at, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no seqno", file, at)
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%s: the secret from seqno %d is no hex", file, from)
		}
		secret, err := ledger.NewSecret(raw)
		if err == nil {
			err = out.Add(from, secret)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: the secret from seqno %d: %w", file, from, err)
		}
	}
	return out, nil
}

// parseRange reads "SEQNO", "FROM-TO" or "FROM-" of seqnos.
func parseRange(text string) (from, to uint64, err error) {
	first, last, ranged := strings.Cut(text, "-")
	if from, err = strconv.ParseUint(first, 10, 64); err == nil && from > 0 {
		switch {
		case !ranged:
			return from, from, nil
		case last == "":
			return from, 0, nil
		}
		if to, err = strconv.ParseUint(last, 10, 64); err == nil && to >= from {
			return from, to, nil
		}
	}
	return 0, 0, usagef("%q is neither a transaction id (VIEW.SEQNO) nor a range of seqnos (FROM-TO)", text)
}

// printable quotes text and writes other bytes in hex.
func printable(b []byte) string {
	if utf8.Valid(b) {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%x", b)
}
