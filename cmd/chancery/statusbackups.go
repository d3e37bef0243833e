package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/backup"
	"chancery/internal/backupjob"
)

// watchedStore is a store of backups that status is to look at.
type watchedStore struct {
	store             storeFlags
	name              string
	maxAge, maxDrills time.Duration
}

func (w *watchedStore) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&w.name, "backups", "", "look at the backups in this store, too: see backup create")
	f.DurationVar(&w.maxAge, "backup-age", 0, "with --backups: note where the newest backup is older than this")
	f.DurationVar(&w.maxDrills, "drill-age", 0, "with --backups: note where the last drill is older than this")
	w.store.flags(c)
}

// storeStatus is what a store says of its newest backup and its last drill, as JSON.
type storeStatus struct {
	Store  string             `json:"store"`
	Newest *backupInfo        `json:"newest"`
	Drill  *backupjob.Drilled `json:"drill"`
}

// look reads the store, and notes what an operator should look at.
func (w *watchedStore) look(ctx context.Context, now time.Time) (out *storeStatus, notes []string, err error) {
	store, err := w.store.open(w.name)
	if err != nil {
		return nil, nil, usageError{err}
	}
	all, err := backup.Manifests(ctx, store)
	if err != nil {
		return nil, nil, doubted(err)
	}
	out = &storeStatus{Store: w.name}
	if out.Drill, err = backupjob.LastDrill(ctx, store); err != nil {
		return nil, nil, err
	}
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	old := func(t time.Time, most time.Duration) (time.Duration, bool) {
		age := now.Sub(t)
		return age.Round(time.Second), most > 0 && age > most
	}
	if len(all) == 0 {
		note("there is no backup in %s", w.name)
		return out, notes, nil
	}
	newest := infoOf(all[0])
	out.Newest = &newest
	if age, late := old(newest.Created, w.maxAge); late {
		note("the newest backup is %v old", age)
	}
	switch d := out.Drill; {
	case d == nil:
		note("no drill has shown that a backup in %s can be restored: chancery backup drill", w.name)
	case !d.OK:
		note("the last drill, at %s, failed: %s", d.Begun.Format(time.RFC3339), d.Error)
	default:
		if age, late := old(d.Begun, w.maxDrills); late {
			note("the last drill is %v old", age)
		}
	}
	return out, notes, nil
}
