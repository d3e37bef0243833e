package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/backupjob"
	"chancery/internal/durable"
	"chancery/internal/supervise"
)

// drilling is what backup drill was asked.
type drilling struct {
	point
	service, workspace, node, output string
	members                          []string
	within                           time.Duration
}

func newBackupDrill(s streams) *cobra.Command {
	var d drilling
	c := &cobra.Command{
		Use:   "drill STORE",
		Short: "Restore a backup and recover the service from it, to see that it works",
		Long: `Restores a backup into a scratch directory, and recovers the service from it there, with a
node and keys of its own; then throws both away. Without members' keys that goes as far as the
public state: sizes, SHA-256s, roots and the last transaction are compared, and the node must
find the same members and service. With --member, and as many shares as the service asks for,
the private state is decrypted too, on this machine: hold such a drill where it may be.

The outcome is kept in STORE, and shown by backup list; for a store that the workspace has a
schedule for, it is also in chancery status and in the figures. Exit code 5: the backup does
not hold.

` + storeArgument,
		Example: "  chancery backup drill backups --member keys/alice --member keys/bob",
		Args:    exactly("STORE"),
		RunE:    func(c *cobra.Command, args []string) error { return d.run(c.Context(), s, args[0]) },
	}
	d.flags(c)
	f := c.Flags()
	f.StringVar(&d.service, "service-cert", "", "the certificate that the service must have had at that point, PEM")
	f.StringArrayVar(&d.members, "member", nil, "a member's keys, by the beginning of the files' names (see recover run); may be given several times")
	f.StringVar(&d.workspace, "workspace", "workspace", "the workspace of chancery up, whose schedule may be for this store")
	f.StringVar(&d.node, "node", "", "node program with an application compiled in, in place of chanceryd")
	f.DurationVar(&d.within, "within", time.Hour, "how long the drill may take")
	outputFlag(c, &d.output)
	return c
}

func (d *drilling) run(ctx context.Context, s streams, name string) error {
	if err := checkOutput(d.output); err != nil {
		return err
	}
	if d.within <= 0 {
		return usagef("--within must be more than 0")
	}
	o, err := d.options(name)
	if err != nil {
		return err
	}
	if d.service != "" {
		if o.Service, err = readCertificate(d.service); err != nil {
			return err
		}
	}
	job := backupjob.DrillOptions{Store: o.Store, Restore: o, Scratch: d.store.s3.Scratch, Now: time.Now, Say: func(line string) {
		if d.output == outputText {
			fmt.Fprintln(s.out, line)
		}
	}}
	if job.Chanceryd, err = nodeProgram(d.node); err != nil {
		return err
	}
	for _, prefix := range d.members {
		m, err := supervise.MembersOf(prefix)
		if err != nil {
			return usageError{err}
		}
		job.Members = append(job.Members, m)
	}
	p := newProgress(s.err, "restoring")
	job.Restore.Progress = p.at
	bounded, cancel := context.WithTimeoutCause(ctx, d.within, fmt.Errorf("the drill took longer than --within %v", d.within))
	defer cancel()
	out, err := backupjob.Drill(bounded, job)
	p.end()
	if noteErr := backupjob.Note(durable.OS(), supervise.Workspace(d.workspace), name, out); err == nil {
		err = noteErr
	}
	if d.output == outputJSON {
		if err := printJSON(s, out); err != nil {
			return err
		}
	}
	if err != nil {
		return doubted(err)
	}
	if d.output == outputText {
		fmt.Fprintf(s.out, "the drill is good: backup %s can be restored, and the service recovered from it\n", out.Backup)
	}
	return nil
}

// keepBackups keeps the workspace's schedule of backups, while the service runs.
func keepBackups(o supervise.Options) func(context.Context) {
	k := &backupjob.Keeper{
		FS: durable.OS(), Workspace: o.Workspace, Chanceryd: o.Chanceryd, Now: time.Now, Say: o.Say,
		Connect: func() (*client.Client, string, error) {
			t := target{workspace: string(o.Workspace), role: "user0"}
			service, err := t.connect()
			return service, t.url, err
		},
	}
	return k.Run
}
