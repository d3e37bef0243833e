package node

import (
	"encoding/json"
	"testing"
	"time"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/node/config"
)

// TestSnapshotDue asks when a snapshot falls due, by count and by time.
func TestSnapshotDue(t *testing.T) {
	clock := time.Unix(1_000_000, 0)
	n := &Node{cfg: &config.Config{}, store: kv.NewStore()}
	n.opts.Now = func() time.Time { return clock }
	s := newSnapshotter(n)
	c := &n.cfg.Snapshots
	c.TxCount, c.MinTxCount = 100, 5
	due := func(what string, seqno, last uint64, want bool) {
		t.Helper()
		if got := s.isDue(seqno, last); got != want {
			t.Errorf("%s: at %d, the last one at %d: %t", what, seqno, last, got)
		}
	}
	due("by count", 99, 0, false)
	due("by count", 100, 0, true)
	due("by count", 180, 100, false)
	clock = clock.Add(time.Hour)
	due("without an interval", 180, 100, false)
	c.TimeInterval = 10 * time.Minute
	due("by time", 180, 100, true)
	due("by time, too few transactions", 105, 100, false)
	due("by time, enough transactions", 106, 100, true)

	status, err := json.Marshal(tables.SnapshotState{Version: 100, Timestamp: uint64(clock.Add(-time.Minute).UnixNano())})
	if err != nil {
		t.Fatal(err)
	}
	ws := writeset.WriteSet{{Name: tables.NameSnapshotStatus, Writes: []writeset.Write{{Key: tables.SingletonKey, Value: status}}}}
	if _, err := n.store.Apply(kv.TxID{View: 2, Seqno: 101}, ws); err != nil {
		t.Fatal(err)
	}
	if err := n.store.Compact(101); err != nil {
		t.Fatal(err)
	}
	due("a minute after another primary's", 180, 100, false)
	clock = clock.Add(9 * time.Minute)
	due("ten minutes after it", 180, 100, true)
	s.busy.Store(true)
	due("while one is being made", 500, 100, false)
}
