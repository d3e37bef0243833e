package backupjob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/internal/supervise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func TestWarnings(t *testing.T) {
	hourly := Schedule{Version: 1, Store: "b", Interval: Duration(time.Hour), DrillInterval: Duration(24 * time.Hour), Within: Duration(time.Hour)}
	undrilled := hourly
	undrilled.DrillInterval = 0
	good := &Drilled{Begun: ago(time.Hour), OK: true}
	well := State{Tried: ago(time.Minute), Done: ago(time.Minute), Drill: good, Drilled: good.Begun}
	with := func(change func(*State)) State {
		s := well
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		state State
		sched Schedule
		want  []string
	}{
		"all is well":          {well, hourly, nil},
		"nothing yet":          {State{}, hourly, []string{"no backup has been made yet", "no drill has shown yet"}},
		"a failed backup":      {with(func(s *State) { s.Error = "no room" }), hourly, []string{"the last backup failed 1m0s ago: no room"}},
		"an old backup":        {with(func(s *State) { s.Done = ago(3 * time.Hour) }), hourly, []string{"the last backup is 3h0m0s old"}},
		"a failed drill":       {with(func(s *State) { s.Drill = &Drilled{Begun: ago(time.Hour), Error: "not good"} }), hourly, []string{"the last drill failed 1h0m0s ago: not good"}},
		"an old drill":         {with(func(s *State) { s.Drilled = ago(72 * time.Hour) }), hourly, []string{"the last drill that went well is 72h0m0s old"}},
		"no drills":            {State{Done: ago(0)}, undrilled, []string{"none is scheduled"}},
		"drills by hand alone": {with(func(s *State) { s.Drilled = ago(999 * time.Hour) }), undrilled, nil},
	} {
		got := c.state.Warnings(&c.sched, now)
		if len(got) != len(c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: %q, want %q", name, got[i], c.want[i])
			}
		}
	}
}

func TestScheduleFile(t *testing.T) {
	w := supervise.Workspace(t.TempDir())
	if s, err := ReadSchedule(durable.OS(), w); s != nil || err != nil {
		t.Errorf("of an empty workspace: %v, %v", s, err)
	}
	want := Schedule{Store: "b", Interval: Duration(time.Hour), Within: Duration(time.Minute), KeepFor: Duration(90 * time.Minute)}
	if err := WriteSchedule(durable.OS(), w, &want); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSchedule(durable.OS(), w); err != nil || s.KeepFor != want.KeepFor || s.Interval != want.Interval {
		t.Errorf("%+v, %v", s, err)
	}
	for name, text := range map[string]string{
		"no JSON": "{", "unknown": `{"version": 1, "stores": "b"}`, "version": `{"version": 2, "store": "b", "interval": "1h", "within": "1h", "drill_interval": "0s"}`,
		"no store": `{"version": 1, "interval": "1h", "within": "1h", "drill_interval": "0s"}`, "no duration": `{"version": 1, "store": "b", "interval": "soon", "within": "1h", "drill_interval": "0s"}`,
		"no interval": `{"version": 1, "store": "b", "within": "1h", "interval": "0s", "drill_interval": "0s"}`, "no bound": `{"version": 1, "store": "b", "interval": "1h", "within": "0s", "drill_interval": "0s"}`,
		"negative": `{"version": 1, "store": "b", "interval": "1h", "within": "1h", "drill_interval": "-1s"}`,
	} {
		if err := os.WriteFile(w.File(scheduleFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadSchedule(durable.OS(), w); err == nil || !strings.Contains(err.Error(), scheduleFile) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if err := WriteSchedule(durable.OS(), w, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.File(scheduleFile)); err == nil {
		t.Error("the schedule is not ended")
	}
}

// TestKeeperTriesAgain has the service be away: the failure is said and kept, and tried again
// after a pause; a schedule that can't be read is said once; and the end is the keeper's.
func TestKeeperTriesAgain(t *testing.T) {
	w := supervise.Workspace(t.TempDir())
	var clock, said, asked atomic.Int64
	k := &Keeper{
		FS: durable.OS(), Workspace: w, Now: func() time.Time { return now.Add(time.Duration(clock.Load())) },
		Say: func(string) { said.Add(1) },
		Connect: func() (*client.Client, string, error) {
			asked.Add(1)
			return nil, "", errors.New("the service is away")
		},
	}
	s := Schedule{Store: filepath.Join(t.TempDir(), "b"), Interval: Duration(time.Hour), Within: Duration(time.Minute), Metrics: "127.0.0.1:0"}
	if err := WriteSchedule(durable.OS(), w, &s); err != nil {
		t.Fatal(err)
	}
	var shown figures
	defer func() { shown.close() }()
	k.set(&State{Version: scheduleVersion})
	for i, want := range []int64{1, 1, 2, 2} {
		if err := k.look(t.Context(), &shown); err != nil {
			t.Fatal(err)
		}
		if asked.Load() != want {
			t.Errorf("after %d looks: tried %d times, want %d", i+1, asked.Load(), want)
		}
		clock.Add(int64(3 * time.Minute))
	}
	state, err := ReadState(durable.OS(), w)
	if err != nil || state.Error != "the service is away" || state.Failures != 2 || !state.Done.IsZero() {
		t.Errorf("kept: %+v, %v", state, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx)
	}()
	cancel()
	<-ended
}
