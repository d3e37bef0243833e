package backupjob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"chancery/internal/backup"
	"chancery/internal/durable"
	"chancery/internal/supervise"
)

// Schedule says when backups are made, and drills held. Its form is JSON, with durations
// like "1h30m".
type Schedule struct {
	Version int `json:"version"`
	// Store is a directory or s3://BUCKET/PREFIX. Endpoint and Region are for the latter;
	// credentials come from the environment alone.
	Store    string `json:"store"`
	Endpoint string `json:"s3_endpoint,omitempty"`
	Region   string `json:"s3_region,omitempty"`
	// Patience is how long an object store may be silent; 0: a minute.
	Patience Duration `json:"s3_timeout,omitempty"`
	// Scratch is a directory for what is on its way, and for drills; "": the system's.
	Scratch string `json:"scratch,omitempty"`
	// Interval is the time between two backups, DrillInterval between two drills; 0: none.
	Interval      Duration `json:"interval"`
	DrillInterval Duration `json:"drill_interval"`
	// Keep and KeepFor say which backups stay: see backup.Retention.
	Keep    int      `json:"keep,omitempty"`
	KeepFor Duration `json:"keep_for,omitempty"`
	// Within bounds one backup or drill.
	Within Duration `json:"within"`
	// Metrics is the host:port at which the figures are shown to Prometheus; "" shows none.
	Metrics string `json:"metrics,omitempty"`
	// Members are those with whose shares drills recover the private state, by the beginning
	// of their files' names.
	Members []string `json:"members,omitempty"`
}

// Duration is a time.Duration whose JSON is text.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	*d = Duration(v)
	return err
}

const (
	scheduleVersion = 1
	scheduleFile    = "backup.json"
	stateFile       = "backup_state.json"
)

// Check says what is wrong with a schedule.
func (s *Schedule) Check() error {
	switch {
	case s.Version != scheduleVersion:
		return fmt.Errorf("the schedule is of version %d, this program knows %d", s.Version, scheduleVersion)
	case s.Store == "":
		return errors.New("store is missing")
	case s.Interval <= 0:
		return errors.New("interval must be more than 0")
	case s.DrillInterval < 0 || s.Keep < 0 || s.KeepFor < 0 || s.Patience < 0:
		return errors.New("drill_interval, keep, keep_for and s3_timeout must not be negative")
	case s.Within <= 0:
		return errors.New("within must be more than 0")
	}
	return nil
}

// ReadSchedule reads the schedule of a workspace; nil where there is none.
func ReadSchedule(fsys durable.FS, w supervise.Workspace) (*Schedule, error) {
	text, err := fsys.ReadFile(w.File(scheduleFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the schedule of backups: %w", err)
	}
	var s Schedule
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", w.File(scheduleFile), err)
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", w.File(scheduleFile), err)
	}
	return &s, nil
}

// WriteSchedule writes the schedule of a workspace; nil ends it.
func WriteSchedule(fsys durable.FS, w supervise.Workspace, s *Schedule) error {
	if s == nil {
		if err := fsys.Remove(w.File(scheduleFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	s.Version = scheduleVersion
	if err := s.Check(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(fsys, w.File(scheduleFile), append(text, '\n'), 0o600)
}

// open opens the schedule's store.
func (s *Schedule) open(fsys durable.FS) (backup.Store, error) {
	return backup.OpenStore(fsys, s.Store, backup.S3Options{
		Endpoint: s.Endpoint, Region: s.Region, Patience: time.Duration(s.Patience), Scratch: s.Scratch,
	})
}

// State is what became of a schedule.
type State struct {
	Version int `json:"version"`
	// Tried and Done are when a backup was last tried, and made; Error is why the last one
	// failed.
	Tried   time.Time `json:"tried,omitzero"`
	Done    time.Time `json:"done,omitzero"`
	Error   string    `json:"error,omitempty"`
	Backup  string    `json:"backup,omitempty"`
	Through string    `json:"through,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	// Drill is the last drill.
	Drill *Drilled `json:"drill,omitempty"`
	// Drilled is when one last found everything to be as it should.
	Drilled time.Time `json:"drilled,omitzero"`
	// Counts since the state began.
	Backups      uint64 `json:"backups"`
	Failures     uint64 `json:"failures"`
	Drills       uint64 `json:"drills"`
	FailedDrills uint64 `json:"failed_drills"`
}

// ReadState reads what became of a workspace's schedule; the zero value for nothing yet.
func ReadState(fsys durable.FS, w supervise.Workspace) (*State, error) {
	s := &State{Version: scheduleVersion}
	text, err := fsys.ReadFile(w.File(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state of backups: %w", err)
	}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", w.File(stateFile), err)
	}
	return s, nil
}

func (s *State) write(fsys durable.FS, w supervise.Workspace) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(fsys, w.File(stateFile), append(text, '\n'), 0o600)
}

// Warnings says what an operator should look at.
func (s *State) Warnings(sched *Schedule, now time.Time) (out []string) {
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	late := func(done time.Time, every Duration) bool { return now.Sub(done) > 2*time.Duration(every) }
	age := func(t time.Time) time.Duration { return now.Sub(t).Round(time.Second) }
	switch {
	case s.Error != "":
		warn("the last backup failed %v ago: %s", age(s.Tried), s.Error)
	case s.Done.IsZero():
		warn("no backup has been made yet; chancery up makes them while it runs")
	case late(s.Done, sched.Interval):
		warn("the last backup is %v old, and one is to be made every %v; chancery up makes them while it runs", age(s.Done), time.Duration(sched.Interval))
	}
	switch d := s.Drill; {
	case sched.DrillInterval == 0:
		if s.Drilled.IsZero() {
			warn("no drill has shown that a backup can be restored, and none is scheduled: chancery backup drill")
		}
	case d != nil && !d.OK:
		warn("the last drill failed %v ago: %s", age(d.Begun), d.Error)
	case s.Drilled.IsZero():
		warn("no drill has shown yet that a backup can be restored")
	case late(s.Drilled, sched.DrillInterval):
		warn("the last drill that went well is %v old, and one is to be held every %v", age(s.Drilled), time.Duration(sched.DrillInterval))
	}
	return out
}
