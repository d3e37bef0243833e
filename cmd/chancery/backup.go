package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/backup"
	"chancery/internal/backupjob"
	"chancery/internal/durable"
	"chancery/ledger"
)

func newBackup(s streams) *cobra.Command {
	return group("backup", "Copies of the ledger elsewhere, and back", newBackupCreate(s), newBackupList(s), newBackupVerify(s), newBackupRestore(s),
		newBackupDrill(s), newBackupSchedule(s))
}

// storeFlags say how a store is reached.
type storeFlags struct{ s3 backup.S3Options }

func (f *storeFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.s3.Endpoint, "s3-endpoint", "", "https://host:port of an object store (else AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL)")
	c.Flags().StringVar(&f.s3.Region, "s3-region", "", "its region (else AWS_REGION)")
	c.Flags().DurationVar(&f.s3.Patience, "s3-timeout", time.Minute, "how long an object store may be silent")
	c.Flags().StringVar(&f.s3.Scratch, "scratch", "", "directory on this machine for what is on its way to or from an object store, and for drills (else the system's for temporary files)")
}

func (f *storeFlags) open(name string) (backup.Store, error) {
	if f.s3.Patience <= 0 {
		return nil, usagef("--s3-timeout must be more than 0")
	}
	return backup.OpenStore(durable.OS(), name, f.s3)
}

const storeArgument = `STORE is a directory, or s3://BUCKET/PREFIX in an object store that speaks S3. Its
credentials come from where S3 clients look for them: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, or the role of the machine.`

// creation is what backup create was asked.
type creation struct {
	t                 target
	store             storeFlags
	ledger, snapshots []string
	snapshot          bool
	keep              backup.Retention
	output            string
}

func newBackupCreate(s streams) *cobra.Command {
	var b creation
	c := &cobra.Command{
		Use:   "create STORE",
		Short: "Back up a service's ledger and newest snapshot",
		Long: `Copies the committed ledger chunks that STORE does not have yet, and the newest snapshot,
from a running service or, with --ledger, from a directory; and checks each as it arrives, as
ledger verify does. Interrupted, it goes on where it ended. What it copies is as it lies in the
ledger: what was encrypted there is encrypted, and no key is part of it.

` + storeArgument + `

A node's interface must have LedgerChunkRead and SnapshotRead among its
enabled_operator_features, and for --snapshot SnapshotCreate. Exit code 5: what arrived does
not hold, or is of another history than what STORE has; nothing of it is kept.`,
		Example: "  chancery backup create backups --url https://127.0.0.1:8000 --service-cert service_cert.pem --snapshot --keep 30",
		Args:    exactly("STORE"),
		RunE:    func(c *cobra.Command, args []string) error { return b.run(c.Context(), s, args[0]) },
	}
	b.t.flags(c)
	b.store.flags(c)
	f := c.Flags()
	f.StringArrayVar(&b.ledger, "ledger", nil, "back up this ledger directory instead of a running service (several: the first that has a chunk counts)")
	f.StringArrayVar(&b.snapshots, "snapshots", nil, "with --ledger: a directory with snapshots")
	f.BoolVar(&b.snapshot, "snapshot", false, "ask the service for a snapshot first, with which a chunk ends: the backup reaches the present")
	f.IntVar(&b.keep.Count, "keep", 0, "keep the newest so many backups (and those of --keep-for), and remove the others")
	f.DurationVar(&b.keep.For, "keep-for", 0, "keep backups younger than this (and those of --keep)")
	outputFlag(c, &b.output)
	return c
}

