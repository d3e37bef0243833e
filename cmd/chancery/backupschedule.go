package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/backupjob"
	"chancery/internal/durable"
	"chancery/internal/supervise"
)

func newBackupSchedule(s streams) *cobra.Command {
	var workspace, output string
	var off bool
	var store storeFlags
	var sched backupjob.Schedule
	var interval, drills, keepFor, within time.Duration
	c := &cobra.Command{
		Use:   "schedule [STORE]",
		Short: "Have chancery up make backups, and hold drills",
		Long: `Writes the schedule into the workspace of chancery up, which keeps it while it runs, also if
it runs already: a backup at each interval, of everything that is committed then, and a drill at
each of the drills' intervals. What becomes of them stands in chancery status and, with
--metrics, in figures for Prometheus. Without STORE, the schedule is shown; --off ends it.

` + storeArgument + `
They are those of the environment of chancery up.`,
		Example: "  chancery backup schedule s3://backups/ledger --interval 1h --keep 48 --keep-for 2160h --drills 24h",
		Args:    between("STORE", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			w := supervise.Workspace(workspace)
			if _, err := w.URLs(); err != nil {
				return usagef("%s is no workspace of chancery up: %v", workspace, err)
			}
			switch {
			case off && len(args) > 0:
				return usagef("--off takes no STORE")
			case off:
				return backupjob.WriteSchedule(durable.OS(), w, nil)
			case len(args) == 0:
				return showSchedule(s, w, output)
			}
			sched.Store, sched.Endpoint, sched.Region = args[0], store.s3.Endpoint, store.s3.Region
			sched.Patience = backupjob.Duration(store.s3.Patience)
			if store.s3.Scratch != "" {
				var err error
				if sched.Scratch, err = filepath.Abs(store.s3.Scratch); err != nil {
					return err
				}
			}
			if !strings.Contains(sched.Store, "://") { // chancery up may run elsewhere
				var err error
				if sched.Store, err = filepath.Abs(sched.Store); err != nil {
					return err
				}
			}
			if _, err := store.open(sched.Store); err != nil {
				return usageError{err}
			}
			if sched.Metrics != "" {
				if _, _, err := net.SplitHostPort(sched.Metrics); err != nil {
					return usagef("--metrics %q is not host:port", sched.Metrics)
				}
			}
			for i, prefix := range sched.Members {
				if _, err := supervise.MembersOf(prefix); err != nil {
					return usageError{err}
				}
				var err error
				if sched.Members[i], err = filepath.Abs(prefix); err != nil {
					return err
				}
			}
			sched.Interval, sched.DrillInterval, sched.KeepFor, sched.Within = backupjob.Duration(interval), backupjob.Duration(drills), backupjob.Duration(keepFor), backupjob.Duration(within)
			if err := backupjob.WriteSchedule(durable.OS(), w, &sched); err != nil {
				return usageError{err}
			}
			return showSchedule(s, w, output)
		},
	}
	f := c.Flags()
	f.StringVar(&workspace, "workspace", "workspace", "the workspace of chancery up")
	f.BoolVar(&off, "off", false, "end the schedule")
	f.DurationVar(&interval, "interval", time.Hour, "time between two backups")
	f.DurationVar(&drills, "drills", 24*time.Hour, "time between two drills; 0 holds none")
	f.IntVar(&sched.Keep, "keep", 0, "keep the newest so many backups (and those of --keep-for), and remove the others")
	f.DurationVar(&keepFor, "keep-for", 0, "keep backups younger than this (and those of --keep)")
	f.DurationVar(&within, "within", time.Hour, "how long one backup or drill may take")
	f.StringVar(&sched.Metrics, "metrics", "", "host:port on which chancery up shows figures of backups and drills to Prometheus, at /metrics")
	f.StringArrayVar(&sched.Members, "member", nil, "a member's keys, by the beginning of the files' names, with whose share drills recover the private state; may be given several times")
	store.flags(c)
	outputFlag(c, &output)
	return c
}

// scheduleShown is a schedule and what became of it, as JSON.
type scheduleShown struct {
	Schedule *backupjob.Schedule `json:"schedule"`
	State    *backupjob.State    `json:"state"`
	Warnings []string            `json:"warnings,omitempty"`
}

// readScheduleShown returns nil where the workspace has no schedule.
func readScheduleShown(w supervise.Workspace, now time.Time) (*scheduleShown, error) {
	sched, err := backupjob.ReadSchedule(durable.OS(), w)
	if err != nil || sched == nil {
		return nil, err
	}
	state, err := backupjob.ReadState(durable.OS(), w)
	if err != nil {
		return nil, err
	}
	return &scheduleShown{sched, state, state.Warnings(sched, now)}, nil
}

func showSchedule(s streams, w supervise.Workspace, output string) error {
	shown, err := readScheduleShown(w, time.Now())
	if err != nil {
		return err
	}
	if output == outputJSON {
		return printJSON(s, shown)
	}
	if shown == nil {
		fmt.Fprintln(s.out, "no backups are scheduled")
		return nil
	}
	c := shown.Schedule
	fmt.Fprintf(s.out, "to %s every %v, a drill every %v, each within %v\n", c.Store, time.Duration(c.Interval), time.Duration(c.DrillInterval), time.Duration(c.Within))
	if c.Keep > 0 || c.KeepFor > 0 {
		fmt.Fprintf(s.out, "kept: the newest %d, and those younger than %v\n", c.Keep, time.Duration(c.KeepFor))
	}
	if !shown.State.Done.IsZero() {
		fmt.Fprintf(s.out, "last backup %s, through %s\n", shown.State.Done.Format(time.RFC3339), shown.State.Through)
	}
	if !shown.State.Drilled.IsZero() {
		fmt.Fprintf(s.out, "last good drill %s\n", shown.State.Drilled.Format(time.RFC3339))
	}
	printNotes(s, shown.Warnings)
	return nil
}
