package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"chancery/internal/durable"
	"chancery/internal/nodelog"
)

// TestSlowDisk checks that a slow operation is logged with its file's name, and that a
// slow disk does not flood the log.
func TestSlowDisk(t *testing.T) {
	var out bytes.Buffer
	clock := time.Unix(1_000_000_000, 0)
	d := newDisk(10*time.Millisecond, func() time.Time { return clock }, nodelog.New(&out, nodelog.Text, slog.LevelInfo))
	d.done(durable.OpSync, "/secret/dir/ledger_1", 9*time.Millisecond)
	if out.Len() > 0 {
		t.Errorf("within the threshold: %s", &out)
	}
	for range 5 {
		d.done(durable.OpSync, "/secret/dir/ledger_1", 12*time.Millisecond)
	}
	clock = clock.Add(time.Second)
	d.done(opRaftLog, "raft.db", 30*time.Millisecond)
	clock = clock.Add(time.Second)
	d.done(opRaftLog, "raft.db", 1001*time.Millisecond)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `Operation took too long (12ms): sync ledger_1`) ||
		!strings.Contains(lines[1], `others=4`) || !strings.Contains(lines[2], "[fail ]") {
		t.Errorf("logged:\n%s", &out)
	}
	if strings.Contains(out.String(), "/secret") {
		t.Error("the path of a directory is in the log")
	}
}