func (b *creation) run(ctx context.Context, s streams, name string) error {
	if err := checkOutput(b.output); err != nil {
		return err
	}
	if b.keep.Count < 0 || b.keep.For < 0 {
		return usagef("--keep and --keep-for must not be negative")
	}
	if b.ledger == nil && b.snapshots != nil || b.ledger != nil && b.snapshot {
		return usagef("--snapshots belongs to --ledger, and --snapshot to a running service")
	}
	store, err := b.store.open(name)
	if err != nil {
		return usageError{err}
	}
	o := backup.CreateOptions{FS: durable.OS(), Store: store, Keep: b.keep, Now: time.Now}
	if b.ledger != nil {
		o.Source = &backup.Directories{FS: durable.OS(), Ledger: b.ledger, Snapshots: b.snapshots}
	} else {
		service, err := b.t.connect()
		if err != nil {
			return err
		}
		defer service.Close()
		running := &backup.Running{Client: service, URL: b.t.url}
		if b.snapshot {
			if err := running.Snapshotted(ctx); err != nil {
				return err
			}
		}
		o.Source = running
	}
	if b.t.serviceCert != "" {
		if o.Service, err = readCertificate(b.t.serviceCert); err != nil {
			return err
		}
	}
	p := newProgress(s.err, "backing up")
	o.Progress = p.at
	done, err := backup.Create(ctx, o)
	p.end()
	if err != nil {
		return doubted(err)
	}
	return printCreated(s, b.output, done)
}

// backupInfo is a backup as JSON. Roots and SHA-256s are hex, times RFC 3339, UTC.
type backupInfo struct {
	ID         string    `json:"id"`
	Created    time.Time `json:"created"`
	Through    string    `json:"through"`
	LedgerRoot string    `json:"ledger_root"`
	Service    string    `json:"service_key_id"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`
	Root       string    `json:"root"`
}

func infoOf(m *backup.Manifest) backupInfo {
	return backupInfo{
		ID: m.ID(), Created: m.Created, Through: m.Through, LedgerRoot: m.LedgerRoot, Service: m.Service.KeyID,
		Files: len(m.Files), Bytes: m.Bytes(), Root: m.Root,
	}
}

func printCreated(s streams, output string, c *backup.Created) error {
	if output == outputJSON {
		return printJSON(s, struct {
			backupInfo
			New         bool     `json:"new"`
			CopiedFiles int      `json:"copied_files"`
			CopiedBytes int64    `json:"copied_bytes"`
			Repaired    int      `json:"repaired"`
			Removed     []string `json:"removed,omitempty"`
			Notes       []string `json:"notes,omitempty"`
		}{infoOf(c.Manifest), c.New, c.Files, c.Bytes, c.Repaired, c.Removed, c.Notes})
	}
	if c.New {
		fmt.Fprintf(s.out, "backup %s: %d files copied, %d bytes; %d files in all, %d bytes\n", c.Manifest.ID(), c.Files, c.Bytes, len(c.Manifest.Files), c.Manifest.Bytes())
	} else {
		fmt.Fprintf(s.out, "nothing is new since backup %s\n", c.Manifest.ID())
	}
	fmt.Fprintf(s.out, "the ledger is backed up through %s, root of the files %s\n", c.Manifest.Through, c.Manifest.Root)
	if len(c.Removed) > 0 {
		fmt.Fprintf(s.out, "%d files are not kept any more\n", len(c.Removed))
	}
	printNotes(s, c.Notes)
	return nil
}

func printNotes(s streams, notes []string) {
	for _, n := range notes {
		fmt.Fprintln(s.out, "note:", n)
	}
}

