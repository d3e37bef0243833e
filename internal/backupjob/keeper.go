package backupjob

import (
	"context"
	"fmt"
	"sync"
	"time"

	"chancery/client"
	"chancery/internal/backup"
	"chancery/internal/durable"
	"chancery/internal/supervise"
)

// Keeper keeps a workspace's schedule.
type Keeper struct {
	FS        durable.FS
	Workspace supervise.Workspace
	Chanceryd string // path of the node's program, for drills
	// Connect returns a client of the service that runs, and its address.
	Connect func() (*client.Client, string, error)
	Now     func() time.Time
	Say     func(line string)

	mu    sync.Mutex
	state *State // guarded by mu; replaced, not changed

	unsaved bool // the state could not be written: it is newer than the file
}

const (
	// look is how often the schedule and the clock are looked at.
	look = time.Second
	// again is the longest pause after which what failed is tried again.
	again = 5 * time.Minute
)

// Run makes backups and holds drills until ctx ends. A workspace without a schedule is
// looked at again and again: one may come.
func (k *Keeper) Run(ctx context.Context) {
	k.set(&State{Version: scheduleVersion})
	var shown figures
	defer func() { shown.close() }()
	tick := time.NewTicker(look)
	defer tick.Stop()
	said := ""
	for {
		err := k.look(ctx, &shown)
		if err != nil && err.Error() != said {
			k.Say(fmt.Sprintf("Backups: %v", err))
		}
		said = ""
		if err != nil {
			said = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look reads the schedule, and does what is due.
func (k *Keeper) look(ctx context.Context, shown *figures) error {
	s, err := ReadSchedule(k.FS, k.Workspace)
	if err != nil || s == nil {
		return err
	}
	if !k.unsaved { // a drill that was held by hand is in the file
		state, err := ReadState(k.FS, k.Workspace)
		if err != nil {
			return err
		}
		k.set(state)
	}
	if err := shown.at(s.Metrics, k); err != nil {
		k.Say(fmt.Sprintf("The figures of backups are not shown: %v", err))
	}
	return k.due(ctx, s)
}

// get returns the state, which must not be changed.
func (k *Keeper) get() *State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

func (k *Keeper) set(s *State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = s
}

// keep changes the state, here and on disk.
func (k *Keeper) keep(change func(*State)) error {
	s := *k.get()
	change(&s)
	k.set(&s)
	err := s.write(k.FS, k.Workspace)
	k.unsaved = err != nil
	return err
}

// due does what is due now, if anything.
func (k *Keeper) due(ctx context.Context, s *Schedule) error {
	now, state := k.Now(), k.get()
	retry := func(every Duration) time.Duration { return min(time.Duration(every), again) }
	switch {
	case now.Sub(state.Done) >= time.Duration(s.Interval) && now.Sub(state.Tried) >= retry(s.Interval):
		return k.backUp(ctx, s)
	case s.DrillInterval == 0 || state.Done.IsZero():
		return nil
	case now.Sub(state.Drilled) >= time.Duration(s.DrillInterval) && (state.Drill == nil || now.Sub(state.Drill.Begun) >= retry(s.DrillInterval)):
		return k.drill(ctx, s)
	}
	return nil
}

// backUp makes a backup.
func (k *Keeper) backUp(ctx context.Context, s *Schedule) error {
	begun := k.Now().UTC()
	bounded, cancel := context.WithTimeoutCause(ctx, time.Duration(s.Within), fmt.Errorf("it took longer than %v", time.Duration(s.Within)))
	defer cancel()
	done, err := k.create(bounded, s)
	if ctx.Err() != nil {
		return nil // it goes on when the service is started again
	}
	if err != nil {
		k.Say(fmt.Sprintf("The backup to %s failed: %v", s.Store, err))
	} else if done.New {
		k.Say(fmt.Sprintf("The ledger is backed up to %s through %s.", s.Store, done.Manifest.Through))
	}
	return k.keep(func(state *State) {
		state.Tried = begun
		if err != nil {
			state.Error = err.Error()
			state.Failures++
			return
		}
		state.Error, state.Done = "", begun
		state.Backup, state.Through, state.Bytes = done.Manifest.ID(), done.Manifest.Through, done.Manifest.Bytes()
		state.Backups++
	})
}

func (k *Keeper) create(ctx context.Context, s *Schedule) (*backup.Created, error) {
	store, err := s.open(k.FS)
	if err != nil {
		return nil, err
	}
	service, url, err := k.Connect()
	if err != nil {
		return nil, err
	}
	defer service.Close()
	running := &backup.Running{Client: service, URL: url}
	if err := running.Snapshotted(ctx); err != nil {
		return nil, err
	}
	return backup.Create(ctx, backup.CreateOptions{
		FS: k.FS, Source: running, Store: store, Service: service.Service(), Now: k.Now,
		Keep: backup.Retention{Count: s.Keep, For: time.Duration(s.KeepFor)},
	})
}

// drill holds a drill.
func (k *Keeper) drill(ctx context.Context, s *Schedule) error {
	bounded, cancel := context.WithTimeoutCause(ctx, time.Duration(s.Within), fmt.Errorf("it took longer than %v", time.Duration(s.Within)))
	defer cancel()
	out, err := k.hold(bounded, s)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		k.Say(fmt.Sprintf("The drill of backup %s failed: %v", out.Backup, err))
	} else {
		k.Say(fmt.Sprintf("Backup %s was restored and recovered in a drill.", out.Backup))
	}
	return k.keep(func(state *State) { state.noteDrill(out) })
}

// noteDrill takes down the outcome of a drill.
func (s *State) noteDrill(d *Drilled) {
	s.Drill = d
	s.Drills++
	if d.OK {
		s.Drilled = d.Begun
	} else {
		s.FailedDrills++
	}
}

// hold holds a drill, and returns an outcome always.
func (k *Keeper) hold(ctx context.Context, s *Schedule) (*Drilled, error) {
	failed := func(err error) (*Drilled, error) {
		return &Drilled{Begun: k.Now().UTC().Truncate(time.Second), Error: err.Error()}, err
	}
	store, err := s.open(k.FS)
	if err != nil {
		return failed(err)
	}
	o := DrillOptions{Store: store, Restore: backup.RestoreOptions{FS: k.FS}, Chanceryd: k.Chanceryd, Scratch: s.Scratch, Now: k.Now, Say: func(string) {}}
	for _, prefix := range s.Members {
		m, err := supervise.MembersOf(prefix)
		if err != nil {
			return failed(err)
		}
		o.Members = append(o.Members, m)
	}
	out, err := Drill(ctx, o)
	if err != nil && out.Error == "" {
		out.OK, out.Error = false, err.Error()
	}
	return out, err
}

// Note takes down the outcome of a drill that was held by hand, where the workspace has a
// schedule for the same store.
func Note(fsys durable.FS, w supervise.Workspace, store string, d *Drilled) error {
	s, err := ReadSchedule(fsys, w)
	if err != nil || s == nil || s.Store != store {
		return err
	}
	state, err := ReadState(fsys, w)
	if err != nil {
		return err
	}
	state.noteDrill(d)
	return state.write(fsys, w)
}
