package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"chancery/internal/durable"
	"chancery/ledger"
)

func newLedger(s streams) *cobra.Command {
	return group("ledger", "The ledger's files", newLedgerVerify(s), newLedgerShow(s), newLedgerGrep(s), newLedgerTables(s), newLedgerExport(s), newLedgerFetch(s))
}

// audit is what ledger verify was asked.
type audit struct {
	opts                             ledger.VerifyOptions
	service, secrets, expect, output string
	checkpoint, snapshots            string
}

func newLedgerVerify(s streams) *cobra.Command {
	var a audit
	c := &cobra.Command{
		Use:   "verify DIR...",
		Short: "Check every entry, hash and signature of a ledger",
		Long: `Reads all chunks of a ledger, in one directory or several, and checks that each entry
is well formed and in its place, that the Merkle root of each signature is that of the
entries before it, and that each signature is by a node that the service endorsed. With
--service-cert it must be that service's ledger; with --expect, whoever holds a receipt
can tell an older copy; with --secrets, private tables are decrypted, too.

The first thing that does not fit is named by file, offset and transaction, and the exit
code is 5. With --checkpoint an audit goes on where the one before ended.`,
		Example: "  chancery ledger verify workspace/sandbox_0/ledger --checkpoint audited.json",
		Args:    atLeastOne("DIR"),
		RunE:    func(c *cobra.Command, args []string) error { return a.run(c.Context(), s, args) },
	}
	f := c.Flags()
	f.StringVar(&a.service, "service-cert", "", "the certificate of the service whose ledger it must be, PEM")
	f.BoolVar(&a.opts.CommittedOnly, "committed", false, "look at chunks named .committed only")
	f.Uint64Var(&a.opts.From, "from", 0, "do not check signatures before this seqno (those behind vouch for what is before)")
	f.Uint64Var(&a.opts.To, "to", 0, "end with the first signature at this seqno or behind it")
	f.StringVar(&a.expect, "expect", "", expectUsage)
	f.StringVar(&a.secrets, "secrets", "", "file with ledger secrets, as for ledger show")
	f.StringVar(&a.checkpoint, "checkpoint", "", "file with the state of an earlier audit, to go on from there; written anew when the ledger is good. Keep it where nobody else can write")
	f.StringVar(&a.snapshots, "snapshots", "", "directory with snapshots, each of which must be what the ledger says of it")
	f.StringVarP(&a.output, "output", "o", "text", "text or json")
	return c
}

func (a *audit) run(ctx context.Context, s streams, dirs []string) error {
	if err := a.prepare(); err != nil {
		return err
	}
	p := newProgress(s.err, "verifying")
	a.opts.Progress = p.at
	r, err := ledger.Verify(ctx, durable.OS(), dirs, a.opts)
	p.end()
	if err == nil && a.checkpoint != "" && r.Checkpoint != nil {
		err = saveCheckpoint(a.checkpoint, r.Checkpoint)
	}
	if a.output == "json" {
		if err := json.NewEncoder(s.out).Encode(auditJSON(r, err)); err != nil {
			return err
		}
	}
	if err != nil {
		return doubted(err)
	}
	if a.output == "text" {
		printReport(s, r)
	}
	return nil
}

// prepare reads the files that the command line names.
func (a *audit) prepare() (err error) {
	if a.output != "text" && a.output != "json" {
		return usagef("--output %q is not known; use text or json", a.output)
	}
	if a.opts.From != 0 && a.opts.To != 0 && a.opts.To < a.opts.From {
		return usagef("--to lies before --from")
	}
	if a.opts.Expect, err = parseExpect(a.expect); err != nil {
		return err
	}
	if a.service != "" {
		if a.opts.Service, err = readCertificate(a.service); err != nil {
			return err
		}
	}
	if a.secrets != "" {
		if a.opts.Secrets, err = readSecrets(a.secrets); err != nil {
			return err
		}
	}
	if a.snapshots != "" {
		if a.opts.Snapshots, err = ledger.ListSnapshots(durable.OS(), a.snapshots); err != nil {
			return err
		}
		if len(a.opts.Snapshots) == 0 {
			return fmt.Errorf("%s holds no committed snapshot", a.snapshots)
		}
	}
	if a.checkpoint != "" {
		a.opts.Checkpoint, err = readCheckpoint(a.checkpoint)
	}
	return err
}