func newBackupList(s streams) *cobra.Command {
	var store storeFlags
	var output string
	c := &cobra.Command{
		Use:   "list STORE",
		Short: "List the backups in a store",
		Long: `Lists the backups, the newest first, by what their manifests say, and the last drill: verify
reads the files.

` + storeArgument,
		Args: exactly("STORE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			b, err := store.open(args[0])
			if err != nil {
				return usageError{err}
			}
			all, err := backup.Manifests(c.Context(), b)
			if err != nil {
				return doubted(err)
			}
			infos := []backupInfo{}
			for _, m := range all {
				infos = append(infos, infoOf(m))
			}
			drill, err := backupjob.LastDrill(c.Context(), b)
			if err != nil {
				return err
			}
			if output == outputJSON {
				return printJSON(s, struct {
					Backups []backupInfo       `json:"backups"`
					Drill   *backupjob.Drilled `json:"drill"`
				}{infos, drill})
			}
			for _, i := range infos {
				fmt.Fprintf(s.out, "%s  through %s, %d files, %d bytes, root %s\n", i.ID, i.Through, i.Files, i.Bytes, i.Root)
			}
			if len(infos) == 0 {
				fmt.Fprintln(s.out, "no backups")
			}
			switch {
			case drill == nil:
				fmt.Fprintln(s.out, "note: no drill has shown that a backup can be restored: chancery backup drill")
			case drill.OK:
				fmt.Fprintf(s.out, "last drill %s: backup %s through %s was restored and recovered\n", drill.Begun.Format(time.RFC3339), drill.Backup, drill.Through)
			default:
				fmt.Fprintf(s.out, "note: the last drill, %s, failed: %s\n", drill.Begun.Format(time.RFC3339), drill.Error)
			}
			return nil
		},
	}
	store.flags(c)
	outputFlag(c, &output)
	return c
}

func newBackupVerify(s streams) *cobra.Command {
	var store storeFlags
	var id, service, expect, output string
	c := &cobra.Command{
		Use:   "verify STORE",
		Short: "Read a backup, and check all of it",
		Long: `Reads every file of a backup, and compares it with the manifest, and the whole with what
the service signed, from the first transaction on. No manifest's files may be missing, and no
file without a manifest be there. Exit code 5: it does not hold.

` + storeArgument,
		Args: exactly("STORE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			b, err := store.open(args[0])
			if err != nil {
				return usageError{err}
			}
			o := backup.VerifyOptions{FS: durable.OS(), Store: b, ID: id}
			if o.Expect, err = parseExpect(expect); err != nil {
				return err
			}
			if service != "" {
				if o.Service, err = readCertificate(service); err != nil {
					return err
				}
			}
			p := newProgress(s.err, "verifying")
			o.Progress = p.at
			v, err := backup.Verify(c.Context(), o)
			p.end()
			if err != nil {
				return doubted(err)
			}
			if output == outputJSON {
				return printJSON(s, struct {
					backupInfo
					Good       bool `json:"good"`
					Backups    int  `json:"backups"`
					Entries    int  `json:"entries"`
					Signatures int  `json:"signatures"`
					Snapshots  int  `json:"snapshots"`
				}{infoOf(v.Manifest), true, v.Backups, v.Report.Entries, v.Report.Signatures, v.Report.Snapshots})
			}
			r := v.Report
			fmt.Fprintf(s.out, "backup %s of %d: %d files are what its manifest says, root %s\n", v.Manifest.ID(), v.Backups, len(v.Manifest.Files), v.Manifest.Root)
			fmt.Fprintf(s.out, "%d entries and %d snapshots; %d signatures, the last one at %v with root %x\n", r.Entries, r.Snapshots, r.Signatures, r.LastSigned, r.Root)
			fmt.Fprintf(s.out, "of service %s\nthe backup is good\n", v.Manifest.Service.KeyID)
			return nil
		},
	}
	store.flags(c)
	c.Flags().StringVar(&id, "backup", "", "the id of the backup (else the newest)")
	c.Flags().StringVar(&service, "service-cert", "", "the certificate of the service whose backup it must be, PEM")
	c.Flags().StringVar(&expect, "expect", "", expectUsage)
	outputFlag(c, &output)
	return c
}

// parsePoint parses what --to says: a TxID or a time.
func parsePoint(text string) (id ledger.TxID, at time.Time, err error) {
	if text == "" {
		return id, at, nil
	}
	if id, err = ledger.ParseTxID(text); err == nil {
		return id, at, nil
	}
	at, timeErr := time.Parse(time.RFC3339, text)
	if timeErr != nil {
		return id, at, usagef("--to %q is neither a transaction, like 2.345, nor a time, like 2026-01-02T15:04:05Z", text)
	}
	return ledger.TxID{}, at, nil
}