// readCheckpoint returns nil where there is none yet.
func readCheckpoint(file string) (*ledger.Checkpoint, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c ledger.Checkpoint
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &c, nil
}

func saveCheckpoint(file string, c *ledger.Checkpoint) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(durable.OS(), file, append(text, '\n'), 0o600)
}

func printReport(s streams, r *ledger.Report) {
	fmt.Fprintf(s.out, "%d entries in %d files, %d bytes, up to %v\n", r.Entries, r.Files, r.Bytes, r.Last)
	fmt.Fprintf(s.out, "%d signatures, the last one at %v with root %x\n", r.Signatures, r.LastSigned, r.Root)
	if r.Unchecked > 0 {
		fmt.Fprintf(s.out, "%d signatures before --from were not checked\n", r.Unchecked)
	}
	if r.Opened > 0 {
		fmt.Fprintf(s.out, "%d entries were decrypted\n", r.Opened)
	}
	if r.Snapshots > 0 {
		fmt.Fprintf(s.out, "%d snapshots are what the ledger says of them\n", r.Snapshots)
	}
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
}

// auditReport is the outcome of an audit as JSON.
type auditReport struct {
	Good       bool           `json:"good"`
	Problem    *auditProblem  `json:"problem,omitempty"`
	Entries    int            `json:"entries"`
	Files      int            `json:"files"`
	Bytes      int64          `json:"bytes"`
	Last       string         `json:"last"`
	Signatures int            `json:"signatures"`
	Unchecked  int            `json:"signatures_not_checked"`
	LastSigned string         `json:"last_signed"`
	Root       string         `json:"root"`
	Unsigned   int            `json:"unsigned_entries"`
	Decrypted  int            `json:"decrypted_entries"`
	Snapshots  int            `json:"snapshots"`
	Services   []auditService `json:"services"`
	Notes      []string       `json:"notes"`
}

type auditProblem struct {
	Text   string `json:"text"`
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Seqno  uint64 `json:"seqno,omitempty"`
}

type auditService struct {
	Key    string `json:"key"` // hex SHA-256 of its SubjectPublicKeyInfo
	From   string `json:"from"`
	Status string `json:"status"`
}

func auditJSON(r *ledger.Report, err error) auditReport {
	out := auditReport{
		Good: err == nil, Entries: r.Entries, Files: r.Files, Bytes: r.Bytes, Last: r.Last.String(),
		Signatures: r.Signatures, Unchecked: r.Unchecked, LastSigned: r.LastSigned.String(), Root: hex.EncodeToString(r.Root[:]),
		Unsigned: r.Unsigned, Decrypted: r.Opened, Snapshots: r.Snapshots, Services: []auditService{}, Notes: []string{},
	}
	for _, s := range r.Services {
		out.Services = append(out.Services, auditService{Key: s.KeyID, From: s.From.String(), Status: s.Status})
	}
	if r.Tail != nil {
		out.Notes = append(out.Notes, r.Tail.Error())
	}
	for _, f := range r.Findings {
		out.Notes = append(out.Notes, fmt.Sprintf("%v: %s", f.ID, f.Text))
	}
	if err != nil {
		out.Problem = &auditProblem{Text: err.Error()}
		var corrupt *ledger.CorruptError
		if errors.As(err, &corrupt) {
			out.Problem.File, out.Problem.Offset, out.Problem.Seqno = corrupt.File, corrupt.Offset, corrupt.Seqno
		}
	}
	return out
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
